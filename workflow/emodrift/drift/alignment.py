"""Alignment: the rotation that carries one checkpoint's space to the reference's.

It is fitted on texts that have nothing to do with emotion, so that a rotation of the whole space is
distinguished from a turn of one concept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import orthogonal_procrustes

from emodrift.vectors.fitting import Texts

SHRINKAGES = (0.003, 0.03, 0.3, 3.0, np.inf)
FOLDS = 4


class Background(NamedTuple):
    """Texts that have nothing to do with emotion.

    values: (prompt, hidden), centred. topics: (prompt,).
    """

    values: np.ndarray
    topics: np.ndarray


class Alignment(NamedTuple):
    """A rotation R = I + Bᵀ (Q − I) B of the hidden space, identity outside the span of B.

    basis: B, (component, hidden), orthonormal. rotation: Q, (component, component), orthogonal.
    shrinkage: towards the identity, infinite where no rotation predicts better than none.
    before, after: congruence of left-out texts without and with rotation.
    """

    basis: np.ndarray
    rotation: np.ndarray
    shrinkage: float
    before: float
    after: float


def gather_background(texts: Texts) -> Background | None:
    """Control and neutral texts, each kind less its own mean; None where there are neither."""
    kinds = [kind for kind in (texts.controls, texts.neutral) if kind is not None]
    if not kinds:
        return None
    return Background(
        np.concatenate([kind.values - kind.values.mean(0) for kind in kinds]),
        np.concatenate([kind["topic"].values for kind in kinds]),
    )


def fit_alignment(moving: Background, fixed: Background) -> Alignment:
    """Orthogonal Procrustes rotation of a checkpoint's texts to the reference's.

    Q = argmin |X Bᵀ Q − Y Bᵀ|² + λ |Q − I|², with X and Y scaled to equal size and B the leading
    principal axes of both together: at most as many as there are texts, so that where the hidden
    space is wider the rotation is the identity on what the texts do not span. λ, in units of the
    mean singular value of B Xᵀ Y Bᵀ, is the one that left-out topics are best predicted with, by
    the congruence ⟨X R, Y⟩ / |X| |Y| (Tucker); the identity is among the choices.

    Parameters
    ----------
    moving, fixed
        X and Y: the same texts at the checkpoint and at the reference.

    Notes
    -----
    Schönemann (1966), Psychometrika 31, by ``scipy.linalg.orthogonal_procrustes``.
    """
    scaled = [b.values.astype(np.float64) / np.linalg.norm(b.values) for b in (moving, fixed)]
    basis = _find_axes(np.concatenate(scaled))
    x, y = (a @ basis.T for a in scaled)
    fold = np.unique(moving.topics, return_inverse=True)[1] % FOLDS
    scores = np.zeros(len(SHRINKAGES))
    for held in np.unique(fold):
        test = fold == held
        for i, shrinkage in enumerate(SHRINKAGES):
            turned = x[test] @ _rotate(x[~test], y[~test], shrinkage)
            scores[i] += (turned * y[test]).sum() / (
                np.linalg.norm(x[test]) * np.linalg.norm(y[test])
            )
    scores /= fold.max() + 1
    best = int(scores.argmax())
    return Alignment(
        basis, _rotate(x, y, SHRINKAGES[best]), SHRINKAGES[best], scores[-1], scores[best]
    )


def align_vectors(vectors: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Vectors (..., hidden) of the checkpoint in the reference's frame."""
    inside = vectors @ alignment.basis.T
    return vectors + (inside @ alignment.rotation - inside) @ alignment.basis


def _rotate(x: np.ndarray, y: np.ndarray, shrinkage: float) -> np.ndarray:
    identity = np.eye(x.shape[1])
    if np.isinf(shrinkage):
        return identity
    size = np.linalg.norm(x.T @ y, "nuc") / len(identity)
    root = np.sqrt(shrinkage * size) * identity
    return orthogonal_procrustes(np.concatenate([x, root]), np.concatenate([y, root]))[0]


def _find_axes(stacked: np.ndarray) -> np.ndarray:
    _, singular, right = np.linalg.svd(stacked, full_matrices=False)
    return right[singular > 1e-6 * singular[0]]
