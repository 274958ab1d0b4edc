"""Planning the tables over all checkpoints, from what their stages declare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.errors import EmodriftError
from emodrift.plan.declarations import list_stages
from emodrift.plan.entries import Plan
from emodrift.plan.settings import Asking, find_setting
from emodrift.stage import OPTIONAL, Stage
from emodrift.store.entry import Entry, Inputs


class Readings(NamedTuple):
    """All that was read off the checkpoints and fitted, for stages to pick from.

    activations: for each checkpoint, entries by kind, gradients among them. each: name -> an entry
    for each checkpoint. one: name -> an entry.
    """

    activations: list[dict[str, tuple[Entry, ...]]]
    each: dict[str, tuple[Entry, ...]]
    one: dict[str, Entry]


def plan_summaries(plan: Plan, reference: Checkpoint, readings: Readings) -> dict[str, Entry]:
    """Entries over all checkpoints, by stage."""
    planned: dict[str, Entry] = {}
    for module, stage in list_stages().items():
        if stage.needs and getattr(plan.study, stage.needs) is None:
            continue
        settings = [find_setting(name, Asking(plan, reference)) for name in stage.settings]
        planned[stage.name] = plan.add(
            stage.name,
            dict(settings),
            inputs={
                parameter: found
                for parameter, source in stage.reads.items()
                if (found := _find(stage, source, readings, planned)) is not None
            },
            context={"function": f"{module}:{stage.function}"},
            label="all checkpoints",
            code=[f"{module}:{stage.function}"],
        )
    return planned


def _find(
    stage: Stage, source: str | Sequence[str], readings: Readings, planned: dict[str, Entry]
) -> Inputs | None:
    if not isinstance(source, str):
        return tuple(
            {kind: of_checkpoint[kind] for kind in source if kind in of_checkpoint}
            for of_checkpoint in readings.activations
        )
    known: dict[str, Inputs] = {**readings.each, **readings.one, **planned}
    if source.endswith(OPTIONAL):
        return known.get(source.removesuffix(OPTIONAL))
    if source not in known:
        raise EmodriftError(
            f"stage {stage.name!r} reads {source!r}, which there is not; known: {', '.join(known)}"
        )
    return known[source]
