"""Rivals: the change of directions that know nothing of emotions, beside that of caution.

Each is locked at the reference like the emotions and refitted at every checkpoint, on prompts like
the training data; all is reported on the other prompts. docs/methods.md,
"Discovered bundle and rival directions".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from emodrift.drift.table import label_rows, write_table
from emodrift.measure.arrays import Readings
from emodrift.measure.directions import open_bundles, open_discovered, open_lock, open_rivals
from emodrift.stage import Stage
from emodrift.stats.bootstrap import UNLIMITED, Resampling, resample, summarise_draws
from emodrift.stats.measures import compute_cosine, normalise
from emodrift.stats.settings import Statistics
from emodrift.vectors.discovery import (
    Asked,
    average_gradient,
    contrast_prompts,
    read_question,
    read_reference,
)

STAGE = Stage(
    "rivals",
    "measure_rivals",
    reads={
        "activations": ["prompts", "gradients"],
        "lock": "lock",
        "discovery": "discovery",
    },
    settings=["checkpoints", "statistics", "seed", "indicators", "metrics"],
    needs="discovery",
)
REFIT = " (refitted)"


class RivalsParams(NamedTuple):
    """What the stage is asked.

    checkpoints: run, step, stage, tokens of each. statistics, seed, indicators: config. metrics:
    behaviour metrics by name.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    statistics: Statistics
    seed: int
    indicators: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]


class RivalsInputs(NamedTuple):
    """Entries that the stage reads.

    activations: of each checkpoint on prompts, with gradients. lock, discovery: of the reference.
    """

    activations: Sequence[Readings]
    lock: Path
    discovery: Path


def measure_rivals(params: RivalsParams, inputs: RivalsInputs, out: Path) -> None:
    """Follow bundles, by name and as discovered, and their rivals over all checkpoints.

    Writes ``rivals.parquet`` (checkpoint, concept): AUROC of harmful against benign prompts and the
    rise from one to the other in residual norms, slope of refusal along the direction, all with
    intervals over the families of prompts unlike the training data; of refitted directions also the
    cosine with the locked one.

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    asked = read_question(params.indicators, params.metrics)
    locked = open_lock(inputs.lock)
    followed = list_followed(locked, inputs)
    rows = []
    for number, entry in enumerate(inputs.activations):
        hidden, gradients = read_reference(entry, int(locked["layer"]))
        refitted = {
            f"harm{REFIT}": normalise(contrast_prompts(hidden, asked)),
            f"refusal{REFIT}": normalise(average_gradient(gradients, asked)),
        }
        for concept, direction in (followed | refitted).items():
            row = follow_direction(direction, hidden, gradients, asked, params)
            origin = followed.get(concept.removesuffix(REFIT), direction)
            row["cosine"] = float(compute_cosine(direction, origin))
            rows.append({"checkpoint": number, "concept": concept, **row})
    write_table(label_rows(rows, params.checkpoints), out, "rivals")


def list_followed(locked: xr.Dataset, inputs: RivalsInputs) -> dict[str, np.ndarray]:
    """Concept -> locked direction (hidden,): every bundle, the discovered one, and the rivals."""
    vectors = dict(zip(map(str, locked["name"].values), locked["direction"].values, strict=True))
    bundles = open_bundles(inputs.lock) | open_discovered(inputs.discovery)
    rivals = open_rivals(inputs.discovery)
    return {
        name: np.mean([vectors[member] for member in members], axis=0)
        for name, members in bundles.items()
    } | dict(zip(map(str, rivals["rival"].values), rivals.values, strict=True))


def follow_direction(
    direction: np.ndarray,
    hidden: xr.DataArray,
    gradients: xr.Dataset,
    asked: Asked,
    params: RivalsParams,
) -> dict[str, Any]:
    """What a direction (hidden,) tells of harm and does to refusal, off the split chosen on."""
    level = params.statistics.level
    scale = float(np.linalg.norm(hidden.values, axis=-1).mean())
    groups = [_pick(hidden, suite, asked) for suite in (asked.harmful, asked.benign)]
    values = [hidden.values[rows] @ direction / scale for rows in groups]
    drawn = [_draw(hidden, rows, params) for rows in groups]
    up, down = (d.average(v) for d, v in zip(drawn, values, strict=True))
    wins = (values[0][:, None] > values[1]) + 0.5 * (values[0][:, None] == values[1])
    auroc = _average_pairs(wins, *drawn)
    rows = _pick(gradients, asked.harmful, asked, "target_") & (
        gradients["toward"].values == asked.refuse
    )
    slopes = gradients["gradient"].values[rows] @ direction
    of_targets = _draw(gradients, rows, params, "target_")
    found: dict[str, Any] = {}
    for name, estimate, draws, freedom, limits in (
        ("auroc", wins.mean(), auroc, drawn[0].freedom, (0, 1)),
        ("rise", values[0].mean() - values[1].mean(), up - down, drawn[0].freedom, UNLIMITED),
        (
            "slope",
            slopes.mean(),
            of_targets.average(slopes),
            of_targets.freedom,
            UNLIMITED,
        ),
    ):
        interval = summarise_draws(draws, level, freedom, limits)
        found |= {
            name: float(estimate),
            f"{name}_low": float(interval.low),
            f"{name}_high": float(interval.high),
        }
    return found


def _average_pairs(wins: np.ndarray, above: Resampling, below: Resampling) -> np.ndarray:
    """Mean (draw,) of a matrix over pairs of prompts."""
    up = above.weights / above.weights.sum(1, keepdims=True)
    down = below.weights / below.weights.sum(1, keepdims=True)
    return np.einsum("dj,jk,dk->d", up, wins, down)


def _pick(array: xr.DataArray | xr.Dataset, suite: str, asked: Asked, prefix: str = "") -> Any:
    of_suite = array[f"{prefix}suite"].values == suite
    return of_suite & (array[f"{prefix}split"].values != asked.split)


def _draw(
    array: xr.DataArray | xr.Dataset, rows: np.ndarray, params: RivalsParams, prefix: str = ""
) -> Resampling:
    families, splits = (array[f"{prefix}{n}"].values[rows] for n in ("family", "split"))
    return resample(families, params.statistics.draws, params.seed, splits)
