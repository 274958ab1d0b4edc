"""What the rest of a study will take: its tasks one by one, and all of it in a paragraph."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from emodrift.corpus.reading import PARTS
from emodrift.cost.ahead import plan_ahead, write_stand_ins
from emodrift.cost.ledger import Ledger
from emodrift.cost.pace import (
    UNCOUNTABLE,
    Pace,
    finds_gpu,
    learn_pace,
    probe_machine,
)
from emodrift.cost.shapes import Shape
from emodrift.cost.work import Work
from emodrift.plan.declarations import list_stages
from emodrift.plan.entries import JOBS, TOGETHER, Plan
from emodrift.plan.measurements import CODE, SOURCES
from emodrift.plan.needs import TRAINING
from emodrift.store.downloads import format_size
from emodrift.store.entry import MANIFEST, Entry
from emodrift.store.files import measure_size

MEASURED = (*CODE, *TRAINING)
"""Stages whose work is counted."""
STARTING, LOADING, OTHERWISE, ASIDE = 4.0, 8.0, 6.0, 0.5
"""Seconds of a core: a job's start; loading a checkpoint; what was never made here without a model,
by a job of its own, and by one that makes several.
"""
THREADS = dict.fromkeys(TRAINING, 2)
"""Cores that a stage's job takes, where it is not one."""
LOOKED_AT = 40
"""Finished entries of a stage from which time and size are judged."""

Prober = Callable[[Shape, int, bool], Pace]


class Task(NamedTuple):
    """A missing entry, or a visit that loads checkpoints to make some.

    place: below the store. job: place of the job that makes it. stage. work: counted; None where it
    cannot be. seconds: of a core; None where nothing tells. size: bytes.
    """

    place: str
    job: str
    stage: str
    work: Work | None
    seconds: float | None
    size: float | None

    @property
    def assumed(self) -> float:
        """Seconds of a core, assumed where nothing tells."""
        if self.seconds is not None:
            return self.seconds
        return STARTING + OTHERWISE if self.job == self.place else ASIDE


class Estimate(NamedTuple):
    """What the rest of a study will take.

    checkpoints: that have measurements to make. tasks: missing entries. pace: None where nothing
    was counted. untimed: who does the work where no time is judged, such as ``a GPU``; else empty.
    ahead: whether checkpoints that are still to be trained stand in. awaited: stages that are to be
    made again, and by whose former content checkpoints here were measured: where it comes out the
    same, less is to be done.
    """

    checkpoints: int
    tasks: Sequence[Task]
    pace: Pace | None
    untimed: str
    ahead: bool
    awaited: tuple[str, ...] = ()

    @property
    def work(self) -> Work:
        """All that is counted."""
        return sum((task.work for task in self.tasks if task.work), Work())

    @property
    def seconds(self) -> float:
        """Seconds of a core, of all tasks."""
        return sum(task.assumed for task in self.tasks)

    def foresee(self, cores: int) -> float:
        """Seconds on some cores; the longest job is done by one of them."""
        longest = find_longest(self.tasks, (task.assumed for task in self.tasks))
        return max(self.seconds / cores, longest)


def makes_others(stage: str) -> bool:
    """Whether a stage's job makes other entries, which are judged by themselves."""
    parted = (declared.name for declared in list_stages().values() if declared.parts)
    return stage in ("visit", *TOGETHER.values(), *parted)


def find_longest(tasks: Iterable[Task], seconds: Iterable[float]) -> float:
    """Seconds that the longest job takes alone; what it makes, it makes one after the other.

    Parameters
    ----------
    tasks, seconds
        Tasks, and the seconds of a core that each takes.
    """
    jobs: dict[str, float] = defaultdict(float)
    for task, taken in zip(tasks, seconds, strict=True):
        jobs[task.job] += taken / THREADS.get(task.stage, 1)
    return max(jobs.values(), default=0.0)


class Counted(NamedTuple):
    """Work by place, the number of checkpoints that are measured, who counted, the network, and
    places of measurements that will not be asked for: of emotions that the contrast data, once
    made, leave out.
    """

    works: Mapping[str, Work]
    checkpoints: int
    ledger: Ledger | None
    shape: Shape | None
    dropped: Set[str] = frozenset()


