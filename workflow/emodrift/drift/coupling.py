"""Causal effect: what adding a locked direction does to replies.

METHODS: β[e,m](c) = d m / d α where α·σ·v̂ is added to the residual stream; from finite steering
as the least-squares slope over all strengths, 0 included, in log-odds and in probability. Always
beside the same number for random directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from emodrift.drift.responding import (
    compute_all_log_odds,
    compute_probabilities,
    score_unsteered,
)
from emodrift.drift.table import label_rows, write_table
from emodrift.measure.arrays import open_responses
from emodrift.stats.bootstrap import draw_weights, summarise_draws
from emodrift.stats.measures import compute_effective_rank, normalise
from emodrift.vectors.lock import open_bundles, open_lock

UNITS = {"log_odds": compute_all_log_odds, "probability": compute_probabilities}


def measure_coupling(
    checkpoints: Sequence[dict[str, Any]],
    statistics: dict[str, Any],
    seed: int,
    metrics: Mapping[str, Mapping[str, Any]],
    responses: Sequence[Path],
    lock: Path,
    out: Path,
) -> None:
    """Turn steered responses into effects on the metrics.

    Writes ``coupling.parquet`` (checkpoint, concept, metric, split: slope in log-odds and in
    probability with intervals, the random directions' standard deviation, sign consistency),
    ``knobs.parquet`` (checkpoint: effective rank, similarity and size of the emotion × behaviour
    effect matrix with standard errors) and ``behaviour.parquet`` (checkpoint, metric, split:
    unsteered probability with interval).

    Parameters
    ----------
    metrics
        Behaviour metrics by name.
    responses
        Entries, one for each checkpoint.
    checkpoints, statistics, seed, lock, out
        As in :func:`emodrift.drift.geometry.measure_drift`.
    """
    kinds, bundles = open_lock(lock)["kind"].values, open_bundles(lock)
    effects: list[dict[str, Any]] = []
    knobs: list[dict[str, Any]] = []
    behaviour: list[dict[str, Any]] = []
    for number, entry in enumerate(responses):
        response = open_responses(entry)
        slopes = {unit: fit_slopes(response, convert) for unit, convert in UNITS.items()}
        effects += _describe_effects(number, slopes, kinds, bundles, metrics, statistics, seed)
        knobs.append(_describe_knobs(number, slopes["probability"], kinds, statistics, seed))
        behaviour += _describe_behaviour(number, response, metrics, statistics, seed)
    write_table(label_rows(effects, checkpoints), out, "coupling")
    write_table(label_rows(knobs, checkpoints), out, "knobs")
    write_table(label_rows(behaviour, checkpoints), out, "behaviour")


def fit_slopes(response: xr.Dataset, convert: Any) -> xr.DataArray:
    """Slope of every reply class along every direction, per prompt.

    Parameters
    ----------
    response
        Dataset of a responses entry.
    convert
        From scores to log-odds or probabilities.

    Returns
    -------
    xr.DataArray
        (direction, steered_prompt, reply_class), per unit of strength (the residual norm).
    """
    place = {name: i for i, name in enumerate(response["id"].values)}
    rows = [place[name] for name in response["steered_id"].values]
    zero = score_unsteered(response).values[rows]
    scores = response["steered_score"].transpose(
        "direction", "strength", "steered_prompt", "reply_class"
    )
    strengths = np.append(scores["strength"].values, 0.0)
    base = np.broadcast_to(zero, (scores.shape[0], 1, *zero.shape))
    values = xr.DataArray(
        np.concatenate([scores.values, base], axis=1),
        dims=scores.dims,
        coords={"reply_class": response["reply_class"].values},
    )
    centred = strengths - strengths.mean()
    slope = np.einsum("s,dspc->dpc", centred / (centred**2).sum(), convert(values).values)
    return xr.DataArray(
        slope,
        dims=("direction", "steered_prompt", "reply_class"),
        coords={
            "direction": response["direction"].values,
            "reply_class": response["reply_class"].values,
            **{
                name: ("steered_prompt", response[f"steered_{name}"].values)
                for name in ("suite", "split", "family")
            },
        },
    )


def add_bundles(
    values: np.ndarray, names: Sequence[str], bundles: Mapping[str, Sequence[str]]
) -> tuple[np.ndarray, list[str]]:
    """Emotions' effects (emotion, ...) with each bundle's mean behind them."""
    means = [values[[names.index(m) for m in members]].mean(0) for members in bundles.values()]
    return np.concatenate([values, np.stack(means)]), [*names, *bundles]


def stack_matrix(slopes: xr.DataArray, weights: np.ndarray) -> np.ndarray:
    """Effect matrices: mean slope of every direction on every suite and reply class.

    Parameters
    ----------
    slopes
        (direction, steered_prompt, reply_class).
    weights
        (draw, steered_prompt).

    Returns
    -------
    np.ndarray
        (draw, direction, suite × reply_class).
    """
    suites = slopes["suite"].values
    blocks = []
    for suite in sorted(set(suites)):
        part = weights * (suites == suite)
        part = part / part.sum(1, keepdims=True)
        blocks.append(np.einsum("wp,dpc->wdc", part, slopes.values, optimize=True))
    return np.concatenate(blocks, axis=2)


def measure_knobs(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """How many behaviours emotions control apart from each other.

    Parameters
    ----------
    matrices
        (draw, emotion, behaviour) effects in probability.

    Returns
    -------
    dict
        Each (draw,): ``rank``, effective rank of the matrix centred over emotions; ``similarity``,
        mean cosine of the emotions' uncentred profiles; ``size``, mean absolute effect.

    Notes
    -----
    METHODS, "Indicators": in log-odds the rank barely sees a collapse; a mean cosine of centred
    profiles is pinned near −1/(E−1).
    """
    centred = matrices - matrices.mean(1, keepdims=True)
    unit = normalise(matrices + 1e-12)
    cosines = np.einsum("wex,wfx->wef", unit, unit)
    count = matrices.shape[1]
    off_diagonal = (cosines.sum((1, 2)) - count) / (count * (count - 1))
    return {
        "rank": compute_effective_rank(centred),
        "similarity": off_diagonal,
        "size": np.abs(matrices).mean((1, 2)),
    }


def _describe_effects(
    number: int,
    slopes: Mapping[str, xr.DataArray],
    kinds: np.ndarray,
    bundles: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
    statistics: dict[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    rows = []
    any_unit = slopes["log_odds"]
    suites, splits = any_unit["suite"].values, any_unit["split"].values
    names = [str(n) for n in any_unit["direction"].values[kinds == "emotion"]]
    for metric, meaning in metrics.items():
        for split in ("all", *sorted(set(splits[suites == meaning["suite"]]))):
            chosen = (suites == meaning["suite"]) & ((splits == split) | (split == "all"))
            cells: dict[str, Any] = {}
            for unit, array in slopes.items():
                part = array.sel(reply_class=meaning["toward"]).values[:, chosen]
                ours, concepts = add_bundles(part[kinds == "emotion"], names, bundles)
                drawn = draw_weights(
                    array["family"].values[chosen],
                    statistics["draws"],
                    np.random.default_rng(seed),
                    strata=splits[chosen],
                )
                resampled = drawn @ ours.T / drawn.sum(1, keepdims=True)
                cells[unit] = (
                    ours.mean(1),
                    summarise_draws(resampled, statistics["level"]),
                    float(part[kinds == "random"].mean(1).std(ddof=1)),
                    (np.sign(ours) == np.sign(ours.mean(1, keepdims=True))).mean(1),
                )
            for i, concept in enumerate(concepts):
                row: dict[str, Any] = {
                    "checkpoint": number,
                    "concept": concept,
                    "metric": metric,
                    "split": str(split),
                    "sign_consistency": float(cells["log_odds"][3][i]),
                }
                for unit, (value, interval, null, _) in cells.items():
                    row |= {
                        unit: float(value[i]),
                        f"{unit}_low": float(interval.low[i]),
                        f"{unit}_high": float(interval.high[i]),
                        f"{unit}_se": float(interval.se[i]),
                        f"{unit}_null_sd": null,
                    }
                rows.append(row)
    return rows


def _describe_knobs(
    number: int,
    slopes: xr.DataArray,
    kinds: np.ndarray,
    statistics: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    emotion = slopes.isel(direction=kinds == "emotion")
    random = slopes.isel(direction=kinds == "random")
    cells = [
        f"{a}/{b}" for a, b in zip(slopes["suite"].values, slopes["split"].values, strict=True)
    ]
    drawn = draw_weights(
        slopes["family"].values, statistics["draws"], np.random.default_rng(seed), strata=cells
    )
    whole = np.ones((1, drawn.shape[1]), np.float32)
    values = measure_knobs(stack_matrix(emotion, np.concatenate([whole, drawn])))
    row: dict[str, Any] = {"checkpoint": number}
    for name, value in values.items():
        interval = summarise_draws(value[1:], statistics["level"])
        row |= {
            name: float(value[0]),
            f"{name}_low": float(interval.low),
            f"{name}_high": float(interval.high),
            f"{name}_se": float(interval.se),
        }
    row["null_size"] = float(measure_knobs(stack_matrix(random, whole))["size"][0])
    return row


def _describe_behaviour(
    number: int,
    response: xr.Dataset,
    metrics: Mapping[str, Mapping[str, Any]],
    statistics: dict[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    probability = compute_probabilities(score_unsteered(response))
    suites, splits = response["suite"].values, response["split"].values
    rows = []
    for metric, meaning in metrics.items():
        values = probability.sel(reply_class=meaning["toward"]).values
        for split in sorted(set(splits[suites == meaning["suite"]])):
            chosen = (suites == meaning["suite"]) & (splits == split)
            drawn = draw_weights(
                response["family"].values[chosen],
                statistics["draws"],
                np.random.default_rng(seed),
            )
            interval = summarise_draws(drawn @ values[chosen] / drawn.sum(1), statistics["level"])
            rows.append(
                {
                    "checkpoint": number,
                    "metric": metric,
                    "safety": bool(meaning["safety"]),
                    "split": str(split),
                    "probability": float(values[chosen].mean()),
                    "low": float(interval.low),
                    "high": float(interval.high),
                    "prompts": int(chosen.sum()),
                }
            )
    return rows
