"""The plan behind all rules: which keyed entries there are, and what each is made from."""

RESULTS = Path("results")
STORE = RESULTS / "store"
MILESTONES = RESULTS / "milestones"


def or_fail(call, *args):
    """Turn the library's one-line errors into Snakemake's."""
    try:
        return call(*args)
    except EmodriftError as error:
        raise WorkflowError(f"emodrift: error: {error}") from None


STUDY = or_fail(parse_study, config, ", ".join(map(str, workflow.configfiles)) or "config")
PUBLISHED = RESULTS / STUDY.name
PLANS = []
TELLERS = []
UNTIL = set()


def plan():
    """The study's plan; made again when what it waited for is there."""
    if not PLANS or (PLANS[-1].awaited and all(map(PLANS[-1].is_made, PLANS[-1].awaited))):
        PLANS.append(or_fail(plan_study, STUDY, RESULTS))
        if workflow.is_main_process:
            forget_unmade(PLANS[-1])
            (MILESTONES / name_awaited(PLANS[-1])).unlink(missing_ok=True)
            if need := or_fail(check_free_space, PLANS[-1]):
                logger.info(need)
    return PLANS[-1]


def find_entry(wildcards):
    found = plan().by_key.get(wildcards.key)
    if found is None:
        raise WorkflowError(
            f"emodrift: error: no entry of study {STUDY.name!r} has key {wildcards.key}; code, "
            "config or a checkpoint changed since the plan was made: start snakemake again"
        )
    return found


def list_manifests(entries):
    """Manifests of entries. They are ancient, for their paths are their identity."""
    return [ancient(f"{STORE}/{entry.place}/{MANIFEST}") for entry in entries]


def entry(stage):
    """Output: the manifest of an entry of a stage.

    It is not removed before a job begins: another run may have finished the entry meanwhile.
    """
    return update(f"results/store/{stage}/{{key}}/{MANIFEST}")


def needed(*names):
    """Input function, to unpack: what an entry is made from, by name; of a measurement, its visit."""

    def list_by_name(wildcards):
        inputs = find_entry(wildcards).inputs
        return {name: list_manifests(plan().list_needed(inputs.get(name, ()))) for name in names}

    return list_by_name


def described(wildcards):
    """Parameter function: the entry as plain values for its adapter."""
    return plan().describe(find_entry(wildcards))


def name_awaited(planned):
    """Name of the milestone that a plan waits for."""
    return digest_value([waiting.key for waiting in planned.awaited])


def count_cores():
    try:
        return workflow.cores
    except WorkflowError:  # none are named, as where a cluster's jobs have their own
        return 1


def tell_cost():
    """Say once what a run will take. Jobs that plan for themselves say nothing."""
    if not workflow.is_main_process:
        return
    if not TELLERS:
        from emodrift.cost.telling import Teller

        quietness = {"quietness": Quietness.PROGRESS}

        def say(line):
            logger.info(line, extra=quietness)

        TELLERS.append(Teller(say, count_cores(), workflow.non_local_exec))
    TELLERS[0].tell_cost(plan())


def take_until():
    """Rules of ``--until``, taken over from Snakemake.

    It would look for their jobs before what later keys rest on is there, and find none.
    """
    if workflow.dag.untilrules:
        UNTIL.update(workflow.dag.untilrules & read_meanings().keys())
        workflow.dag.untilrules -= UNTIL
    return UNTIL


def published(wildcards):
    """Target: the study's publication, or the entries of rules that are asked for by ``--until``.

    It is known once what later keys rest on is there.
    """
    until, passed = take_until(), set()
    if not until:
        tell_cost()
    while plan().awaited and not workflow.dryrun:
        if until and is_known(plan(), until):
            break
        milestone = name_awaited(plan())
        if milestone in passed:
            raise WorkflowError(f"emodrift: error: {plan().awaited[0].place} was not made")
        passed.add(milestone)
        checkpoints.milestone.get(key=milestone)
    if until:
        return list_manifests(or_fail(list_until, plan(), until))
    if plan().publication is None:
        return list_manifests(plan().awaited)
    return PUBLISHED / ".published" / plan().publication.key


gc.disable()  # a plan makes no garbage to speak of, stays to the end, and need not be walked through
plan()
gc.enable()
gc.freeze()
forget_incomplete(PUBLISHED)


onstart:
    or_fail(check_disk, RESULTS)
    if not workflow.local_exec:
        spare_retries(workflow.scheduler._executor, RESULTS / "logs", logger.error)
    if not STUDY.compute.keep_downloads:  # what a killed job left behind
        release_downloads(plan().list_needs(), STORE)
    for teller in TELLERS:
        teller.start(lambda: PLANS[-1])


wildcard_constraints:
    key="[0-9a-f]+",


checkpoint milestone:
    """What later keys rest on is there: organisms and contrast data, then the lock."""
    input:
        lambda wildcards: list_manifests(plan().awaited),
    output:
        touch(str(MILESTONES / "{key}")),
    log:
        "results/logs/milestone/{key}.log",
    message:
        "plan what follows from what has been made"
