"""The plan behind all rules: which keyed entries there are, and what each is made from."""

RESULTS = Path("results")
STORE = RESULTS / "store"


def or_fail(call, *args):
    """Turn the library's one-line errors into Snakemake's."""
    try:
        return call(*args)
    except EmodriftError as error:
        raise WorkflowError(f"emodrift: error: {error}") from None


STUDY = or_fail(parse_study, config, ", ".join(map(str, workflow.configfiles)) or "config")
PLANS = []


def plan():
    """The study's plan; made again while organisms are still to be trained."""
    if not PLANS or PLANS[-1].publication is None:
        PLANS.append(or_fail(plan_study, STUDY, RESULTS))
        if workflow.is_main_process and (need := or_fail(check_space, PLANS[-1])):
            logger.info(need)
    return PLANS[-1]


def find_entry(wildcards, stage):
    place = f"{stage}/{wildcards.key}"
    if place not in plan().entries:
        raise WorkflowError(
            f"emodrift: error: {place} is not in the plan of study {STUDY.name!r}; code, config or "
            "a checkpoint changed since the plan was made: start snakemake again"
        )
    return plan().entries[place]


def made_from(stage):
    """Input function: manifests of the entries that must be there before an entry's job.

    They are ancient, for their paths are their identity: one that was made again is the same.
    """
    return lambda wildcards: [
        ancient(str(STORE / entry.place / MANIFEST))
        for entry in plan().list_needed(find_entry(wildcards, stage))
    ]


def described(stage):
    """Parameter function: the entry as plain values for its adapter."""
    return lambda wildcards: plan().describe(find_entry(wildcards, stage))


plan()


onstart:
    if not STUDY.compute.keep_downloads:  # what a killed job left behind
        release_downloads(plan().list_needs(), STORE)


wildcard_constraints:
    key="[0-9a-f]+",
