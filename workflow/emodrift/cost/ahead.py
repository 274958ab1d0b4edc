"""What follows from checkpoints that are still to be trained, planned over stand-ins for them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint, find_reference, list_checkpoints
from emodrift.config.runs import Run
from emodrift.cost.shapes import read_size
from emodrift.plan.entries import Plan
from emodrift.plan.study import plan_over_checkpoints
from emodrift.plan.texts import plan_contrasts
from emodrift.plan.training import plan_training
from emodrift.plan.variants import plan_variants
from emodrift.store.digest import digest_value
from emodrift.store.entry import entry_exists
from emodrift.store.memory import FileDigests


def plan_ahead(plan: Plan) -> Plan | None:
    """A study's plan as it will be once its training runs are done.

    Checkpoints that a `training` section will save stand in as the base they start from.

    Parameters
    ----------
    plan
        The plan, which waits for them.

    Returns
    -------
    Plan or None
        None where there is nothing to start from: tiny organisms, or a base that is not on this
        machine.
    """
    study = plan.study
    if study.training is None or study.organism is not None:
        return None
    location = plan.of_stage("training-base")[0].context["location"]
    size = read_size(location)
    if size is None:
        return None
    ahead = Plan(study, plan.store, entries=dict(plan.entries))
    digests = FileDigests(plan.store / "digests.json")
    trained = {
        run: plan.store / entry.place
        for run, entry in plan_training(ahead, digests).items()
        if entry_exists(plan.store / entry.place)
    }
    contrasts = plan_contrasts(ahead, digests)
    variants = plan_variants(ahead, digests)
    ahead.checkpoints = [
        checkpoint
        for name, run in study.runs.items()
        for checkpoint in _list_run(ahead, name, run, location, size, trained, digests)
    ]
    find_reference(ahead.checkpoints, study.reference)
    plan_over_checkpoints(ahead, contrasts, variants, digests)
    return ahead


def write_stand_ins(plan: Plan, folder: Path) -> dict[str, Path]:
    """Gather contrast data that are not made, as their job will; it takes a fraction of a second.

    Parameters
    ----------
    plan
        The plan.
    folder
        Where they are written.

    Returns
    -------
    dict
        Place of the entry -> folder. Data that need stories of a model are left out.
    """
    from emodrift.contrasts.dataset import DatasetParams, build_dataset

    stand_ins = {}
    logging.getLogger().addHandler(logging.NullHandler())  # else the first line sets up a log
    for entry in plan.of_stage("contrasts"):
        if entry_exists(plan.store / entry.place) or entry.inputs:
            continue
        stand_ins[entry.place] = folder / entry.key
        stand_ins[entry.place].mkdir()
        params: dict[str, Any] = {**entry.params, **entry.context}
        build_dataset(DatasetParams(**params), stand_ins[entry.place])
    return stand_ins


def _list_run(
    plan: Plan,
    name: str,
    run: Run,
    location: dict[str, Any],
    size: tuple[int, int],
    trained: dict[str, Path],
    digests: FileDigests,
) -> list[Checkpoint]:
    """Checkpoints of a run, the base in place of those that are still to be trained."""
    section = plan.study.training
    assert section
    hidden, layers = size
    listed: list[Checkpoint] = []
    for source in run.checkpoints:
        if source.training is None or source.training in trained:
            listed += list_checkpoints(
                name,
                run.model_copy(update={"checkpoints": (source,)}),
                digests,
                allow_pickle=plan.study.compute.allow_pickle,
                trainings=trained,
                revisions=plan.store / "revisions.json",
            )
            continue
        listed += [
            Checkpoint(
                run=name,
                step=step,
                stage=source.stage or run.stage or name,
                tokens=None,
                location={"base": location, "save": [source.training, step]},
                digest=digest_value([source.training, step]),
                hidden=hidden,
                layers=layers,
            )
            for step in section.runs[source.training].save_steps
            if not source.steps or step in source.steps
        ]
    return listed
