"""Entries that one job makes together, since loading the libraries takes longer than most of them.

Each stays an entry of its own: a job makes what is missing of its entries.
"""

from __future__ import annotations

from collections.abc import Sequence

from emodrift.plan.entries import TOGETHER, Plan
from emodrift.store.digest import make_key
from emodrift.store.entry import Entry

OF_VISITS = ("vectors", "verdicts")
"""Stages of one checkpoint, which a job makes of all checkpoints of a visit."""


def plan_after_visits(plan: Plan) -> None:
    """Jobs over what is made of a visit's measurements, whose visits are planned."""
    for stage in OF_VISITS:
        of_visit: dict[str, list[Entry]] = {}
        for entry in plan.of_stage(stage):
            visit = plan.find_visit(entry)
            assert visit
            of_visit.setdefault(visit.place, []).append(entry)
        for entries in of_visit.values():
            plan_together(plan, entries)


def plan_together(plan: Plan, entries: Sequence[Entry]) -> None:
    """A job that makes what is missing of some entries.

    Parameters
    ----------
    plan
        Gets the job, as the maker of the entries.
    entries
        Entries of one stage.
    """
    missing = [entry for entry in entries if not plan.is_made(entry)]
    job = plan.keep(join_entries(entries, missing or entries))
    plan.makers |= {entry.place: job for entry in entries}


def join_entries(entries: Sequence[Entry], missing: Sequence[Entry]) -> Entry:
    """The job over some entries, which reads what those that are missing are made from."""
    job = TOGETHER[entries[0].stage]
    return Entry(
        job,
        make_key(stage=job, entries=sorted(entry.place for entry in entries)),
        {},
        {
            name: tuple(entry.inputs[name] for entry in missing if name in entry.inputs)
            for name in dict.fromkeys(name for entry in missing for name in entry.inputs)
        },
        {"entries": [entry.describe() for entry in entries]},
        ", ".join(dict.fromkeys(entry.label for entry in missing)),
    )
