"""Small measures that several rooms share."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import entropy


def compute_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine along the last axis; NaN where a vector is zero.

    Examples
    --------
    >>> compute_cosine(np.array([1.0, 0.0]), np.array([3.0, 4.0])).item()
    0.6
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors along the last axis; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def compute_auroc(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Area under the ROC curve along the first axis.

    Parameters
    ----------
    scores
        (item, ...).
    positive
        (item,) or of the shape of scores: which items should score higher.

    Notes
    -----
    The Mann–Whitney form: mean rank of the positives, ties counted half.

    Examples
    --------
    >>> compute_auroc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])).item()
    0.75
    """
    flat = pd.DataFrame(scores.reshape(len(scores), -1))
    ranks = flat.rank().to_numpy().reshape(scores.shape)
    positive = np.broadcast_to(
        positive.reshape(positive.shape + (1,) * (scores.ndim - positive.ndim)), scores.shape
    )
    n = positive.sum(0)
    rest = len(scores) - n
    return ((ranks * positive).sum(0) - n * (n + 1) / 2) / (n * rest)


def compute_effective_rank(matrices: np.ndarray) -> np.ndarray:
    """Effective rank of the last two axes: the effective number of squared singular values.

    Notes
    -----
    Roy & Vetterli (2007), EUSIPCO, on energies.

    Examples
    --------
    >>> compute_effective_rank(np.eye(3)).round(3).item()
    3.0
    """
    return count_effectively(np.linalg.svd(matrices, compute_uv=False) ** 2)


def count_effectively(energy: np.ndarray) -> np.ndarray:
    """Effective number of parts that share an energy: the exponential of the entropy of shares.

    Parameters
    ----------
    energy
        (..., part), not negative; need not sum to 1.

    Returns
    -------
    np.ndarray
        (...), from 1 (one part has all) to the number of parts (all have the same).

    Examples
    --------
    >>> count_effectively(np.array([[1.0, 0.0], [2.0, 2.0]])).round(3)
    array([1., 2.])
    """
    return np.exp(entropy(energy, axis=-1))
