"""Why an entry is to be made: how it differs from the one most like it that was made before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from emodrift.plan.entries import JOBS, Plan
from emodrift.store.entry import Entry, entry_exists, list_entries, map_inputs

LONGEST = 60
NEW = "nothing of its kind was made before"
CONTENT = "a file or checkpoint that it reads has other content"


class Reason(NamedTuple):
    """Why some entries of a stage are to be made.

    Parameters
    ----------
    stage
        Their stage.
    labels
        What a person calls them.
    causes
        In words; those that come from the entry itself before those that come from its inputs.
    """

    stage: str
    labels: tuple[str, ...]
    causes: tuple[str, ...]


def explain(plan: Plan) -> list[Reason]:
    """Why each missing entry of a plan is to be made, those of one stage and cause together."""
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    former = _read_former(plan)
    for entry in plan.entries.values():
        if entry.stage not in JOBS and not entry_exists(plan.store / entry.place):
            causes = tuple(find_causes(entry, former.get(entry.stage, []), plan))
            grouped.setdefault((entry.stage, causes), []).append(entry.label)
    return [Reason(stage, tuple(labels), causes) for (stage, causes), labels in grouped.items()]


def find_causes(entry: Entry, former: list[dict[str, Any]], plan: Plan) -> list[str]:
    """How an entry differs from the most similar of former ones, in words.

    Parameters
    ----------
    entry
        To be made.
    former
        Manifests of finished entries of its stage that the plan has no more use for.
    plan
        The plan.
    """
    if not former:
        lacking = [e for e in entry.list_inputs() if not entry_exists(plan.store / e.place)]
        return _name_inputs(lacking, entry.label) or [NEW]
    manifest = min(former, key=lambda m: _measure_distance(entry, m))
    own = list(compare_values(manifest.get("params", {}), _plain(entry.params)))
    if manifest.get("code") != entry.code:
        own.insert(0, f"the code of stage {entry.stage} changed")
    planned = {e.place: e for e in entry.list_inputs()}
    before = set(_flatten_inputs(manifest.get("inputs", {})))
    other = [e for place, e in planned.items() if place not in before]
    gone = len(before - planned.keys()) - len(other)
    causes = own + _name_inputs(other, entry.label)
    if gone > 0:
        causes.append(f"{gone} of its inputs fell away")
    return causes or [CONTENT]


def compare_values(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """How two JSON-able values differ, key by key."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            path = f"{key}.{name}" if key else str(name)
            if name not in before:
                yield f"{path} was added: {_shorten(now[name])}"
            elif name not in now:
                yield f"{path} was removed"
            else:
                yield from compare_values(before[name], now[name], path)
    elif before != now:
        if isinstance(before, list) and isinstance(now, list) and len(before) != len(now):
            yield f"{key}: {len(before)} → {len(now)} items"
        else:
            yield f"{key}: {_shorten(before)} → {_shorten(now)}"


def _read_former(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    former: dict[str, list[dict[str, Any]]] = {}
    for path in list_entries(plan.store):
        stage = path.parent.name
        if f"{stage}/{path.name}" not in plan.entries:
            former.setdefault(stage, []).append(json.loads((path / "manifest.json").read_text()))
    return former


def _measure_distance(entry: Entry, manifest: Mapping[str, Any]) -> tuple[int, int]:
    """Nearer is: fewer other values, then fewer other inputs."""
    values = len(list(compare_values(manifest.get("params", {}), _plain(entry.params))))
    before = set(_flatten_inputs(manifest.get("inputs", {})))
    inputs = len({e.place for e in entry.list_inputs()} ^ before)
    return values, inputs


def _flatten_inputs(inputs: Any) -> list[str]:
    found: list[str] = []
    map_inputs(inputs, found.append)
    return found


def _name_inputs(entries: list[Entry], own: str) -> list[str]:
    """Inputs in words, by stage; those of the entry's own checkpoint without its label."""
    by_stage: dict[str, list[str]] = {}
    for entry in entries:
        by_stage.setdefault(entry.stage, []).append(entry.label)
    return [
        f"it is made from other {stage}"
        + (f" of {labels[0]}" if labels[0] not in ("", own) else "")
        + (f" and {len(labels) - 1} more" if set(labels) - {own} and len(labels) > 1 else "")
        for stage, labels in by_stage.items()
    ]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
