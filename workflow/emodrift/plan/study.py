"""The plan of a study: every entry with its content key, known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from emodrift.checkpoints.checkpoint import check_shapes, find_reference, list_checkpoints
from emodrift.checkpoints.templates import check_templates
from emodrift.config.study import Study
from emodrift.plan.agreement import plan_agreement
from emodrift.plan.benchmark import plan_benchmark
from emodrift.plan.chain import plan_chain
from emodrift.plan.entries import Plan
from emodrift.plan.evals import plan_evals
from emodrift.plan.measurements import Desk, plan_visits
from emodrift.plan.organisms import plan_organisms
from emodrift.plan.publication import plan_figures, plan_publication
from emodrift.plan.texts import plan_contrasts
from emodrift.plan.together import plan_after_visits
from emodrift.plan.training import plan_training
from emodrift.plan.variants import plan_sensitivity, plan_variants
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests


def plan_study(study: Study, results: Path) -> Plan:
    """Plan a study as far as its checkpoints exist.

    Where ``awaited`` of the plan names entries, what follows from them is planned by their keys, as
    it would be at the most: once they are there, the plan is to be made again.

    Parameters
    ----------
    study
        The config.
    results
        Root of results; the store lies in ``results/store``.

    Raises
    ------
    EmodriftError
        A checkpoint, file or combination that cannot work, before any model is loaded.

    Examples
    --------
    >>> from emodrift.config.reading import read_study
    >>> plan = plan_study(read_study(Path("config/mine.yaml")), Path("results"))
    >>> [checkpoint.label for checkpoint in plan.checkpoints]
    ['sft step 0', 'sft step 500']
    >>> [entry.stage for entry in plan.awaited]
    ['contrasts']
    """
    plan = Plan(study, results / "store")
    digests = FileDigests(plan.store / "digests.json")
    if study.benchmark:
        plan_benchmark(plan, study.benchmark, digests)
        digests.save()
        return plan
    organisms = plan_organisms(plan)
    contrasts = plan_contrasts(plan, digests)
    variants = plan_variants(plan, digests)
    trained = {"organisms": organisms, "trainings": plan_training(plan, digests)}
    ready = [plan.await_entry(entry) for kind in trained.values() for entry in kind.values()]
    for entry in (contrasts, *(data for _, data in variants)):
        plan.await_entry(entry)
    if all(ready):
        folders = {
            kind: {name: plan.store / e.place for name, e in entries.items()}
            for kind, entries in trained.items()
        }
        _plan_checkpoints(plan, contrasts, variants, folders, digests)
    digests.save()
    return plan


def _plan_checkpoints(
    plan: Plan,
    contrasts: Entry,
    variants: list[tuple[Plan, Entry]],
    trained: Mapping[str, dict[str, Path]],
    digests: FileDigests,
) -> None:
    study = plan.study
    plan.checkpoints = [
        checkpoint
        for name, run in study.runs.items()
        for checkpoint in list_checkpoints(
            name,
            run,
            digests,
            allow_pickle=study.compute.allow_pickle,
            **trained,
            revisions=plan.store / "revisions.json",
        )
    ]
    check_shapes(plan.checkpoints)
    check_templates(plan.checkpoints, study.activations, digests)
    plan_over_checkpoints(plan, contrasts, variants, digests)


def plan_over_checkpoints(
    plan: Plan, contrasts: Entry, variants: list[tuple[Plan, Entry]], digests: FileDigests
) -> None:
    """Plan all that follows from a plan's checkpoints, to its publication.

    Parameters
    ----------
    plan
        Its checkpoints are known.
    contrasts
        Entry of the contrast data.
    variants
        Plans of the study's variants, each with its contrast data.
    digests
        Memory of file digests.
    """
    study = plan.study
    reference = find_reference(plan.checkpoints, study.reference)
    desk = Desk()
    chain = plan_chain(plan, reference, contrasts, desk)
    summaries = chain.summaries
    if study.generation:
        summaries["agreement"] = plan_agreement(plan, digests)
    if study.evals:
        indicators = summaries["indicators"]
        summaries["evals"] = plan_evals(plan, reference, indicators, digests)
    if study.sensitivity:
        summaries["sensitivity"] = plan_sensitivity(plan, reference, contrasts, variants, desk)
    plan_visits(plan, desk)
    plan_after_visits(plan)
    figures = plan_figures(plan, summaries, reference)
    plan.publication = plan_publication(plan, summaries, figures, chain.lock)
