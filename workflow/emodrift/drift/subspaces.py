"""The subspace that the emotions span, and what meaningless contrasts of the same texts do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import subspace_angles

from emodrift.stats.bootstrap import split_halves
from emodrift.stats.measures import compute_cosine
from emodrift.stats.shuffling import shuffle_within
from emodrift.vectors.estimators import ESTIMATORS, Labelled
from emodrift.vectors.fitting import average_halves

NULL_DIRECTIONS = 100
ENERGY = 0.9


class Overlap(NamedTuple):
    """How far two subspaces agree.

    share: mean squared cosine of the principal angles, 1 where they are the same. angle: largest
    principal angle, degrees.
    """

    share: float
    angle: float


def shuffle_labels(stories: Labelled, estimator: str, seed: int) -> np.ndarray:
    """Vectors of meaningless emotions: labels permuted within topics, and everything refitted.

    The same seed permutes the labels of the same texts alike, so that the vectors of two
    checkpoints are matched. Vectors of different shuffles are unrelated directions with the
    covariance that texts have within topics.

    Returns
    -------
    np.ndarray
        (shuffle, emotion, hidden), at least ``NULL_DIRECTIONS`` vectors and two shuffles.
    """
    rng = np.random.default_rng(seed)
    number = max(2, int(np.ceil(NULL_DIRECTIONS / len(stories.labels))))
    drawn = [
        ESTIMATORS[estimator](stories._replace(label=shuffled))
        for shuffled in shuffle_within(stories.label, stories.topic, number, rng)
    ]
    return np.nanmean(drawn, axis=1)


def compare_shuffled(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of meaningless vectors of two checkpoints, of the same and of different shuffles.

    Parameters
    ----------
    ours, theirs
        (shuffle, emotion, hidden) from :func:`shuffle_labels`.
    """
    return compute_cosine(ours, theirs).ravel(), compute_cosine(ours, np.roll(theirs, 1, 0)).ravel()


def count_dimensions(vector: np.ndarray) -> int:
    """Principal components of the emotion vectors (emotion, hidden) that hold nine tenths of their
    energy."""
    energy = np.linalg.svd(vector - vector.mean(0), compute_uv=False) ** 2
    return int(np.searchsorted(np.cumsum(energy) / energy.sum(), ENERGY)) + 1


def span(vector: np.ndarray, dimensions: int) -> np.ndarray:
    """Orthonormal axes (hidden, component) of the leading components of emotion vectors."""
    return np.linalg.svd(vector - vector.mean(0), full_matrices=False)[2][:dimensions].T


def compare_spans(ours: np.ndarray, theirs: np.ndarray) -> Overlap:
    """Overlap of two subspaces given by axes (hidden, component).

    Notes
    -----
    Principal angles by ``scipy.linalg.subspace_angles`` (Knyazev & Argentati 2002).
    """
    angles = subspace_angles(ours, theirs)
    return Overlap(float((np.cos(angles) ** 2).mean()), float(np.rad2deg(angles.max())))


def compare_unrelated(ours: np.ndarray, theirs: np.ndarray, dimensions: int) -> float:
    """Mean overlap of subspaces spanned by meaningless emotions of different shuffles.

    Parameters
    ----------
    ours, theirs
        (shuffle, emotion, hidden) from :func:`shuffle_labels`.
    """
    pairs = zip(ours, np.roll(theirs, 1, 0), strict=True)
    return float(
        np.mean([compare_spans(*(span(v, dimensions) for v in pair)).share for pair in pairs])
    )


def compare_halves(
    fitted: np.ndarray, locked: np.ndarray, dimensions: int, halves: int, seed: int
) -> Overlap:
    """Mean overlap of the emotions' subspaces, each fitted on another half of the topics.

    With the reference as both, this is the floor that sampling alone sets.

    Parameters
    ----------
    fitted, locked
        (topic, emotion, hidden) topic vectors of the checkpoint and the reference.
    """
    weights = split_halves(len(fitted), halves, np.random.default_rng(seed))
    found = [
        compare_spans(
            span(np.nan_to_num(average_halves(fitted, pair)[0]), dimensions),
            span(np.nan_to_num(average_halves(locked, pair)[1]), dimensions),
        )
        for pair in weights
    ]
    return Overlap(*np.mean(found, axis=0))
