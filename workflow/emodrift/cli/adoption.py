"""Entries kept over an edit of the code that turns out to change nothing.

An edited definition gives the entries that rest on it other keys. Where a sample of them, made anew
by the workflow's own jobs, comes out byte for byte as before, the former entries take the new keys.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from emodrift.errors import EmodriftError
from emodrift.plan.entries import TOGETHER, Plan
from emodrift.plan.jobs import run_job
from emodrift.plan.measurements import CODE
from emodrift.plan.together import join_entries
from emodrift.store.digest import digest_value, make_key
from emodrift.store.entry import (
    MANIFEST,
    Entry,
    adopt_entry,
    entry_exists,
    map_inputs,
    read_content,
    read_manifest,
)

STAGES = ("contrasts", *CODE, "vectors", "lock", "verdicts")
"""What is adopted: all that is made of one checkpoint, and what that rests on. Stages over all
checkpoints take seconds and are left to the next run."""


class Group(NamedTuple):
    """Entries of a stage that are asked the same, by place, and the keys of their former selves.

    former: of those that are missing. other: of those that are there and hold something else than
    before. edited: whether the stage's own code changed, so that a sample is to be made anew.
    """

    stage: str
    edited: bool
    former: dict[str, str]
    other: dict[str, str]


class Adopted(NamedTuple):
    """Of a stage: entries made anew and found equal, and entries that took a new key."""

    stage: str
    remade: int
    adopted: int


def find_adoptable(plan: Plan) -> list[Group]:
    """Missing entries that were made before, by other code and from equal inputs.

    A former key is found by making it: from the values, inputs and contents of now and the code of
    then.
    """
    codes = _list_codes(plan.store)
    origin: dict[str, str] = {}
    groups: dict[str, Group] = {}
    for entry in plan.entries.values():
        if entry.stage not in STAGES:
            continue
        inputs = map_inputs(entry.inputs, lambda e: origin.get(e.place, e.key))
        for code in codes.get(entry.stage, ()):
            key = make_key(
                stage=entry.stage,
                code=code,
                params=entry.params,
                leaves=entry.leaves,
                inputs=inputs,
            )
            if key == entry.key or not entry_exists(plan.store / entry.stage / key):
                continue
            edited = code != entry.code
            name = digest_value([entry.stage, edited, entry.params])
            group = groups.setdefault(name, Group(entry.stage, edited, {}, {}))
            if not entry_exists(plan.store / entry.place):
                group.former[entry.place] = key
            elif not _is_equal(plan.store, entry, key):
                group.other[entry.place] = key
                continue
            origin[entry.place] = key
            break
    order = list(dict.fromkeys(entry.stage for entry in plan.entries.values()))
    missing = [group for group in groups.values() if group.former]
    return sorted(missing, key=lambda group: order.index(group.stage))


def choose_sample(group: Group, number: int) -> list[str]:
    """Places of a group's entries that are made anew, spread evenly; none without an edit."""
    places = list(group.former)
    if not group.edited or len(places) <= number:
        return places if group.edited else []
    return [places[i] for i in np.linspace(0, len(places) - 1, number).round().astype(int)]


def adopt_former(open_plan: Callable[[], Plan], number: int) -> list[Adopted]:
    """Give former entries their new keys, stage by stage, each after its sample.

    Parameters
    ----------
    open_plan
        Plans the study; called again whenever entries that later keys rest on are there.
    number
        Entries made anew of each stage and each way of asking.

    Raises
    ------
    EmodriftError
        An entry of a sample differs from its former self. What other stages have adopted stands;
        what was made anew is right and stays.
    """
    done: list[Adopted] = []
    while groups := find_adoptable(plan := open_plan()):
        group = groups[0]
        sample = choose_sample(group, number)
        rest = [place for place in group.former if place not in sample]
        for place in sample:
            _remake(plan, plan.entries[place])
            if not _is_equal(plan.store, plan.entries[place], group.former[place]):
                group.other[place] = group.former[place]
        if rest and group.other:
            raise _explain_other(plan, group)
        for place in rest:
            adopt_entry(plan.store, plan.entries[place], group.former[place])
        done.append(Adopted(group.stage, len(sample), len(rest)))
    return done


def _remake(plan: Plan, entry: Entry) -> None:
    if entry.stage not in CODE:
        run_job(plan, join_entries([entry], [entry]) if entry.stage in TOGETHER else entry)
        return
    from emodrift.measure.visit import visit_checkpoints

    visit = plan.makers[entry.place]
    asked = next(
        checkpoint
        for checkpoint in visit.context["checkpoints"]
        if any(e["key"] == entry.key for e in checkpoint["entries"])
    )
    with tempfile.TemporaryDirectory() as out:
        visit_checkpoints([{**asked, "entries": [entry.describe()]}], plan.store, Path(out))


def _is_equal(store: Path, entry: Entry, former: str) -> bool:
    return read_content(store / entry.place) == read_content(store / entry.stage / former)


def _explain_other(plan: Plan, group: Group) -> EmodriftError:
    place, former = next(iter(group.other.items()))
    then, now = (read_manifest(plan.store / p)["files"] for p in (f"{group.stage}/{former}", place))
    name = min(n for n in {**then, **now} if then.get(n) != now.get(n))
    return EmodriftError(
        f"{group.stage} of {plan.entries[place].label} comes out otherwise than before ({name} "
        f"differs), so that no more {group.stage} are adopted: the edit changes results, which "
        "emodrift run CONFIG makes anew"
    )


def _list_codes(store: Path) -> dict[str, list[str]]:
    """Digests of the code that a store's entries were made by, by stage."""
    found: dict[str, dict[str, None]] = {}
    for stage in STAGES:
        for manifest in sorted((store / stage).glob(f"[!.]*/{MANIFEST}")):
            code = json.loads(manifest.read_text(encoding="utf-8")).get("code")
            found.setdefault(stage, {})[code] = None
    return {stage: list(codes) for stage, codes in found.items()}
