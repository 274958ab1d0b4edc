"""What jobs ask of a cluster: memory, time, and which of them are one job there.

On one machine none of this plays a part.
"""

NEEDS = []


def needs():
    """What the jobs of the plan ask for."""
    if not NEEDS or NEEDS[-1].plan is not plan():
        NEEDS.append(Needs(plan()))
    return NEEDS[-1]


def memory(wildcards, attempt):
    """Megabytes, twice as many with each further try."""
    return needs().foresee_memory(find_entry(wildcards)) * 2 ** (attempt - 1)


def minutes(hours):
    """Parameter function: so many hours, as often as a job is tried."""
    return lambda wildcards, attempt: round(60 * hours * attempt)


def of_visit(wildcards):
    """Group: a visit, and what is made of its checkpoints alone, are one job."""
    return needs().name_group(find_entry(wildcards))


def forget_groups():
    """Where jobs run here, none share a job, and Snakemake need not look for those that would.

    Of a dry run, that a cluster is meant shows in its number of jobs alone.
    """
    meant = workflow.non_local_exec or workflow.resource_settings.nodes is not None
    if workflow.is_main_process and not meant:
        for each in workflow.rules:
            each.group = None
