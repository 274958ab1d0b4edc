"""One checkpoint at the locked layer, made ready to be compared with the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from emodrift.drift.alignment import Alignment, Background, align_vectors, gather_background
from emodrift.drift.subspaces import shuffle_labels
from emodrift.measure.arrays import Readings
from emodrift.stats.settings import Statistics
from emodrift.vectors.confounds import combine_confounds, find_confounds, project_out
from emodrift.vectors.estimators import label_texts
from emodrift.vectors.fitting import (
    Fit,
    Recipe,
    clean_texts,
    fit_texts,
    pick_fit,
    read_texts,
)


class Settings(NamedTuple):
    """What all checkpoints share.

    statistics, seed: of bootstraps and permutations. recipe: how vectors are fitted. ratings:
    (rating, emotion).
    """

    statistics: Statistics
    seed: int
    recipe: Recipe
    ratings: np.ndarray


class Measured(NamedTuple):
    """One checkpoint at the locked layer.

    fit: topic vectors. confounds: (component, hidden) that were projected out of them, or None.
    shuffled: (shuffle, emotion, hidden) vectors of meaningless emotions. norm: mean residual norm
    of the stories. background: texts without emotion.
    """

    fit: Fit
    confounds: np.ndarray | None
    shuffled: np.ndarray
    norm: float
    background: Background | None

    @property
    def vector(self) -> np.ndarray:
        """Emotion vectors, (emotion, hidden)."""
        return np.nanmean(self.fit.emotions.values, axis=0)


def read_checkpoint(activations: Readings, layer: int, settings: Settings) -> Measured:
    """Fit a checkpoint's topic vectors at the locked layer, and meaningless ones beside them."""
    texts = read_texts(activations, layer)
    confounds = find_confounds(texts.neutral, settings.recipe.confound_variance)
    clean = clean_texts(texts, confounds)
    stories = label_texts(clean.stories, clean.neutral)
    return Measured(
        fit_texts(clean, settings.recipe.estimator),
        confounds,
        shuffle_labels(stories, settings.recipe.estimator, settings.seed),
        float(np.linalg.norm(pick_fit(texts.stories).values, axis=-1).mean()),
        gather_background(texts),
    )


def share_confounds(now: Measured, base: Measured) -> tuple[Measured, Measured]:
    """Two checkpoints with the confounds of both projected out of the topic vectors of both.

    Each checkpoint estimates its confounds from neutral texts of its own. Vectors that lack other
    confounds differ for that reason alone, in all topics alike, which no resampling of topics sees.
    """
    known = [m.confounds for m in (now, base) if m.confounds is not None]
    if not known:
        return now, base
    both = combine_confounds(known)

    def clean(vectors: np.ndarray) -> np.ndarray:
        return project_out(vectors, both)

    return _change(now, clean), _change(base, clean)


def align_checkpoint(now: Measured, alignment: Alignment) -> Measured:
    """A checkpoint with its topic vectors in the reference's frame."""

    def rotate(vectors: np.ndarray) -> np.ndarray:
        return align_vectors(vectors, alignment)

    return _change(now, rotate)


def _change(measured: Measured, change: Callable[[np.ndarray], np.ndarray]) -> Measured:
    emotions, controls = measured.fit
    fit = Fit(
        emotions._replace(values=change(emotions.values)),
        {name: c._replace(values=change(c.values)) for name, c in controls.items()},
    )
    return measured._replace(fit=fit)
