"""What ``--until`` asks for: the entries of some rules, once all of them are known."""

from __future__ import annotations

from collections.abc import Collection

from emodrift.errors import EmodriftError
from emodrift.plan.entries import JOBS, Plan
from emodrift.store.entry import Entry


def is_known(plan: Plan, rules: Collection[str]) -> bool:
    """Whether all entries of some rules are on the way to what a plan waits for.

    Later plans then have no others; where a plan waits for nothing, all are known.
    """
    asked = _pick(plan, rules)
    on_the_way: set[str] = set()
    rest = list(plan.awaited)
    while rest:
        entry = rest.pop()
        if entry.place not in on_the_way:
            on_the_way.add(entry.place)
            rest += plan.list_needed(entry.inputs)
    return not plan.awaited or (bool(asked) and all(e.place in on_the_way for e in asked))


def list_until(plan: Plan, rules: Collection[str]) -> list[Entry]:
    """Entries of some rules; jobs that make others are left out where nothing of these is missing.

    Raises
    ------
    EmodriftError
        The study has no entry of any of them.
    """
    asked = _pick(plan, rules)
    if not asked:
        raise EmodriftError(f"--until: study {plan.study.name} has no {' or '.join(sorted(rules))}")
    made = {job.place for job in plan.makers.values() if job.stage in JOBS}
    idle = made - plan.list_unfinished()
    return [entry for entry in asked if entry.place not in idle]


def _pick(plan: Plan, rules: Collection[str]) -> list[Entry]:
    return [e for e in plan.entries.values() if e.stage.replace("-", "_") in rules]
