"""Permutations of labels within groups, for nulls that keep what groups have in common."""

from __future__ import annotations

import numpy as np


def shuffle_within(
    labels: np.ndarray, groups: np.ndarray, number: int, rng: np.random.Generator
) -> np.ndarray:
    """Labels permuted among the items of each group.

    Parameters
    ----------
    labels, groups
        (item,) each.
    number
        How many shuffles.
    rng
        Source of randomness.

    Returns
    -------
    np.ndarray
        (shuffle, item).
    """
    shuffled = np.empty((number, len(labels)), labels.dtype)
    for group in np.unique(groups):
        items = np.flatnonzero(groups == group)
        orders = rng.random((number, len(items))).argsort(axis=1)
        shuffled[:, items] = labels[items][orders]
    return shuffled
