"""Whether contestants did the same work: how well their results agree with emodrift's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def compare_contrasts(ours: np.ndarray, theirs: np.ndarray, labels: Sequence[str]) -> float:
    """Smallest cosine between the emotions' contrasts, over emotions and layers.

    A contrast is an emotion's mean less the mean over emotions. The last layer is left out, as some
    read it behind the final norm.

    Parameters
    ----------
    ours
        (text, layer, hidden), layer 0 the embeddings.
    theirs
        (text, layer, hidden), with or without the embeddings.
    labels
        (text,) emotions.
    """
    blocks = ours.shape[1] - 1
    first = theirs.shape[1] - blocks
    a, b = (_contrast(x, labels) for x in (ours[:, 1:-1], theirs[:, first:-1]))
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(((a * b).sum(-1) / norms).min())


def compare_scores(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of class scores, nats."""
    return float(np.abs(ours - theirs).max())


def compare_replies(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of replies that are the same, token for token.

    Parameters
    ----------
    ours, theirs
        (condition, prompt, token).
    """
    return float((ours == theirs).all(-1).mean())


def compare_slopes(exact: np.ndarray, finite: np.ndarray) -> float:
    """Correlation of slopes from gradients and from finite steering.

    Parameters
    ----------
    exact, finite
        (direction, target).
    """
    return float(np.corrcoef(exact.ravel(), finite.ravel())[0, 1])


def _contrast(values: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    names = np.array(labels)
    means = np.stack([values[names == name].mean(0) for name in sorted(set(labels))])
    return means - means.mean(0)