class Habit(NamedTuple):
    """Median seconds and bytes of a stage's finished entries; None: there are none."""

    seconds: float | None
    size: float | None


def estimate_study(
    plan: Plan,
    cores: int,
    *,
    pace: Pace | None = None,
    elsewhere: bool = False,
    probe: Prober = probe_machine,
) -> Estimate:
    """Judge what is missing of a study.

    A measurement or training run is judged by its operations: at the pace of the like, measured
    before in this store on a network of the same shape; else at that of a probe. Other stages are
    judged by the median of their finished entries.

    Parameters
    ----------
    plan
        The plan.
    cores
        That jobs may use together.
    pace
        The machine's, where it is known already.
    elsewhere
        Whether jobs run on other machines.
    probe
        Measures this machine, if need be.
    """
    ahead = plan_ahead(plan) if plan.publication is None else None
    seen = ahead or plan
    gpu = finds_gpu(plan.study.compute.device)
    untimed = "a cluster" if elsewhere else "a GPU" if gpu else ""
    with tempfile.TemporaryDirectory() as folder:
        counted = _count(seen, Path(folder))
    if not untimed:
        pace = _complete(pace, counted, plan.study.compute.mixed, cores, probe)
    missing = [entry for entry in list_missing(seen) if entry.place not in counted.dropped]
    habits = {stage: look_back(seen.store, stage) for stage in {e.stage for e in missing}}
    tasks = [
        _judge(e, job.place, habits[e.stage], counted.works.get(e.place), None if untimed else pace)
        for e, job in ((e, seen.makers.get(e.place, e)) for e in missing)
    ]
    return Estimate(
        counted.checkpoints, tasks, pace, untimed, ahead is not None, _list_awaited(plan)
    )


def list_missing(plan: Plan) -> list[Entry]:
    """Entries that are to be made: not the publication, nor visits that have nothing to do."""
    missing = [e for e in plan.entries.values() if not plan.is_made(e)]
    busy = {plan.makers[e.place].place for e in missing if e.place in plan.makers}
    return [e for e in missing if e.stage not in JOBS or e.place in busy]


def describe(estimate: Estimate, cores: int) -> str:
    """An estimate in a paragraph.

    Parameters
    ----------
    estimate
        See :func:`estimate_study`.
    cores
        That jobs may use together.
    """
    work = estimate.work
    line = (
        f"{len(estimate.tasks)} entries to make"
        + (f", measuring {estimate.checkpoints} checkpoints" if estimate.checkpoints else "")
        + (" (those still to be trained are counted like their base)" if estimate.ahead else "")
    )
    if work.tokens:
        line += (
            f": {work.texts:,} texts and prompts, {format_count(work.tokens)} tokens, "
            f"{format_count(work.operations)} operations"
        )
    size = sum(task.size or 0 for task in estimate.tasks)
    if size:
        line += f", about {format_size(int(size))} of disk"
    line += "."
    if estimate.untimed:
        return f"{line} How long {estimate.untimed} takes is not estimated."
    if all(task.seconds is None for task in estimate.tasks):
        return line
    line += f" {'At most' if estimate.awaited else 'About'} "
    line += f"{format_minutes(estimate.foresee(cores))} on {cores} "
    line += "core" if cores == 1 else "cores"
    pace = estimate.pace or Pace(0, 0, cores)
    if pace.reading:
        line += f", which do {format_count(pace.reading)} operations a second in a probe"
    if pace.learned:
        learned = ", ".join(sorted(pace.learned))
        line += f"; judged by what was measured here before: {learned}"
    missed = {t.stage for t in estimate.tasks if t.stage in MEASURED and t.work is None}
    if missed:
        line += f"; not counted: {', '.join(sorted(missed))}"
    if estimate.awaited:
        line += f"; less where the same comes out of {' and '.join(estimate.awaited)} as before"
    return f"{line}."


def format_count(number: float) -> str:
    """A large number as a person says it, such as ``4.1 million`` or ``2.3e15``."""
    if number >= 1e9:
        return f"{number:.1e}".replace("e+", "e")
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number:,.0f}"


