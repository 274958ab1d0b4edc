"""How fast this machine is: a probe, and what finished measurements took."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import which
from subprocess import SubprocessError, run
from typing import Any, NamedTuple

from emodrift.cost.ledger import Ledger
from emodrift.cost.shapes import Shape, read_size
from emodrift.cost.work import Work
from emodrift.errors import EmodriftError
from emodrift.plan.needs import TRAINING
from emodrift.store.entry import MANIFEST, Entry, read_manifest

EFFICIENCY = {False: 0.6, True: 0.55}
"""Operations of a measurement in the time of one of the probe, in float32 and in mixed precision;
`python -m benchmarks.cost` measures it, docs/engine.md.
"""
OF_TRAINING = 0.7
"""Operations of a training in the time of one of a measurement."""
PROBED = 1.5
"""Seconds of products in a probe; it takes two more to start."""
VISITS = 12
"""Finished visits that are looked at."""
UNCOUNTABLE = (EmodriftError, OSError, ValueError, LookupError, TypeError)
"""What counting raises where an entry's sources are not there, or are none."""


class Pace(NamedTuple):
    """What a machine does.

    reading, writing: operations a second of all cores together, over many rows and over few.
    cores: that are used. learned: stage -> seconds of a core that an operation took, where the like
    was measured. efficiency: share of a probe's operations that a network reaches.
    """

    reading: float
    writing: float
    cores: int
    learned: Mapping[str, float] = {}
    efficiency: float = 1.0

    def judge(self, stage: str, work: Work) -> float:
        """Seconds of a core that some work takes."""
        if stage in self.learned:
            return self.learned[stage] * work.operations
        seconds = work.reading / self.reading + work.writing / self.writing
        reached = self.efficiency * (OF_TRAINING if stage in TRAINING else 1)
        return seconds * self.cores / reached


def probe_machine(shape: Shape, cores: int, mixed: bool = False) -> Pace:
    """Time products of a network's own widths, as a visit computes them.

    Parameters
    ----------
    shape
        The network.
    cores
        That multiply.
    mixed
        Whether in mixed precision.

    Raises
    ------
    EmodriftError
        The probe ended with an error, such as for want of memory.
    """
    asked = {"shape": shape, "cores": cores, "mixed": mixed, "seconds": PROBED}
    command = [sys.executable, "-m", "emodrift.cost.probe", json.dumps(asked)]
    done = run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
        raise EmodriftError(f"this machine could not be probed: {why}")
    reading, writing = json.loads(done.stdout)
    return Pace(reading, writing, cores, efficiency=EFFICIENCY[mixed])


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
    """The model that was visited last, as its visit describes it, and its width and blocks.

    Raises
    ------
    EmodriftError
        There is none whose files are on this machine.
    """
    for checkpoint in list_visited(store):
        if size := read_size(checkpoint["model"]["location"]):
            return checkpoint["model"], size
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
