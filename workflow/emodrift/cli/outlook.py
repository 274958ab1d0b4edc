"""What a study has, and what the rest will take, judged by what its like took before."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from statistics import median
from typing import NamedTuple

from emodrift.cli.reasons import JOBS
from emodrift.plan.entries import Plan
from emodrift.store.entry import MANIFEST, Entry, entry_exists

LOOKED_AT = 40
"""Finished entries of a stage from which time and size are judged."""


class Outlook(NamedTuple):
    """A stage of a plan.

    Parameters
    ----------
    stage
        Its name.
    done, missing
        Entries that are there and that are not.
    seconds, size
        What the missing ones will take, by the median of finished ones in the store; None where
        there are none.
    """

    stage: str
    done: int
    missing: int
    seconds: float | None
    size: int | None


def foresee(plan: Plan) -> list[Outlook]:
    """Every stage of a plan in order, done and to come."""
    return [_foresee_stage(plan, stage) for stage in dict.fromkeys(e.stage for e in _listed(plan))]


def measure_size(path: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _foresee_stage(plan: Plan, stage: str) -> Outlook:
    entries = [e for e in _listed(plan) if e.stage == stage]
    done = sum(entry_exists(plan.store / e.place) for e in entries)
    missing = len(entries) - done
    finished = list(islice((plan.store / stage).glob(f"[!.]*/{MANIFEST}"), LOOKED_AT))
    seconds = size = None
    if finished and missing:
        took = [json.loads(path.read_text()).get("seconds", 0.0) for path in finished]
        seconds = missing * median(took)
        size = int(missing * median(measure_size(path.parent) for path in finished))
    return Outlook(stage, done, missing, seconds, size)


def _listed(plan: Plan) -> list[Entry]:
    return [e for e in plan.entries.values() if e.stage not in JOBS]
