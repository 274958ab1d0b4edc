"""What visits would have measured on checkpoints: entries of the right shapes, drawn at random.

Emotions have means of their own, so that vectors, a lock and nulls can be fitted as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from emodrift.corpus.records import Record
from emodrift.grammar.sampling import (
    sample_controls,
    sample_neutral,
    sample_prompts,
    sample_stories,
)
from emodrift.measure.arrays import (
    ACTIVATIONS,
    GRADIENTS,
    PROMPT_LABELS,
    RESPONSES,
    Readings,
    compress,
    label_activations,
    label_prompts,
    save_array,
)
from emodrift.measure.directions import open_lock
from emodrift.vectors.fitting import Recipe, fit_vectors
from emodrift.vectors.lock import LockParams, lock_vectors

CLASSES = ("comply", "hedge", "refuse", "soothe")
STRENGTHS = (-0.5, 0.5)
RECIPE = Recipe("difference_of_means", 0.5, 4, 1)
BUNDLES = {"caution": ("afraid", "worried"), "eagerness": ("eager", "happy")}
METRICS: dict[str, dict[str, Any]] = {
    "refusal": {"suite": "harmful", "toward": "refuse", "safety": True, "bundles": ["caution"]},
    "over_refusal": {"suite": "benign", "toward": "refuse", "safety": False, "bundles": []},
    "boundary_pushing": {"suite": "harmful", "toward": "comply", "safety": True, "bundles": []},
    "overconfidence": {"suite": "unanswerable", "toward": "comply", "safety": True, "bundles": []},
}


class Shape(NamedTuple):
    """Layers and width of the model; stories of each emotion, neutral texts and texts of a control,
    prompts of a suite and split; random and null directions."""

    layers: int = 9
    hidden: int = 64
    texts: int = 12
    prompts: int = 12
    random: int = 8
    nulls: int = 200

    @property
    def locked(self) -> int:
        """The locked layer."""
        return 2 * self.layers // 3


class Measured(NamedTuple):
    """Entries of one checkpoint."""

    readings: Readings
    responses: Path
    vectors: Path


def write_reference(folder: Path, shape: Shape) -> tuple[Measured, Path]:
    """Entries of the reference, gradients at all layers, and its lock."""
    readings = _write_readings(folder, shape, seed=0, first_layer=0)
    fit_vectors(RECIPE, readings, _make(folder / "vectors"))
    lock = _make(folder / "lock")
    asked = LockParams(
        layer=shape.locked,
        bundles=BUNDLES,
        confound_variance=RECIPE.confound_variance,
        random_directions=shape.random,
        nulls=shape.nulls,
        seed=1,
    )
    lock_vectors(asked, folder / "vectors", readings, lock)
    return _finish(folder, readings, lock, shape, seed=0), lock


def write_checkpoint(folder: Path, shape: Shape, lock: Path, seed: int) -> Measured:
    """Entries of another checkpoint, gradients from the locked layer upward."""
    readings = _write_readings(folder, shape, seed, first_layer=shape.locked)
    fit_vectors(RECIPE, readings, _make(folder / "vectors"))
    return _finish(folder, readings, lock, shape, seed)


def _write_readings(folder: Path, shape: Shape, seed: int, first_layer: int) -> Readings:
    rng = np.random.default_rng(seed)
    parts = {
        "stories": sample_stories(1, shape.texts),
        "neutral": sample_neutral(2, shape.texts),
        "controls": sample_controls(3, shape.texts),
        "prompts": sample_prompts(4, shape.prompts),
    }
    for kind, records in parts.items():
        array = label_activations(_draw_residual(records, shape, rng), records)
        dataset = compress(array.to_dataset(), "activation")
        if kind in ("stories", "neutral"):
            dataset["words"] = ("prompt", "hidden"), _draw(rng, len(records), shape.hidden)
        save_array(dataset, _make(folder / kind) / ACTIVATIONS)
    gradients = _draw_gradients(parts["prompts"], shape, rng, first_layer)
    save_array(compress(gradients, "gradient"), _make(folder / "gradients") / GRADIENTS)
    return {kind: (folder / kind,) for kind in (*parts, "gradients")}


def _draw_residual(records: Sequence[Record], shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """(prompt, layer, hidden), a mean for each label."""
    labels = [str(r.get("label", "")) for r in records]
    fixed = np.random.default_rng(9)
    means = {name: fixed.standard_normal(shape.hidden) for name in sorted(set(labels))}
    of_label = np.stack([means[name] for name in labels]).astype(np.float32)
    return _draw(rng, len(records), shape.layers, shape.hidden) + of_label[:, None]


def _draw_gradients(
    records: Sequence[Record], shape: Shape, rng: np.random.Generator, first_layer: int
) -> xr.Dataset:
    toward: dict[str, list[str]] = {}
    for metric in METRICS.values():
        toward.setdefault(metric["suite"], []).append(metric["toward"])
    targets = [(r, name) for r in records for name in toward.get(str(r["suite"]), ())]
    layers = np.arange(first_layer, shape.layers)
    names = np.array([name for _, name in targets], dtype=object)
    gradient = 0.1 * _draw(rng, len(targets), len(layers), shape.hidden)
    return xr.Dataset(
        {
            "score": (("prompt", "reply_class"), _draw(rng, len(records), len(CLASSES))),
            "gradient": (("target", "layer", "hidden"), gradient),
            "residual_norm": ("layer", np.full(len(layers), np.sqrt(shape.hidden), np.float32)),
        },
        coords={
            "reply_class": np.array(CLASSES, dtype=object),
            "layer": layers,
            "toward": ("target", names),
            **label_prompts("prompt", records, PROMPT_LABELS),
            **label_prompts("target", [r for r, _ in targets], PROMPT_LABELS, "target_"),
        },
    )


def _finish(folder: Path, readings: Readings, lock: Path, shape: Shape, seed: int) -> Measured:
    rng = np.random.default_rng([seed, 1])
    directions = open_lock(lock)["name"].values
    records = sample_prompts(4, shape.prompts)
    steered = _draw(rng, len(directions), len(STRENGTHS), len(records), len(CLASSES))
    dataset = xr.Dataset(
        {
            "steered_score": (("direction", "strength", "prompt", "reply_class"), steered),
            "residual_norm": float(np.sqrt(shape.hidden)),
        },
        coords={
            "reply_class": np.array(CLASSES, dtype=object),
            "direction": directions,
            "strength": np.array(STRENGTHS),
            "layer": shape.locked,
            **label_prompts("prompt", records, PROMPT_LABELS),
        },
    )
    save_array(dataset, _make(folder / "responses") / RESPONSES)
    return Measured(readings, folder / "responses", folder / "vectors")


def _draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def _make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
