"""A study's entries, made here without Snakemake by the adapters that it would run."""

from emodrift.plan.jobs import run_job
from emodrift.plan.study import plan_study
from emodrift.store.entry import entry_exists


def make(plan, entry):
    """Make an entry, perhaps by a job that makes others with it, and what it is made from."""
    if not entry_exists(plan.store / entry.place):
        job = plan.makers.get(entry.place, entry)
        for needed in plan.list_needed(job.inputs):
            make(plan, needed)
        run_job(plan, job)


def make_stages(study, results, *stages):
    """Make all entries of some stages, and the contrast data and lock first."""
    for wanted in (("contrasts",), ("lock",), stages):
        plan = plan_study(study, results)
        for stage in wanted:
            for entry in plan.of_stage(stage):
                make(plan, entry)
    return plan_study(study, results)


def list_visits(plan):
    """Labels of the visits that a run of the study would still make."""
    return [
        visit.label
        for visit in plan.of_stage("visit")
        if any(
            maker is visit and not entry_exists(plan.store / place)
            for place, maker in plan.makers.items()
        )
    ]
