"""Slopes of behaviour metrics along directions: from gradients, and from finite steering.

β = dm/dα, where α·σ·v̂ is added to the residual stream (docs/effects.md). Gradients give it
exactly at α = 0 for any direction; finite steering says how far that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import rankdata

from emodrift.drift.log_odds import compute_all_log_odds

Convert = Callable[[xr.DataArray], xr.DataArray]
TARGET_LABELS = ("suite", "split", "family", "id")


def compute_slopes(gradients: xr.Dataset, directions: np.ndarray, layer: int) -> xr.DataArray:
    """Slopes at strength 0 as a matrix product.

    Parameters
    ----------
    gradients
        See :func:`emodrift.measure.gradients.measure_gradients`.
    directions
        (direction, hidden), unit vectors.
    layer
        Layer they are added at.

    Returns
    -------
    xr.DataArray
        (direction, target), log-odds per residual norm; labels on ``target``.
    """
    at_layer = gradients["gradient"].sel(layer=layer).values
    labels = {name: ("target", gradients[f"target_{name}"].values) for name in TARGET_LABELS}
    return xr.DataArray(
        directions.astype(np.float32) @ at_layer.T,
        dims=("direction", "target"),
        coords=labels | {"toward": ("target", gradients["toward"].values)},
    )


def join_strengths(response: xr.Dataset, scores: xr.DataArray) -> xr.DataArray:
    """Class scores of the steered prompts at every strength, 0 included.

    Parameters
    ----------
    response
        Dataset of a responses entry.
    scores
        (prompt, reply_class), unsteered, of all prompts.

    Returns
    -------
    xr.DataArray
        (direction, strength, prompt, reply_class), strengths rising.
    """
    place = {name: i for i, name in enumerate(scores["id"].values)}
    zero = scores.transpose("prompt", "reply_class").values[
        [place[name] for name in response["id"].values]
    ]
    steered = response["steered_score"].transpose("direction", "strength", "prompt", "reply_class")
    base = steered.isel(strength=[0]).copy(
        data=np.broadcast_to(zero, (steered.shape[0], 1, *zero.shape))
    )
    joined = xr.concat([steered, base.assign_coords(strength=[0.0])], "strength", join="exact")
    return joined.sortby("strength")


def fit_slopes(scores: xr.DataArray, convert: Convert) -> xr.DataArray:
    """Least-squares slope of every reply class along every direction, per prompt.

    Parameters
    ----------
    scores
        See :func:`join_strengths`.
    convert
        From scores to log-odds or probabilities.

    Returns
    -------
    xr.DataArray
        (direction, prompt, reply_class), per unit of strength (the residual norm).
    """
    strengths = scores["strength"].values
    centred = strengths - strengths.mean()
    weights = xr.DataArray(centred / (centred**2).sum(), dims="strength")
    return xr.dot(convert(scores), weights, dim="strength").transpose(
        "direction", "prompt", "reply_class"
    )


def compare_slopes(exact: xr.DataArray, scores: xr.DataArray) -> pd.DataFrame:
    """How well slopes at strength 0 agree with finite steering, for each suite and reply class.

    Parameters
    ----------
    exact
        (direction, target), see :func:`compute_slopes`.
    scores
        See :func:`join_strengths`, over the same directions.

    Returns
    -------
    pd.DataFrame
        suite, toward, strength (of the two opposite ones nearest to 0 and of the farthest),
        correlation over directions and prompts, ratio (slope of the finite on the exact effects
        through the origin), prompts.
    """
    odds = compute_all_log_odds(scores)
    found = odds["id"].values
    place = {
        key: i for i, key in enumerate(zip(exact["id"].values, exact["toward"].values, strict=True))
    }
    rows = []
    for strength in sorted({abs(float(s)) for s in odds["strength"].values} - {0.0}):
        pair = [s for s in (-strength, strength) if s in odds["strength"].values]
        if len(pair) < 2:
            continue
        ends = [odds.sel(strength=s) for s in pair]
        finite = (ends[1] - ends[0]) / (2 * strength)
        for toward in finite["reply_class"].values:
            known = np.array([(name, toward) in place for name in found])
            for suite in sorted(set(finite["suite"].values[known])):
                chosen = known & (finite["suite"].values == suite)
                columns = [place[name, toward] for name in found[chosen]]
                a = exact.values[:, columns].ravel()
                b = finite.sel(reply_class=toward).values[:, chosen].ravel()
                rows.append(
                    {
                        "suite": str(suite),
                        "toward": str(toward),
                        "strength": strength,
                        "correlation": float(np.corrcoef(a, b)[0, 1]),
                        "ratio": float(a @ b / (a @ a)),
                        "prompts": int(chosen.sum()),
                    }
                )
    return pd.DataFrame(rows)


def measure_monotonicity(response: np.ndarray) -> np.ndarray:
    """Spearman correlation of a response with strength.

    Parameters
    ----------
    response
        (..., strength), strengths rising.

    Returns
    -------
    np.ndarray
        (...): 1 rises throughout, -1 falls throughout.
    """
    ranks = rankdata(response, axis=-1)
    order = np.arange(response.shape[-1]) - (response.shape[-1] - 1) / 2
    centred = ranks - ranks.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).sum(-1) * (order**2).sum())
    return np.divide(centred @ order, spread, out=np.zeros_like(spread), where=spread > 0)


def select_targets(slopes: xr.DataArray | xr.Dataset, metric: Mapping[str, Any]) -> np.ndarray:
    """Which targets a metric counts, (target,)."""
    of_suite = slopes["suite"].values == metric["suite"]
    return of_suite & (slopes["toward"].values == metric["toward"])
