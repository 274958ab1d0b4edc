"""Null directions: what an emotion's direction would be if it were none.

Nulls that differ in what they keep: nothing (isotropic), the activations' spread (matched), spread
and topics (shuffled), and what control contrasts point along (control). What each answers is in
docs/effects.md, "Nulls".
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from emodrift.stats.bootstrap import Labels
from emodrift.stats.measures import normalise
from emodrift.stats.shuffling import shuffle_within


def draw_isotropic(hidden: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Random unit directions, (direction, hidden), uniform on the sphere."""
    return normalise(rng.standard_normal((number, hidden)))


def draw_matched(
    stories: np.ndarray, labels: Labels, number: int, rng: np.random.Generator
) -> np.ndarray:
    """Random unit directions with the covariance that stories have within an emotion.

    Parameters
    ----------
    stories
        (prompt, hidden) activations.
    labels
        (prompt,) emotion of each.
    number
        How many.
    rng
        Source of randomness.

    Returns
    -------
    np.ndarray
        (direction, hidden): normal draws with that covariance, normalised.
    """
    label, names = pd.factorize(np.asarray(labels, dtype=object), sort=True)
    member = np.eye(len(names))[label]
    means = member.T @ stories / member.sum(0)[:, None]
    spread = stories - means[label]
    return normalise(rng.standard_normal((number, len(spread))) @ spread)


def draw_shuffled(
    stories: np.ndarray,
    labels: Labels,
    topics: Labels,
    number: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Unit directions refitted after the emotions of each topic's stories are shuffled.

    Parameters
    ----------
    stories, labels
        As in :func:`draw_matched`.
    topics
        (prompt,) topic of each.
    number, rng
        As in :func:`draw_matched`.

    Returns
    -------
    np.ndarray
        (direction, hidden): one emotion's difference of means for each shuffle, the emotions taken
        in turn.
    """
    label, names = pd.factorize(np.asarray(labels, dtype=object), sort=True)
    place, places = pd.factorize(np.asarray(topics, dtype=object), sort=True)
    wanted = np.arange(number)[:, None] % len(names)
    counts = np.zeros((len(places), len(names)))
    np.add.at(counts, (place, label), 1)
    present = (counts > 0).sum(1)
    shuffled = shuffle_within(label, place, number, rng)
    share = (shuffled == wanted) - 1 / present[place]
    weights = share / counts[place, shuffled] * (counts[place, wanted] > 0)
    return normalise(weights @ stories)


def draw_controls(controls: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Random unit directions in the span of control contrasts.

    Parameters
    ----------
    controls
        (control, hidden) vectors of the contrasts, each counted alike whatever its length.
    number, rng
        As in :func:`draw_matched`.

    Returns
    -------
    np.ndarray
        (direction, hidden): sums of the contrasts, normally weighted, normalised. Of one contrast
        they are its own direction, either way round.
    """
    return normalise(rng.standard_normal((number, len(controls))) @ normalise(controls))


def draw_slopes(
    gradients: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
    """Slopes along isotropic unit directions, without drawing the directions themselves.

    Only a direction's part in the span of the gradients matters: independent normals there, over
    the length of the whole normal vector.

    Parameters
    ----------
    gradients
        (metric, hidden).
    shape
        Of the draws.
    rng
        Source of randomness.

    Returns
    -------
    np.ndarray
        (*shape, metric).
    """
    mixing = np.linalg.qr(gradients.T.astype(np.float64), mode="r")
    rank, hidden = len(mixing), gradients.shape[1]
    inside = rng.standard_normal((*shape, rank))
    outside = rng.chisquare(hidden - rank, shape) if hidden > rank else np.zeros(shape)
    length = np.sqrt((inside**2).sum(-1) + outside)
    return inside @ mixing / length[..., None]
