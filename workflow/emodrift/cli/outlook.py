"""What a study has, and what the rest will take, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from emodrift.cost.estimate import Task
from emodrift.plan.entries import JOBS, Plan
from emodrift.store.entry import entry_exists


class Outlook(NamedTuple):
    """A stage of a plan.

    Parameters
    ----------
    stage
        Its name.
    done, missing
        Entries that are there and that are not.
    seconds, size
        What the missing ones will take, of a core and of the disk; None where nothing tells.
    """

    stage: str
    done: int
    missing: int
    seconds: float | None
    size: float | None


def foresee(plan: Plan, tasks: Sequence[Task] = ()) -> list[Outlook]:
    """Every stage of a plan in order, done and to come.

    Parameters
    ----------
    plan
        The plan.
    tasks
        What is judged of its missing entries.
    """
    listed = [e for e in plan.entries.values() if e.stage not in JOBS]
    outlooks = []
    for stage in dict.fromkeys(e.stage for e in listed):
        there = [entry_exists(plan.store / e.place) for e in listed if e.stage == stage]
        own = [task for task in tasks if task.stage == stage]
        seconds = [task.seconds for task in own if task.seconds is not None]
        sizes = [task.size for task in own if task.size is not None]
        outlooks.append(
            Outlook(
                stage,
                sum(there),
                len(there) - sum(there),
                sum(seconds) if seconds else None,
                sum(sizes) if sizes else None,
            )
        )
    return outlooks
