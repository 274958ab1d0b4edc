"""Direction: how far each vector has turned from the locked one.

METHODS: cos(v_c[e], v_r[e]), corrected for attenuation by the split-half reliabilities; the noise
floor is the split-half cosine inside one checkpoint; control contrasts are tracked the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from emodrift.drift.table import label_rows, write_table
from emodrift.stats.bootstrap import Interval, draw_weights, summarise_draws
from emodrift.stats.measures import compute_cosine
from emodrift.vectors.fitting import open_vectors
from emodrift.vectors.lock import open_lock

RELIABILITY_FLOOR = 0.05
KINDS = {"emotion": ("topic", ""), "control": ("control_topic", "control_")}


def measure_drift(
    checkpoints: Sequence[dict[str, Any]],
    reference: int,
    statistics: dict[str, Any],
    seed: int,
    vectors: Sequence[Path],
    lock: Path,
    out: Path,
) -> None:
    """Compare every checkpoint's vectors with the reference's.

    Writes ``drift.parquet`` (checkpoint, kind, concept: cosine with interval, corrected cosine,
    noise floor, norm ratio, quality, at the locked layer) and ``layers.parquet`` (checkpoint,
    layer: mean corrected cosine and held-out AUROC).

    Parameters
    ----------
    checkpoints
        Run, step, stage, tokens of each checkpoint.
    reference
        Number of the reference among them.
    statistics, seed
        Config: bootstrap.
    vectors
        Entries of the vectors, one for each checkpoint.
    lock
        Entry of the locked vectors.
    out
        Directory to write to.
    """
    layer = int(open_lock(lock)["layer"])
    locked = open_vectors(vectors[reference])
    rows: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    for number, entry in enumerate(vectors):
        fitted = open_vectors(entry)
        rows += describe_drift(number, fitted, locked, layer, statistics, seed)
        layers += describe_layers(number, fitted, locked)
    write_table(label_rows(rows, checkpoints), out, "drift")
    write_table(label_rows(layers, checkpoints), out, "layers")


def describe_drift(
    number: int,
    fitted: xr.Dataset,
    locked: xr.Dataset,
    layer: int,
    statistics: dict[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    """Rows of one checkpoint at the locked layer, emotions and controls."""
    rows = []
    fitted, locked = fitted.sel(layer=layer), locked.sel(layer=layer)
    for kind, (topic, prefix) in KINDS.items():
        if f"{prefix}vector" not in locked:
            continue
        cosine = compare_vectors(fitted[f"{prefix}vector"], locked[f"{prefix}vector"])
        interval = bootstrap_cosine(
            fitted[f"{prefix}topic_vector"],
            locked[f"{prefix}topic_vector"],
            topic,
            statistics,
            seed,
        )
        corrected = correct_attenuation(
            cosine, fitted[f"{prefix}reliability"], locked[f"{prefix}reliability"]
        )
        ratio = _norm(fitted[f"{prefix}vector"], fitted) / _norm(locked[f"{prefix}vector"], locked)
        for i, concept in enumerate(locked[kind].values):
            rows.append(
                {
                    "checkpoint": number,
                    "kind": kind,
                    "concept": str(concept),
                    "layer": int(locked["layer"]),
                    "cosine": float(cosine[i]),
                    "low": float(interval.low[i]),
                    "high": float(interval.high[i]),
                    "corrected": float(corrected[i]),
                    "noise_floor": float(locked[f"{prefix}noise_floor"][i]),
                    "norm_ratio": float(ratio[i]),
                    "reliability": float(fitted[f"{prefix}reliability"][i]),
                    "auroc": float(fitted["auroc"][i]) if kind == "emotion" else np.nan,
                }
            )
    return rows


def describe_layers(number: int, fitted: xr.Dataset, locked: xr.Dataset) -> list[dict[str, Any]]:
    """Rows of one checkpoint over all layers, means over emotions."""
    cosine = compare_vectors(fitted["vector"], locked["vector"])
    corrected = correct_attenuation(cosine, fitted["reliability"], locked["reliability"])
    return [
        {
            "checkpoint": number,
            "layer": int(layer),
            "cosine": float(cosine.sel(layer=layer).mean()),
            "corrected": float(corrected.sel(layer=layer).mean()),
            "auroc": float(fitted["auroc"].sel(layer=layer).mean()),
            "pair_accuracy": float(fitted["pair_accuracy"].sel(layer=layer)),
        }
        for layer in fitted["layer"].values
    ]


def compare_vectors(fitted: xr.DataArray, locked: xr.DataArray) -> xr.DataArray:
    """Cosine of matching vectors over ``hidden``."""
    return xr.apply_ufunc(compute_cosine, fitted, locked, input_core_dims=[["hidden"], ["hidden"]])


def correct_attenuation(
    cosine: xr.DataArray, fitted: xr.DataArray, locked: xr.DataArray
) -> xr.DataArray:
    """Cosine over the geometric mean of the reliabilities, at most 1 in size.

    NaN where a reliability is below .05: such a vector is noise, and no correction saves it.

    Notes
    -----
    Spearman (1904); METHODS, "Three changes that are not the same".
    """
    usable = (fitted > RELIABILITY_FLOOR) & (locked > RELIABILITY_FLOOR)
    scale = np.sqrt((fitted * locked).where(usable))
    return (cosine / scale).clip(-1, 1)


def bootstrap_cosine(
    fitted: xr.DataArray,
    locked: xr.DataArray,
    topic: str,
    statistics: dict[str, Any],
    seed: int,
) -> Interval:
    """Interval of the cosine when topics are resampled, the same for both, and vectors refitted.

    Parameters
    ----------
    fitted, locked
        (topic, concept, hidden) topic vectors.
    """
    rng = np.random.default_rng(seed)
    topics = [str(t) for t in fitted[topic].values]
    weights = draw_weights(topics, statistics["draws"], rng)
    ours, theirs = (
        np.einsum("dt,tex->dex", weights, np.nan_to_num(a.values), optimize=True)
        for a in (fitted, locked)
    )
    return summarise_draws(compute_cosine(ours, theirs), statistics["level"])


def _norm(vector: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    return np.sqrt((vector**2).sum("hidden")) / dataset["residual_norm"]
