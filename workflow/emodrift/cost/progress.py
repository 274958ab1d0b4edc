"""How far a running study is, and the time left, corrected by what its tasks have taken so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emodrift.cost.estimate import (
    STARTING,
    THREADS,
    Task,
    find_longest,
    format_minutes,
    makes_others,
)
from emodrift.plan.needs import TRAINING
from emodrift.store.entry import entry_exists, read_manifest

KINDS = dict.fromkeys(TRAINING, "training") | dict.fromkeys(("samples", "replies"), "writing")
"""Stages that tell little of stages of another kind; all others read what is there."""
TRUST = 60.0
"""Estimated seconds of a core after which what tasks took counts as much as their estimate."""
RECENT = 300.0
"""Seconds over which it is judged how many cores are at work: a study may begin on one."""
STEADY = 300.0
"""Seconds of a core after which what was seen of that counts as much as that all of them are."""


@dataclass
class Progress:
    """What is done of a study's tasks since a run began.

    Parameters
    ----------
    cores
        That jobs may use together.
    started
        When the run began, in seconds of any clock.
    """

    cores: int
    started: float
    tasks: dict[str, Task] = field(default_factory=dict)
    done: dict[str, Task] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    course: list[tuple[float, float]] = field(default_factory=list)

    def expect(self, tasks: Iterable[Task]) -> None:
        """Take what a newer plan says is missing in place of what an older one said."""
        self.tasks = {task.place: task for task in tasks if task.place not in self.done}

    def note(self, took: Mapping[str, float], now: float) -> bool:
        """Take note of tasks that are done; returns whether any is new.

        Parameters
        ----------
        took
            Place -> seconds of a core.
        now
            The time, by the clock of the start.
        """
        new = [self.tasks.pop(place) for place in took if place in self.tasks]
        self.done |= {task.place: task for task in new}
        self.took |= {task.place: took[task.place] for task in new}
        if new:
            self.course.append((now, sum(self.took.values())))
        return bool(new)

    @property
    def share(self) -> float:
        """Share of the work that is done, by what it takes as far as is known."""
        done = sum(self.took.values())
        left = sum(self._judge_rest())
        return done / (done + left) if done + left else 1.0

    def foresee(self, now: float) -> float:
        """Seconds until all is done.

        What tasks of a stage took corrects the estimate of those to come, and of other stages of
        its kind by as much as little is known of these. Then the time that has passed of late,
        against what was done in it, tells how many cores are at work. The longest job bounds the
        time left from below, for at the end it runs alone.
        """
        each = self._judge_rest()
        rest = sum(each)
        if not rest or not self.course:
            return max(0.0, rest / self.cores - (now - self.started))
        finished, done = self.course[-1]
        before = [point for point in self.course if point[0] <= finished - RECENT]
        since, known = before[-1] if before else (self.started, 0.0)
        passed = (finished - since) * self.cores
        stretch = (passed + STEADY) / (done - known + STEADY)
        left = max(rest * stretch / self.cores, find_longest(self.tasks.values(), each))
        return max(0.1 * left, left - (now - finished))

    def _judge_rest(self) -> list[float]:
        """Seconds of a core that each task that is left takes, by what its stage took so far."""
        factors = {}
        for stage in {task.stage for task in self.tasks.values()}:
            alike = [t for t in self.done.values() if KINDS.get(t.stage) == KINDS.get(stage)]
            overall = self._correct(alike, 1.0)
            factors[stage] = self._correct((t for t in alike if t.stage == stage), overall)
        return [task.assumed * factors[task.stage] for task in self.tasks.values()]

    def _correct(self, done: Iterable[Task], prior: float) -> float:
        """Seconds taken for each that was estimated; the prior weighs as `TRUST` seconds."""
        expected = took = 0.0
        for task in done:
            expected += task.assumed
            took += self.took[task.place]
        return (took + prior * TRUST) / (expected + TRUST)


def describe_progress(progress: Progress, now: float) -> str:
    """Progress and time left in a line."""
    left = progress.foresee(now)
    done, missing = len(progress.done), len(progress.tasks)
    return (
        f"{progress.share:.0%} of the study's work is done ({done} of {done + missing} entries); "
        f"about {format_minutes(left)} left"
    )


def read_seconds(store: Path, tasks: Iterable[Task]) -> dict[str, float]:
    """Place -> seconds of a core that finished tasks took, a job's start included.

    What a job takes beside the entries that it makes is not recorded, and taken as it was judged.
    """
    took: dict[str, float] = {}
    for task in tasks:
        if not entry_exists(store / task.place):
            continue
        seconds = float(read_manifest(store / task.place).get("seconds", 0))
        if makes_others(task.stage):
            seconds = task.assumed
        elif task.job == task.place:
            seconds += STARTING
        took[task.place] = seconds * THREADS.get(task.stage, 1)
    return took
