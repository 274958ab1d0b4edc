"""Memory that a job asks of a cluster, from the model and the data, before anything is loaded.

Each estimate is from above. What is measured stays below it (a test measures), and a job that is
killed for its memory all the same asks for twice as much when it is tried again. The formulas are
told in docs/cluster.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.checkpoints.files import read_object
from emodrift.checkpoints.gguf import is_gguf
from emodrift.checkpoints.places import read_shape
from emodrift.checkpoints.tensors import BITS, read_header
from emodrift.config.running import GRADIENT_SHARE, Compute
from emodrift.plan.declarations import list_stages
from emodrift.plan.entries import Plan
from emodrift.store.digest import digest_value
from emodrift.store.downloads import pick_weights
from emodrift.store.entry import Entry

MEGABYTE = 10**6
LIBRARIES = 1_500 * MEGABYTE
"""The interpreter with torch, transformers, xarray and what they load."""
ON_GPU = 4_000 * MEGABYTE
"""Libraries of a process that also holds a GPU's context."""
SAVED = 24
"""Values that a block keeps for each token and residual dimension until the backward pass."""
SCORED = 3
"""Arrays over the vocabulary at a time: logits, their logarithms, their gradient."""
LARGEST_VOCABULARY = 1 << 18
"""Where a config does not tell it."""
COPIES = 3
"""Arrays at a time while one is read, changed and written."""
OF_TABLES = 2 * MEGABYTE
"""Rows of tables for each checkpoint."""
TRAINING = ("training", "training-base")
"""Stages of the study's own training of a chat model."""
FITTING = ("fitting", "lock")
SUMMARIES = frozenset(stage.name for stage in list_stages().values()) - {"indicators"}
OPTIMISED = 4
"""Weights, their gradient, and the two moments of the optimiser."""


class Weights(NamedTuple):
    """What is known of a model without loading it.

    Parameters
    ----------
    number
        Weights.
    stored
        Bytes that they take on the disk.
    hidden, layers, vocabulary
        Residual width, blocks, and tokens that the model knows.
    """

    number: int
    stored: int
    hidden: int
    layers: int
    vocabulary: int


def estimate_visit(weights: Weights, compute: Compute, rows: int) -> int:
    """Bytes of main memory that a visit to a checkpoint takes.

    Parameters
    ----------
    weights
        The model.
    compute
        Config: device, dtype, batch_tokens and recompute_blocks matter.
    rows
        Texts, or targets of gradients, of the largest part that is measured at a time.
    """
    states = COPIES * rows * (weights.layers + 1) * weights.hidden * 4
    if compute.device not in ("auto", "cpu"):
        return ON_GPU + weights.stored + states
    width = 2 if compute.dtype in ("bfloat16", "float16") else 4
    kept = SAVED if not compute.recompute_blocks else 2
    graph = kept * weights.layers + (SAVED if compute.recompute_blocks else 1)
    backward = (graph * weights.hidden + SCORED * weights.vocabulary) / GRADIENT_SHARE
    batch = math.ceil(compute.batch_tokens * (SAVED * weights.hidden + backward) * 4)
    return LIBRARIES + width * weights.number + weights.stored + batch + states


def estimate_training(weights: Weights, compute: Compute) -> int:
    """Bytes of main memory that a run of the study's own training takes, of all weights."""
    trained = 0 if compute.device not in ("auto", "cpu") else OPTIMISED * 4 * weights.number
    return estimate_visit(weights, compute, 0) + trained


def estimate_fit(checkpoint: Checkpoint, rows: int) -> int:
    """Bytes that fitting vectors of a checkpoint, or locking them, takes; `rows` are its texts."""
    return LIBRARIES + COPIES * rows * (checkpoint.layers + 1) * checkpoint.hidden * 4


def estimate_summary(checkpoints: Sequence[Checkpoint], rows: int) -> int:
    """Bytes that a table over all checkpoints takes: one is read at a time, the rows are kept."""
    return estimate_fit(checkpoints[0], rows) + OF_TABLES * len(checkpoints)


