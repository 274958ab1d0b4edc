"""The plan of a study while one of its runs is still being trained.

It is the study's own plan, of the checkpoints that are there so far: what is measured for it has
the keys under which a run of the study will look for it.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emodrift.checkpoints.checkpoint import find_reference
from emodrift.checkpoints.draft import make_name
from emodrift.checkpoints.files import expand
from emodrift.config.running import Figures
from emodrift.config.runs import CheckpointSource, Run
from emodrift.config.study import Study
from emodrift.errors import EmodriftError
from emodrift.plan.declarations import list_stages
from emodrift.plan.entries import Plan
from emodrift.plan.measurements import CODE
from emodrift.plan.study import plan_study
from emodrift.store.entry import Entry, Inputs, entry_exists, list_entries_in


def plan_watched(study: Study, results: Path, folder: Path | None = None) -> Plan:
    """Plan a study as far as checkpoints exist, and with those that a training writes.

    Evals and variants are left out.

    Parameters
    ----------
    study
        The config. Its runs may name folders that are still to be written.
    results
        Root of results.
    folder
        A checkpoint that was just written; one that no run of the config names is of a run of its
        own, called after the folder that it lies in.

    Raises
    ------
    EmodriftError
        The reference is not there, or the study has no lock yet.
    """
    plan = plan_study(_narrow(study, folder), results)
    if plan.awaited:
        raise EmodriftError(
            f"study {study.name} has no {plan.awaited[0].stage} yet; make its lock before the "
            "training begins: emodrift run CONFIG --until lock"
        )
    return plan


def find_watched(plan: Plan, folder: Path) -> int:
    """Number of the checkpoint that lies in a folder."""
    places = [Path(c.location.get("path", "")).resolve() for c in plan.checkpoints]
    return places.index(folder.resolve())


def find_number(plan: Plan) -> int:
    """Number of the reference."""
    return plan.checkpoints.index(find_reference(plan.checkpoints, plan.study.reference))


def list_measurements(plan: Plan, number: int) -> list[Entry]:
    """Measurements of a checkpoint that stages over all checkpoints rest on, in their order."""
    places = {
        entry.place
        for stage in list_stages().values()
        for summary in plan.of_stage(stage.name)
        for given in _list_each(summary).values()
        if number in given
        for entry in _trace(given[number])
    }
    return [entry for entry in plan.entries.values() if entry.place in places]


def list_measured(plan: Plan) -> list[int]:
    """Numbers of the checkpoints of which every measurement is there."""
    return [
        number
        for number in range(len(plan.checkpoints))
        if all(entry_exists(plan.store / e.place) for e in list_measurements(plan, number))
    ]


def pick_checkpoints(entry: Entry, kept: Sequence[int]) -> Entry:
    """An entry over all checkpoints as one over some of them."""
    params, context = dict(entry.params), dict(entry.context)
    params["checkpoints"] = [params["checkpoints"][number] for number in kept]
    if "reference" in params:
        params["reference"] = kept.index(params["reference"])
    if "steered" in params:
        params["steered"] = [kept.index(n) for n in params["steered"] if n in kept]
    if "parts" in context:
        context["parts"] = [context["parts"][number] for number in kept]
    each = {
        name: tuple(given[n] for n in kept if n in given)
        for name, given in _list_each(entry).items()
    }
    return replace(entry, params=params, inputs={**entry.inputs, **each}, context=context)


def _list_each(entry: Entry) -> dict[str, dict[int, Inputs]]:
    """What an entry over all checkpoints reads of each: name -> number -> inputs."""
    everywhere = range(len(entry.params["checkpoints"]))
    steered = entry.params.get("steered", everywhere)
    return {
        name: dict(zip(steered if name == "responses" else everywhere, given, strict=True))
        for name, given in entry.inputs.items()
        if isinstance(given, tuple)
    }


def _trace(inputs: Inputs) -> list[Entry]:
    """Measurements among what entries are made from."""
    entries = list_entries_in(inputs)
    made = [e for entry in entries if entry.stage not in CODE for e in _trace(entry.inputs)]
    return [entry for entry in entries if entry.stage in CODE] + made


def _narrow(study: Study, folder: Path | None) -> Study:
    runs = {name: _keep_found(name, run) for name, run in study.runs.items()}
    runs = {name: run for name, run in runs.items() if run.checkpoints}
    if study.reference.run not in runs:
        raise EmodriftError(
            f"reference.run {study.reference.run!r} of study {study.name} has no checkpoint yet; "
            "the reference must be there before the training begins"
        )
    if folder is not None and not any(_names(run, folder) for run in runs.values()):
        name = make_name(folder.parent.name)
        while name in runs:
            name += "-watched"
        pattern = f"{glob.escape(str(folder.parent))}/checkpoint-*"
        runs[name] = Run(checkpoints=(CheckpointSource(path=pattern),))
    changes = {"runs": runs, "evals": None, "sensitivity": None, "figures": Figures()}
    return study.model_copy(update=changes)


def _keep_found(name: str, run: Run) -> Run:
    key = f"runs.{name}.checkpoints"
    there = tuple(s for s in run.checkpoints if not s.path or _list_paths(s.path, key))
    return run.model_copy(update={"checkpoints": there})


def _names(run: Run, folder: Path) -> bool:
    paths = [p for s in run.checkpoints if s.path for p in _list_paths(s.path, "")]
    return folder.resolve() in {path.resolve() for path in paths}


def _list_paths(pattern: str, key: str) -> list[Path]:
    return [Path(path) for path in glob.glob(str(expand(pattern, key)))]
