"""Planning the tables over all checkpoints, from what their stages declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.errors import EmodriftError
from emodrift.plan.declarations import list_stages
from emodrift.plan.entries import Plan
from emodrift.plan.settings import Asking, find_setting
from emodrift.stage import OPTIONAL, Stage
from emodrift.store.entry import Entry, Inputs

PART = "-part"
"""Ends the stage of what another finds at one checkpoint."""
OVER_ALL = ("checkpoints", "steered", "reference")
"""Settings that number checkpoints, on which no part rests."""


class Readings(NamedTuple):
    """All that was read off the checkpoints and fitted, for stages to pick from.

    activations: for each checkpoint, entries by kind, gradients among them. each: name -> number of
    a checkpoint -> an entry. one: name -> an entry.
    """

    activations: list[dict[str, tuple[Entry, ...]]]
    each: Mapping[str, Mapping[int, Entry]]
    one: Mapping[str, Entry]

    def pick(self, number: int) -> Readings:
        """Of one checkpoint."""
        each = {
            name: {number: entries[number]} if number in entries else {}
            for name, entries in self.each.items()
        }
        return Readings([self.activations[number]], each, self.one)


def plan_summaries(plan: Plan, reference: Checkpoint, readings: Readings) -> dict[str, Entry]:
    """Entries over all checkpoints, by stage."""
    planned: dict[str, Entry] = {}
    for module, stage in list_stages().items():
        if stage.needs and getattr(plan.study, stage.needs) is None:
            continue
        function = f"{module}:{stage.function}"
        params = dict(find_setting(name, Asking(plan, reference)) for name in stage.settings)
        parts = (
            _plan_parts(plan, stage, params, readings, reference, function) if stage.parts else []
        )
        of_stage = plan.add(
            stage.name,
            params,
            inputs=_find_all(stage, readings, planned),
            context={"function": function}
            | ({"parts": [part.describe() for part in parts]} if parts else {}),
            label="all checkpoints",
            code=[function],
        )
        plan.makers |= {part.place: of_stage for part in parts}
        planned[stage.name] = of_stage
    return planned


def _plan_parts(
    plan: Plan,
    stage: Stage,
    params: Mapping[str, Any],
    readings: Readings,
    reference: Checkpoint,
    function: str,
) -> list[Entry]:
    """What a stage finds at each checkpoint, in their order."""
    own = {name: value for name, value in params.items() if name not in OVER_ALL}
    beside: dict[str, Inputs] = {}
    if stage.parts == "reference":
        held = _find_all(stage, readings.pick(plan.checkpoints.index(reference)), {})
        beside = {f"reference_{name}": entries for name, entries in held.items()}
    return [
        plan.add(
            f"{stage.name}{PART}",
            own,
            inputs=_find_all(stage, readings.pick(number), {}) | beside,
            label=checkpoint.label,
            code=[function],
        )
        for number, checkpoint in enumerate(plan.checkpoints)
    ]


def _find_all(stage: Stage, readings: Readings, planned: Mapping[str, Entry]) -> dict[str, Inputs]:
    return {
        parameter: found
        for parameter, source in stage.reads.items()
        if (found := _find(stage, source, readings, planned)) is not None
    }


def _find(
    stage: Stage, source: str | Sequence[str], readings: Readings, planned: Mapping[str, Entry]
) -> Inputs | None:
    if not isinstance(source, str):
        return tuple(
            {kind: of_checkpoint[kind] for kind in source if kind in of_checkpoint}
            for of_checkpoint in readings.activations
        )
    each = {name: tuple(entries.values()) for name, entries in readings.each.items()}
    known: dict[str, Inputs] = {**each, **readings.one, **planned}
    if source.endswith(OPTIONAL):
        return known.get(source.removesuffix(OPTIONAL))
    if source not in known:
        raise EmodriftError(
            f"stage {stage.name!r} reads {source!r}, which there is not; known: {', '.join(known)}"
        )
    return known[source]