class Needs:
    """What the jobs of a plan ask a cluster for; made once for a plan.

    Parameters
    ----------
    plan
        The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rows = count_rows(plan)
        self.checkpoints = {digest_value(c.location): c for c in plan.checkpoints}

    def foresee_memory(self, entry: Entry) -> int:
        """Megabytes of main memory that the job of an entry asks for."""
        return math.ceil(self._estimate(entry) / MEGABYTE)

    def name_group(self, entry: Entry) -> str:
        """What shares a job: a visit, and what is made of its checkpoints alone."""
        return f"visit-{(self.plan.find_visit(entry) or entry).key}"

    def find_weights(self, location: Mapping[str, Any]) -> Weights:
        """What is known of the model at a location, an adapter's base included."""
        places = [place for place in _list_places(location) if "path" in place]
        found = [_read_files(Path(place["path"])) for place in places]
        own = {name: value for name, value in location.items() if name != "initialise"}
        checkpoint = self.checkpoints.get(digest_value(own))
        downloaded = sum(d.size for d in checkpoint.downloads) if checkpoint else 0
        return Weights(
            number=sum(w.number for w in found) + downloaded // 2,
            stored=sum(w.stored for w in found) + downloaded,
            hidden=checkpoint.hidden if checkpoint else max((w.hidden for w in found), default=0),
            layers=checkpoint.layers if checkpoint else max((w.layers for w in found), default=0),
            vocabulary=max((w.vocabulary for w in found), default=0) or LARGEST_VOCABULARY,
        )

    def _estimate(self, entry: Entry) -> int:
        plan, compute = self.plan, self.plan.study.compute
        if entry.stage == "visit":
            asked = (checkpoint["model"]["location"] for checkpoint in entry.context["checkpoints"])
            weights = map(self.find_weights, asked)
            return max(estimate_visit(w, compute, self.rows) for w in weights)
        if entry.stage in TRAINING:
            return estimate_training(self.find_weights(entry.context["location"]), compute)
        if entry.stage in FITTING and plan.checkpoints:
            return estimate_fit(plan.checkpoints[0], self.rows)
        if entry.stage in SUMMARIES and plan.checkpoints:
            return estimate_summary(plan.checkpoints, self.rows)
        return LIBRARIES


def count_rows(plan: Plan) -> int:
    """Texts of all parts of the contrast data that are made; none where they are not yet."""
    return sum(
        _count_lines(file)
        for entry in plan.of_stage("contrasts")
        for file in (plan.store / entry.place / "parts").glob("*.jsonl")
    )


def _list_places(location: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [location, *(_list_places(location["base"]) if "base" in location else ())]


@functools.cache
def _read_files(path: Path) -> Weights:
    """A model's or an adapter's files on this machine, by their headers."""
    if is_gguf(path):
        size = path.stat().st_size
        return Weights(number=2 * size, stored=size, hidden=0, layers=0, vocabulary=0)
    names = [p.name for p in path.iterdir() if p.is_file()]
    whole = "config.json" in names
    files = [path / name for name in pick_weights(names, not whole, allow_pickle=True)]
    config = read_object(path / "config.json", str(path)) if whole else {}
    shape = read_shape(config, str(path), str(path)) if whole else {"hidden": 0, "layers": 0}
    told = config.get("text_config", config).get("vocab_size")
    return Weights(
        number=sum(map(_count_weights, files)),
        stored=sum(file.stat().st_size for file in files),
        vocabulary=told if isinstance(told, int) else 0,
        **shape,
    )


def _count_weights(file: Path) -> int:
    if file.suffix != ".safetensors":
        return file.stat().st_size // 2
    tensors = read_header(file).values()
    return sum((t.stop - t.start) * 8 // BITS[t.dtype] for t in tensors)


def _count_lines(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(1 for _ in lines)
