"""Cluster bootstrap as weights: a resampled mean is a matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd


class Interval(NamedTuple):
    """Percentile interval and standard error of bootstrap draws."""

    low: np.ndarray
    high: np.ndarray
    se: np.ndarray


def draw_weights(
    clusters: Sequence[str],
    draws: int,
    rng: np.random.Generator,
    strata: Sequence[str] | None = None,
) -> np.ndarray:
    """Weights of a cluster bootstrap: whole clusters are drawn with replacement within strata.

    Parameters
    ----------
    clusters
        (item,) cluster of each item, such as its topic or prompt family.
    draws
        Number of draws.
    rng
        Source of randomness.
    strata
        (item,) strata that keep their number of clusters, such as suites; none: a single one.

    Returns
    -------
    np.ndarray
        (draw, item), how often each item was drawn.

    Notes
    -----
    Davison & Hinkley (1997), Bootstrap Methods and their Application, section 3.8.
    """
    strata = ["all"] * len(clusters) if strata is None else strata
    frame = pd.DataFrame({"stratum": list(strata), "cluster": list(clusters)})
    weights = np.zeros((draws, len(frame)), np.float32)
    for _, items in frame.groupby("stratum", sort=True):
        codes, names = pd.factorize(items["cluster"], sort=True)
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
        weights[:, items.index] = counts[:, codes]
    return weights


def summarise_draws(draws: np.ndarray, level: float) -> Interval:
    """Percentile interval and standard error over the first axis, ignoring undefined draws.

    Parameters
    ----------
    draws
        (draw, ...).
    level
        Level of the interval.
    """
    tail = (1 - level) / 2
    defined = not np.isnan(draws).any()
    quantile, deviation = (np.quantile, np.std) if defined else (np.nanquantile, np.nanstd)
    low, high = quantile(draws, [tail, 1 - tail], axis=0)
    return Interval(low, high, deviation(draws, axis=0, ddof=1))


def split_halves(n: int, halves: int, rng: np.random.Generator) -> np.ndarray:
    """Random splits of items into two halves.

    Returns
    -------
    np.ndarray
        (half_split, 2, item) weights that average over each half.
    """
    order = rng.random((halves, n)).argsort(axis=1)
    first = order < n // 2
    weights = np.stack([first, ~first], axis=1).astype(np.float32)
    return weights / weights.sum(-1, keepdims=True)
