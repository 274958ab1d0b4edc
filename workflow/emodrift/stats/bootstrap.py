"""Cluster bootstrap as weights: a resampled mean is a matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

UNLIMITED = (-np.inf, np.inf)
Labels = Sequence[str] | np.ndarray
"""(item,) names of what items belong to."""


class Interval(NamedTuple):
    """Percentile interval and standard error of bootstrap draws."""

    low: np.ndarray
    high: np.ndarray
    se: np.ndarray


class Resampling(NamedTuple):
    """A cluster bootstrap: weights (draw, item), and degrees of freedom."""

    weights: np.ndarray
    freedom: int

    def average(self, values: np.ndarray) -> np.ndarray:
        """Means of values (..., item) at every draw, (draw, ...)."""
        return self.weights @ values.T / self.weights.sum(1).reshape(-1, *[1] * (values.ndim - 1))


def resample(clusters: Labels, draws: int, seed: int, strata: Labels | None = None) -> Resampling:
    """Bootstrap whole clusters within strata; see :func:`draw_weights`, :func:`count_freedom`.

    Examples
    --------
    >>> families = ["a", "a", "b", "c"]
    >>> drawn = resample(families, draws=1000, seed=0)
    >>> drawn.weights.shape, drawn.freedom
    ((1000, 4), 2)
    >>> drawn.average(np.array([1.0, 1.0, 1.0, 1.0])).std().item()
    0.0
    """
    weights = draw_weights(clusters, draws, np.random.default_rng(seed), strata)
    return Resampling(weights, count_freedom(clusters, strata))


def draw_weights(
    clusters: Labels,
    draws: int,
    rng: np.random.Generator,
    strata: Labels | None = None,
) -> np.ndarray:
    """Weights of a cluster bootstrap: whole clusters are drawn with replacement within strata.

    Of n clusters n − 1 are drawn and weigh n/(n − 1) each, so that means spread by as much as they
    do over samples, however few clusters a stratum has; n of n would spread by (n − 1)/n of that
    variance. A stratum of one cluster keeps it.

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
        (draw, item), the weight of each item.

    Notes
    -----
    Rao & Wu (1988), Journal of the American Statistical Association 83.
    """
    strata = ["all"] * len(clusters) if strata is None else strata
    frame = pd.DataFrame({"stratum": list(strata), "cluster": list(clusters)})
    weights = np.ones((draws, len(frame)), np.float32)
    for _, items in frame.groupby("stratum", sort=True):
        codes, names = pd.factorize(items["cluster"], sort=True)
        number = len(names)
        if number > 1:
            counts = rng.multinomial(number - 1, np.full(number, 1 / number), size=draws)
            weights[:, items.index] = counts[:, codes] * (number / (number - 1))
    return weights


def count_freedom(clusters: Labels, strata: Labels | None = None) -> int:
    """Degrees of freedom of a bootstrap: clusters less strata, at least 1.

    Parameters
    ----------
    clusters, strata
        As in :func:`draw_weights`.
    """
    strata = ["all"] * len(clusters) if strata is None else strata
    number = len(set(zip(strata, clusters, strict=True)))
    return max(1, number - len(set(strata)))


def summarise_draws(
    draws: np.ndarray,
    level: float,
    freedom: float = np.inf,
    limits: tuple[float, float] = UNLIMITED,
) -> Interval:
    """Percentile interval and standard error over the first axis, ignoring undefined draws.

    With few clusters the ends are moved away from the median by the ratio of Student's quantile to
    the normal one, since the draws do not know how badly so few tell their own spread.

    Parameters
    ----------
    draws
        (draw, ...).
    level
        Level of the interval.
    freedom
        Degrees of freedom, from :func:`count_freedom`.
    limits
        Least and greatest value that can be.

    Notes
    -----
    After the expanded percentile interval of Hesterberg (2015), The American Statistician 69.
    """
    tail = (1 - level) / 2
    defined = not np.isnan(draws).any()
    quantile, deviation = (np.quantile, np.std) if defined else (np.nanquantile, np.nanstd)
    low, middle, high = quantile(draws, [tail, 0.5, 1 - tail], axis=0)
    ratio = student.ppf(tail, freedom) / norm.ppf(tail)
    low, high = (np.clip(middle + ratio * (end - middle), *limits) for end in (low, high))
    return Interval(low, high, deviation(draws, axis=0, ddof=1))


def bound_settled(
    share: np.ndarray, clusters: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share of 0 or 1, which no draw can move: as of so many tosses of a coin.

    Parameters
    ----------
    share
        (...,) 0 or 1.
    clusters
        (...,) clusters that all agree.
    level
        Level of the interval.

    Notes
    -----
    Clopper & Pearson (1934), Biometrika 26: where n of n agree the lower end is (tail)^(1/n).

    Examples
    --------
    >>> low, high = bound_settled(np.array([0.0, 1.0]), np.array([10, 10]), level=0.95)
    >>> low.round(3), high.round(3)
    (array([0.   , 0.692]), array([0.308, 1.   ]))
    """
    far = ((1 - level) / 2) ** (1 / np.maximum(clusters, 1))
    return np.where(share == 1, far, 0.0), np.where(share == 0, 1 - far, 1.0)


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
