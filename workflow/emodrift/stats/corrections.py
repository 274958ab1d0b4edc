"""Correcting a family of tests for how many they are, and p-values from random draws."""

from __future__ import annotations

import numpy as np
from statsmodels.stats.multitest import multipletests

CORRECTIONS = {"by": "fdr_by", "holm": "holm"}
"""Names of methods, and what statsmodels calls them."""


def correct_family(p: np.ndarray, method: str) -> np.ndarray:
    """Adjusted p-values of a family of tests, to be held against the level asked for.

    Parameters
    ----------
    p
        (...) p-values, of any shape: all of them are one family. NaN: no test was made; such a
        place stays NaN and does not count.
    method
        ``by``: the expected share of false discoveries, under any dependence of the tests
        (Benjamini & Yekutieli 2001). ``holm``: the chance of a single false discovery, under any
        dependence (Holm 1979).

    Returns
    -------
    np.ndarray
        Of the shape of `p`.

    Raises
    ------
    ValueError
        A p-value outside 0..1, or no such method.

    Examples
    --------
    >>> correct_family(np.array([0.01, 0.04, np.nan]), "holm")
    array([0.02, 0.04,  nan])
    """
    if method not in CORRECTIONS:
        raise ValueError(f"no correction {method!r}; known: {', '.join(CORRECTIONS)}")
    p = np.asarray(p, np.float64)
    made = ~np.isnan(p)
    if ((p[made] < 0) | (p[made] > 1)).any():
        raise ValueError("p-values lie between 0 and 1")
    adjusted = np.full(p.shape, np.nan)
    if made.any():
        adjusted[made] = multipletests(p[made], method=CORRECTIONS[method])[1]
    return adjusted


def count_extremes(observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """p-value of an observed statistic among random draws, large values being extreme.

    Parameters
    ----------
    observed
        (...).
    draws
        (draw, ...) the statistic where the null hypothesis holds.

    Returns
    -------
    np.ndarray
        (b + 1) / (n + 1), b the draws that reach the observed value (Phipson & Smyth 2010); NaN
        where the observed value, or any draw, is undefined.

    Examples
    --------
    >>> count_extremes(np.array(2.5), np.array([0.3, 1.2, 2.7, 0.8])).item()
    0.4
    """
    reached = (draws >= observed).sum(0)
    undefined = np.isnan(observed) | np.isnan(draws).any(0)
    return np.where(undefined, np.nan, (reached + 1) / (len(draws) + 1))
