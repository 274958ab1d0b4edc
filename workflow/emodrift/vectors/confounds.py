"""Confounds: what neutral texts vary along, to be removed from texts and from vectors.

A set of confounds is a matrix B (component, hidden) of principal axes, each scaled by the root of
its gain g: x − Bᵀ B x keeps 1 − g of what x has along the axis. Definitions and the reasons for
them are in docs/methods.md, "Confounds".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

TIED = 1.25
"""Ratio of variances below which two components share what is removed."""
LACKING = 0.01
"""Gain from which on a direction counts as wholly removed where two sets are combined."""


def find_confounds(neutral: xr.DataArray | None, share: float) -> np.ndarray | None:
    """Principal axes of neutral texts, scaled so that exactly a share of their variance is removed.

    Leading components are removed whole (gain 1), the last one in part: of its variance the part
    f that is still wanted, by a gain of 1 − √(1 − f). Components whose variances lie within a
    factor ``TIED`` of each other share what is removed. So the confounds are a continuous function
    of the texts and of the share (docs/methods.md, "Confounds").

    Parameters
    ----------
    neutral
        (prompt, hidden).
    share
        0 to 1.

    Returns
    -------
    np.ndarray or None
        (component, hidden), orthogonal rows of length √gain; None where nothing is to be removed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> texts = xr.DataArray(rng.normal(size=(50, 3)) * [3, 2, 1], dims=("prompt", "hidden"))
    >>> confounds = find_confounds(texts, share=0.5)
    >>> left = project_out(texts.values - texts.values.mean(0), confounds)
    >>> (left.var(0).sum() / texts.values.var(0).sum()).round(3).item()
    0.5
    """
    if neutral is None or share == 0:
        return None
    centred = neutral.values.astype(np.float64)
    centred = centred - centred.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2
    if variance.sum() < 1e-12:
        return None
    gain = 1 - np.sqrt(1 - divide_removal(variance, share))
    return _scale_axes(axes, gain)


def divide_removal(variance: np.ndarray, share: float) -> np.ndarray:
    """Part of each component's variance that is removed, for a share of the total.

    Parameters
    ----------
    variance
        (component,), falling.
    share
        0 to 1.

    Returns
    -------
    np.ndarray
        (component,): log(λ / τ) / log(``TIED``), held within 0 and 1, at the threshold τ where
        what is removed is `share` of all variance.

    Examples
    --------
    >>> divide_removal(np.array([6.0, 3.0, 1.0]), share=0.75)
    array([1. , 0.5, 0. ])
    """
    parts = np.zeros(len(variance))
    present = variance > 1e-12 * variance[0]
    size = np.log(variance[present]) / np.log(TIED)
    corners = np.sort(np.concatenate([size, size - 1]))
    removed = np.clip(size - corners[:, None], 0, 1) @ variance[present]
    threshold = np.interp(-share * variance[present].sum(), -removed, corners)
    parts[present] = np.clip(size - threshold, 0, 1)
    return parts


def combine_confounds(sets: Sequence[np.ndarray]) -> np.ndarray:
    """Confounds that remove what any of several sets removes.

    Along the principal axes of Σ BᵀB a direction whose gains add up to ``LACKING`` is removed
    whole, one with less in proportion: the span of all sets, made continuous in them.

    Parameters
    ----------
    sets
        Of (component, hidden) each, from :func:`find_confounds`.

    Returns
    -------
    np.ndarray
        (component, hidden), as in :func:`find_confounds`.
    """
    _, singular, axes = np.linalg.svd(np.concatenate(sets), full_matrices=False)
    return _scale_axes(axes, np.minimum(singular**2 / LACKING, 1))


def project_out(values: np.ndarray, confounds: np.ndarray | None) -> np.ndarray:
    """Values (..., hidden) without what the confounds (component, hidden) remove."""
    if confounds is None:
        return values
    axes = confounds.astype(values.dtype)
    return values - (values @ axes.T) @ axes


def _scale_axes(axes: np.ndarray, gain: np.ndarray) -> np.ndarray:
    used = gain > 0
    return np.sqrt(gain[used])[:, None] * axes[used]
