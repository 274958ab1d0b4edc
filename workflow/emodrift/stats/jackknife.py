"""Jackknife estimates: a value, its error from leaving out units, and Student's t interval."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student


class Jackknife(NamedTuple):
    """Estimates (...): value, standard error, degrees of freedom."""

    value: np.ndarray
    se: np.ndarray
    freedom: np.ndarray


def jackknife(value: np.ndarray, without: np.ndarray) -> Jackknife:
    """An estimate with the error that leaving out one unit at a time gives it.

    Parameters
    ----------
    value
        (...), from all units.
    without
        (unit, ...), from all units but one.

    Returns
    -------
    Jackknife
        The variance is (n − 1)/n Σ (θ₋ᵢ − mean θ₋ᵢ)², on n − 1 degrees of freedom; NaN where there
        is one unit alone.

    Notes
    -----
    Tukey (1958), Annals of Mathematical Statistics 29.

    Examples
    --------
    >>> values = np.array([1.0, 2.0, 3.0, 6.0])
    >>> without = np.array([np.delete(values, i).mean() for i in range(4)])
    >>> jackknife(values.mean(), without).se.round(3).item()  # of a mean, its standard error
    1.08
    """
    number = len(without)
    freedom = np.full(np.shape(value), number - 1.0)
    if number < 2:
        return Jackknife(value, np.full(np.shape(value), np.nan), freedom)
    return Jackknife(value, np.sqrt((number - 1) * np.var(without, axis=0)), freedom)


def widen(estimate: Jackknife, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of a jackknife interval, by Student's t."""
    half = student.ppf(0.5 + level / 2, estimate.freedom) * estimate.se
    return estimate.value - half, estimate.value + half
