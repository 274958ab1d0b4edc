"""How fast this machine is: a probe, and what finished measurements took."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shutil import which
from subprocess import SubprocessError, run
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from emodrift.cost.ledger import Ledger
from emodrift.cost.shapes import Shape, read_size
from emodrift.cost.work import Work
from emodrift.errors import EmodriftError
from emodrift.store.entry import MANIFEST, Entry, read_manifest

EFFICIENCY = 0.6
"""Operations of a measurement in the time of one of the probe, which `python -m benchmarks.cost`
measures; docs/engine.md.
"""
MIXED_GAIN = 1.3
"""How much faster a network is in mixed precision where the processor multiplies bfloat16;
`python -m benchmarks.precision`, docs/engine.md.
"""
READ_ROWS, WRITTEN_ROWS = 1024, 32
"""Rows of a product while texts are read and while replies are written."""
LARGEST_PROBE = 2**26
VISITS = 12
"""Finished visits that are looked at."""
UNCOUNTABLE = (EmodriftError, OSError, ValueError, LookupError, TypeError)
"""What counting raises where an entry's sources are not there, or are none."""


class Pace(NamedTuple):
    """What a machine does.

    reading, writing: operations a second of all cores together, over many rows and over few.
    cores: that are used. learned: stage -> seconds of a core that an operation took, where the like
    was measured. gain: how much faster than in float32 a network is, where nothing was learned.
    """

    reading: float
    writing: float
    cores: int
    learned: Mapping[str, float] = {}
    gain: float = 1.0

    def judge(self, stage: str, work: Work) -> float:
        """Seconds of a core that some work takes."""
        if stage in self.learned:
            return self.learned[stage] * work.operations
        seconds = work.reading / self.reading + work.writing / self.writing
        return seconds * self.cores / (EFFICIENCY * self.gain)


def probe_machine(
    shape: Shape, cores: int, seconds: float = 1.5, clock: Callable[[], float] = time.perf_counter
) -> Pace:
    """Time float32 products of a network's own widths.

    Parameters
    ----------
    shape
        The network.
    cores
        Threads of the products.
    seconds
        The probe takes no longer, but for one product more of each kind.
    clock
        Gives seconds.
    """
    wide = max(1, round(shape.weights / (shape.layers * shape.hidden)))
    number = max(1, min(shape.layers, LARGEST_PROBE // (wide * shape.hidden)))
    weights = [np.ones((shape.hidden, wide), np.float32) for _ in range(number)]
    rates = []
    with threadpool_limits(cores):
        for rows in (READ_ROWS, WRITTEN_ROWS):
            given = np.ones((rows, shape.hidden), np.float32)
            taken = np.empty((rows, wide), np.float32)
            np.matmul(given, weights[0], out=taken)
            started, products = clock(), 0
            while clock() - started < 0.5 * seconds:
                np.matmul(given, weights[products % number], out=taken)
                products += 1
            rates.append(2.0 * rows * shape.hidden * wide * products / (clock() - started))
    reading, writing = rates
    return Pace(reading, writing, cores)


def learn_pace(ledger: Ledger, shape: Shape, mixed: bool = False) -> dict[str, float]:
    """Seconds of a core for an operation of each stage, by the latest visits to such a network.

    Parameters
    ----------
    ledger
        Counts what they did.
    shape
        Of the network.
    mixed
        Whether it is measured in mixed precision.
    """
    seconds: dict[str, float] = defaultdict(float)
    operations: dict[str, float] = defaultdict(float)
    for checkpoint in list_visited(ledger.store):
        model = checkpoint["model"]
        if model.get("mixed", False) != mixed or not _is_like(model["location"], ledger, shape):
            continue
        for entry in (Entry(**values) for values in checkpoint["entries"]):
            try:
                took = read_manifest(ledger.store / entry.place)["seconds"]
                work = ledger.count_measurement(entry, model)
            except UNCOUNTABLE:
                continue
            seconds[entry.stage] += took
            operations[entry.stage] += work.operations
    return {stage: seconds[stage] / operations[stage] for stage in seconds if operations[stage]}


def list_visited(store: Path) -> Iterator[Mapping[str, Any]]:
    """Checkpoints of the latest finished visits in a store, as these describe them."""
    manifests = (store / "visit").glob(f"[!.]*/{MANIFEST}")
    latest = sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in latest[:VISITS]:
        try:
            yield from read_manifest(path.parent)["context"]["checkpoints"]
        except UNCOUNTABLE:
            continue


def find_visited(store: Path) -> tuple[Mapping[str, Any], tuple[int, int]]:
    """Location, and width and blocks, of the network that was visited last.

    Raises
    ------
    EmodriftError
        There is none whose files are on this machine.
    """
    for checkpoint in list_visited(store):
        location = checkpoint["model"]["location"]
        if size := read_size(location):
            return location, size
    raise EmodriftError(f"{store} holds no visit to a checkpoint of this machine; run a study")


def finds_gpu(device: str) -> bool:
    """Whether models run on a GPU, as far as can be told without loading torch.

    Parameters
    ----------
    device
        Config: `compute.device`.
    """
    if device == "cpu" or not which("nvidia-smi"):
        return device.startswith("cuda")
    try:
        listed = run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=5)
    except (OSError, SubprocessError):
        return False
    return listed.stdout.startswith("GPU")


def _is_like(location: Mapping[str, Any], ledger: Ledger, shape: Shape) -> bool:
    try:
        same = read_size(location) == (shape.hidden, shape.layers)
        return same and ledger.find_shape(location) == shape
    except UNCOUNTABLE:
        return False
