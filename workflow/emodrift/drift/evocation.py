"""Use: what behaviour prompts evoke along the locked directions, and what that predicts.

METHODS: projection of checkpoint-c activations on the locked v_r[e] on behaviour prompts, by suite
and split; for a bundle the mean over its emotions. For caution, harmful against benign prompts as
AUROC and standardised difference, and how well the projection predicts refusal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from emodrift.drift.responding import compute_log_odds
from emodrift.drift.table import label_rows, write_table
from emodrift.measure.arrays import open_activations, open_gradients
from emodrift.measure.directions import open_bundles, open_lock
from emodrift.stage import Stage
from emodrift.stats.bootstrap import UNLIMITED, resample, summarise_draws

STAGE = Stage(
    "evocation",
    "measure_evocation",
    reads={"activations": ["prompts", "gradients"], "lock": "lock"},
    settings=["checkpoints", "statistics", "seed", "indicators", "metrics"],
)
LIMITS = {"auroc": (0, 1), "predictivity": (-1, 1)}


def measure_evocation(
    checkpoints: Sequence[dict[str, Any]],
    statistics: dict[str, Any],
    seed: int,
    indicators: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    activations: Sequence[Path],
    lock: Path,
    out: Path,
) -> None:
    """Project every checkpoint's prompt activations on the locked directions.

    Writes ``evocation.parquet`` (checkpoint, concept, split: rise from benign to harmful prompts,
    standardised difference, AUROC and predictivity of refusal, with intervals),
    ``projections.parquet`` (checkpoint, concept, suite, split: mean projection over the residual
    norm) and ``prompts.parquet`` (checkpoint, prompt: projection on caution, log-odds of refusal).

    Parameters
    ----------
    indicators, metrics
        Config: which bundle is caution, and which metrics' suites are contrasted.
    activations
        Entries, one for each checkpoint.
    checkpoints, statistics, seed, lock, out
        As in :func:`emodrift.drift.geometry.measure_drift`.
    """
    locked, bundles = open_lock(lock), open_bundles(lock)
    harmful, benign = (metrics[indicators[m]]["suite"] for m in ("refusal", "benign"))
    toward = metrics[indicators["refusal"]]["toward"]
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    for number, entry in enumerate(activations):
        hidden = open_activations(entry, "prompts").sel(layer=int(locked["layer"]))
        projection = project_prompts(hidden, locked, bundles)
        odds = compute_log_odds(open_gradients(entry)["score"], toward)
        rows += _contrast(number, projection, odds, harmful, benign, statistics, seed)
        means += _average(number, projection)
        caution = projection.sel(concept=indicators["caution"])
        prompts += [
            {"checkpoint": number, "id": name, "suite": suite, "split": split}
            | {"projection": float(value), "log_odds": float(odd)}
            for name, suite, split, value, odd in zip(
                *(projection[n].values for n in ("id", "suite", "split")),
                caution.values,
                odds,
                strict=True,
            )
        ]
    write_table(label_rows(rows, checkpoints), out, "evocation")
    write_table(label_rows(means, checkpoints), out, "projections")
    write_table(label_rows(prompts, checkpoints), out, "prompts")


def project_prompts(
    hidden: xr.DataArray, locked: xr.Dataset, bundles: Mapping[str, Sequence[str]]
) -> xr.DataArray:
    """Projection of prompts on locked directions, in units of the mean residual norm.

    Parameters
    ----------
    hidden
        (prompt, hidden).
    locked
        The lock.
    bundles
        Bundle -> emotions.

    Returns
    -------
    xr.DataArray
        (prompt, concept): emotions, then bundles.
    """
    emotion = locked.isel(direction=locked["kind"].values == "emotion")
    names = [str(n) for n in emotion["name"].values]
    scale = np.linalg.norm(hidden.values, axis=-1).mean()
    values = (hidden.values - emotion["center"].values) @ emotion["direction"].values.T / scale
    grouped = [
        values[:, [names.index(member) for member in members]].mean(1)
        for members in bundles.values()
    ]
    return xr.DataArray(
        np.column_stack([values, *grouped]),
        dims=("prompt", "concept"),
        coords={
            "concept": np.array([*names, *bundles], dtype=object),
            **{n: ("prompt", hidden[n].values) for n in ("id", "suite", "split", "family")},
        },
    )


class GroupContrast(NamedTuple):
    """How far two groups of prompts lie apart along each concept, (draw, concept) each.

    rise: difference of means, in the unit of the values; difference: rise over the pooled standard
    deviation; auroc: probability that a positive prompt lies above another.
    """

    rise: np.ndarray
    difference: np.ndarray
    auroc: np.ndarray


def contrast_groups(values: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> GroupContrast:
    """Weighted contrast of two groups of prompts.

    Parameters
    ----------
    values
        (prompt, concept).
    positive
        (prompt,) which prompts are expected higher.
    weights
        (draw, prompt).
    """
    up, down = weights * positive, weights * ~positive
    totals = [w.sum(1, keepdims=True) for w in (up, down)]
    means = [w @ values / n for w, n in zip((up, down), totals, strict=True)]
    squares = [w @ values**2 / n for w, n in zip((up, down), totals, strict=True)]
    spread = [s - m**2 for s, m in zip(squares, means, strict=True)]
    pooled = np.sqrt((spread[0] + spread[1]).clip(1e-12) / 2)
    rise = means[0] - means[1]
    a, b = values[positive], values[~positive]
    wins = (a[:, None] > b[None]) + 0.5 * (a[:, None] == b[None])
    against = np.tensordot(up[:, positive], wins.astype(np.float32), 1)
    auroc = np.einsum("djc,dj->dc", against, down[:, ~positive])
    return GroupContrast(rise, rise / pooled, auroc / (totals[0] * totals[1]))


def correlate(values: np.ndarray, outcome: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted correlation of each concept's projection with an outcome.

    Parameters
    ----------
    values, outcome, weights
        (prompt, concept), (prompt,), (draw, prompt).

    Returns
    -------
    np.ndarray
        (draw, concept).
    """
    share = weights / weights.sum(1, keepdims=True)
    mean_v, mean_o = share @ values, share @ outcome
    covariance = share @ (values * outcome[:, None]) - mean_v * mean_o[:, None]
    var_v = share @ values**2 - mean_v**2
    var_o = share @ outcome**2 - mean_o**2
    return covariance / np.sqrt((var_v * var_o[:, None]).clip(1e-16))


