"""What jobs ask of a cluster: memory, time, and which of them are one job there.

On one machine none of this plays a part.
"""


def memory(wildcards, attempt):
    """Megabytes, twice as many with each further try."""
    return foresee_memory(plan(), find_entry(wildcards)) * 2 ** (attempt - 1)


def minutes(hours):
    """Parameter function: so many hours, as often as a job is tried."""
    return lambda wildcards, attempt: round(60 * hours * attempt)


def of_visit(wildcards):
    """Group: a visit, and what is made of its checkpoints alone, are one job.

    Vectors of the random twin go with the tables, which alone read them.
    """
    entry = find_entry(wildcards)
    if any(entry == table.inputs["twin"] for table in plan().of_stage("drift")):
        return "summaries"
    makers = (plan().makers.get(needed.place) for needed in entry.list_inputs())
    return f"visit-{next(filter(None, makers), entry).key}"
