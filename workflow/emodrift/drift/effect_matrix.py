"""The effect matrix: how many behaviours emotions move independently of each other."""

from __future__ import annotations

import numpy as np
import xarray as xr

from emodrift.stats.measures import compute_effective_rank, normalise


def stack_matrix(slopes: xr.DataArray, weights: np.ndarray) -> np.ndarray:
    """Effect matrices: mean slope of every direction on every suite and reply class.

    Parameters
    ----------
    slopes
        (direction, prompt, reply_class).
    weights
        (draw, prompt).

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


def measure_matrix(matrices: np.ndarray) -> dict[str, np.ndarray]:
    """How many behaviours emotions move independently of each other.

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
    docs/effects.md, "Effect matrix".

    Examples
    --------
    >>> apart, alike = np.eye(3), np.outer([0.1, 0.2, 0.3], np.ones(3))
    >>> {name: value.round(2) for name, value in measure_matrix(np.stack([apart, alike])).items()}
    {'rank': array([2., 1.]), 'similarity': array([0., 1.]), 'size': array([0.33, 0.2 ])}
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