def _contrast(
    number: int,
    projection: xr.DataArray,
    odds: np.ndarray,
    harmful: str,
    benign: str,
    statistics: dict[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    rows = []
    suite, split = projection["suite"].values, projection["split"].values
    for name in ("all", *sorted(set(split))):
        chosen = np.isin(suite, [harmful, benign]) & ((split == name) | (name == "all"))
        part = projection[chosen]
        positive = part["suite"].values == harmful
        if not 0 < positive.sum() < len(positive):
            continue
        drawn = resample(part["family"].values, statistics["draws"], seed, _cells(part))
        weights = np.concatenate([np.ones((1, len(positive)), np.float32), drawn.weights])
        contrast = contrast_groups(part.values, positive, weights)
        measured = {
            "rise": contrast.rise,
            "difference": contrast.difference,
            "auroc": contrast.auroc,
            "predictivity": correlate(part.values, odds[chosen], weights),
        }
        level = statistics["level"]
        wide = {
            k: summarise_draws(v[1:], level, drawn.freedom, LIMITS.get(k, UNLIMITED))
            for k, v in measured.items()
        }
        for i, concept in enumerate(part["concept"].values):
            row = {"checkpoint": number, "concept": str(concept), "split": str(name)}
            for key, value in measured.items():
                row |= {
                    key: float(value[0, i]),
                    f"{key}_low": float(wide[key].low[i]),
                    f"{key}_high": float(wide[key].high[i]),
                    f"{key}_se": float(wide[key].se[i]),
                }
            rows.append(row)
    return rows


def _cells(projection: xr.DataArray) -> list[str]:
    cells = zip(projection["suite"].values, projection["split"].values, strict=True)
    return [f"{suite}/{split}" for suite, split in cells]


def _average(number: int, projection: xr.DataArray) -> list[dict[str, Any]]:
    frame = projection.to_pandas()
    frame["suite"], frame["split"] = projection["suite"].values, projection["split"].values
    long = frame.melt(["suite", "split"], var_name="concept", value_name="projection")
    means = long.groupby(["concept", "suite", "split"], as_index=False)["projection"].mean()
    return [{"checkpoint": number, **row} for row in means.to_dict("records")]