def format_minutes(seconds: float) -> str:
    """A duration in minutes, such as ``8 min`` or ``2 h 05 min``."""
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min" if minutes else "a minute"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def look_back(store: Path, stage: str) -> Habit:
    """What finished entries of a stage took and take, by their median."""
    finished = list(islice((store / stage).glob(f"[!.]*/{MANIFEST}"), LOOKED_AT))
    if not finished:
        return Habit(None, None)
    took = [json.loads(path.read_text()).get("seconds", 0.0) for path in finished]
    return Habit(median(took), median(measure_size(path.parent) for path in finished))


def _list_awaited(plan: Plan) -> tuple[str, ...]:
    """Stages on whose content measurements rest that are awaited though there are measurements.

    Contrast data are counted as they will be, made or not.
    """
    there = any(any((plan.store / stage).glob(f"[!.]*/{MANIFEST}")) for stage in CODE)
    stages = set(SOURCES) - {"contrasts"}
    found = dict.fromkeys(e.stage for e in plan.awaited if e.stage in stages)
    return tuple(found) if there else ()


def _count(plan: Plan, folder: Path) -> Counted:
    if not plan.checkpoints:
        return Counted({}, 0, None, None)
    first = plan.checkpoints[0]
    try:
        stand_ins = write_stand_ins(plan, folder)
    except UNCOUNTABLE:
        stand_ins = {}
    ledger = Ledger(plan.store, plan.entries, first.hidden, first.layers, stand_ins)
    ways: dict[str, Callable[[], Work]] = {
        entry.place: partial(ledger.count_training, entry)
        for entry in plan.entries.values()
        if entry.stage in TRAINING and not plan.is_made(entry)
    }
    loaded: set[str] = set()
    dropped: set[str] = set()
    for checkpoint, entry in _list_measured(plan):
        if _is_left_out(entry, stand_ins):
            dropped.add(entry.place)
            continue
        ways[entry.place] = partial(ledger.count_measurement, entry, checkpoint["model"])
        loaded.add(checkpoint["label"])
    works: dict[str, Work] = {}
    for place, count in ways.items():
        with contextlib.suppress(*UNCOUNTABLE):
            works[place] = count()
    shape = ledger.find_shape(first.location) if works else None
    return Counted(works, len(loaded), ledger, shape, dropped)


def _is_left_out(entry: Entry, stand_ins: Mapping[str, Path]) -> bool:
    """Whether contrast data that stand in lack the part that is measured."""
    data = stand_ins.get(entry.context.get("contrasts", ""))
    part = entry.context.get("part")
    return bool(data and part and not (data / PARTS / f"{part}.jsonl").is_file())


def _complete(
    pace: Pace | None, counted: Counted, mixed: bool, cores: int, probe: Prober
) -> Pace | None:
    """A pace that tells all that is counted; the machine is probed where nothing else tells."""
    if counted.ledger is None or counted.shape is None:
        return pace
    if pace is None:
        pace = Pace(0, 0, cores, learn_pace(counted.ledger, counted.shape, mixed))
    needed = {place.partition("/")[0] for place in counted.works} - pace.learned.keys()
    if needed and not pace.reading:
        return probe(counted.shape, cores, mixed)._replace(learned=pace.learned)
    return pace


def _list_measured(plan: Plan) -> Iterator[tuple[Mapping[str, Any], Entry]]:
    """Checkpoints as their visits describe them, and missing measurements."""
    for visit in plan.of_stage("visit"):
        for checkpoint in visit.context["checkpoints"]:
            for values in checkpoint["entries"]:
                entry = plan.entries[f"{values['stage']}/{values['key']}"]
                if not plan.is_made(entry):
                    yield checkpoint, entry


def _judge(entry: Entry, job: str, habit: Habit, work: Work | None, pace: Pace | None) -> Task:
    size = work.size if work and work.size else habit.size
    seconds = habit.seconds
    if work is not None:
        seconds = pace.judge(entry.stage, work) if pace else None
        if seconds is not None and entry.stage in TRAINING:
            seconds += THREADS[entry.stage] * (STARTING + LOADING)
    elif entry.stage == "visit":
        seconds = STARTING + LOADING * len(entry.context["checkpoints"])
    elif makes_others(entry.stage):
        seconds = STARTING
    elif seconds is not None and job == entry.place:
        seconds += STARTING
    return Task(entry.place, job, entry.stage, work, seconds, size)
