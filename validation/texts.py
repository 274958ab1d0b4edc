"""Texts with planted emotion vectors, as two checkpoints read them: activations made by numbers.

A text's activation is the sum of its emotion's vector, its topic, a confound that neutral texts
have too, a deviation that its topic and emotion share, and its own deviation. Of the deviations a
share is the same at both checkpoints, since both read the same texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from emodrift.drift.alignment import gather_background
from emodrift.drift.checkpoint import Measured
from emodrift.stats.measures import normalise
from emodrift.vectors.confounds import find_confounds
from emodrift.vectors.fitting import Texts, clean_texts, fit_texts

ANGLES = (0.0, 5.0, 15.0, 30.0, 60.0, 90.0)
CONFOUND = 3.0
CONFOUND_VARIANCE = 0.9
"""What the planted confound holds of the variance of neutral texts, within a few hundredths."""
DECAY = 0.5


class Setting(NamedTuple):
    """How many texts there are and how noisy they are.

    topics, stories: of each emotion, and stories of each topic. hidden: width. topic_noise,
    story_noise: expected length of the deviations, in lengths of an emotion's vector. own: share of
    their variance that is each checkpoint's own. controls: sets of unrelated contrasts.
    """

    topics: int = 14
    stories: int = 2
    hidden: int = 48
    topic_noise: float = 0.5
    story_noise: float = 0.7
    own: float = 0.5
    controls: int = 4


def plant_pairs(
    angles: Sequence[float], hidden: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of a reference and a checkpoint, (emotion, hidden) each.

    Emotions come in opposite pairs, so that they sum to zero; both members of pair k turn by angle
    k, in a plane of their own.

    Parameters
    ----------
    angles
        Degrees.
    """
    axes = np.linalg.qr(rng.standard_normal((hidden, 2 * len(angles))))[0].T
    first, second = axes[: len(angles)], axes[len(angles) :]
    turned = turn(first, second, angles)
    return np.concatenate([first, -first]), np.concatenate([turned, -turned])


def turn(first: np.ndarray, second: np.ndarray, angles: Sequence[float]) -> np.ndarray:
    """First axes (axis, hidden) turned towards the second by angles (axis,) in degrees."""
    radians = np.deg2rad(np.asarray(angles))[:, None]
    return np.cos(radians) * first + np.sin(radians) * second


def draw_rotation(hidden: int, rng: np.random.Generator) -> np.ndarray:
    """Random orthogonal matrix (hidden, hidden)."""
    return np.linalg.qr(rng.standard_normal((hidden, hidden)))[0]


def read_planted(
    vectors: Sequence[np.ndarray],
    setting: Setting,
    rng: np.random.Generator,
    control_angle: float = 0.0,
) -> list[Texts]:
    """Texts as checkpoints with these emotion vectors read them.

    Parameters
    ----------
    vectors
        For each checkpoint (emotion, hidden), or (topic, emotion, hidden) where topics differ.
    setting
        Amounts and noise.
    rng
        Source of randomness.
    control_angle
        Degrees by which the control contrasts turn at checkpoints after the first.
    """
    hidden = setting.hidden
    topic_effects = rng.standard_normal((setting.topics, hidden)) / np.sqrt(hidden)
    confounds = CONFOUND * normalise(_project_out(rng.standard_normal((1, hidden)), vectors))
    kinds = []
    stories = [np.broadcast_to(v, (setting.topics, *v.shape[-2:])) for v in vectors]
    kinds.append(_write(stories, topic_effects, confounds, setting, rng, "e", "stories"))
    neutral = [np.zeros((setting.topics, 1, hidden))] * len(vectors)
    plain = setting._replace(topic_noise=0.1, story_noise=0.1, stories=4)
    kinds.append(_write(neutral, topic_effects, confounds, plain, rng, "neutral", "neutral"))
    sets = []
    for number in range(setting.controls):
        axes = np.linalg.qr(rng.standard_normal((hidden, 2)))[0].T
        later = turn(axes[:1], axes[1:], [control_angle])
        poles = [np.concatenate([a, -a]) for a in (axes[:1], *[later] * (len(vectors) - 1))]
        read = [np.broadcast_to(p, (setting.topics, 2, hidden)) for p in poles]
        sets.append(_write(read, topic_effects, confounds, setting, rng, "pole", f"set{number}"))
    controls = [
        xr.concat(of_checkpoint, "prompt") if of_checkpoint else None
        for of_checkpoint in (zip(*sets, strict=True) if sets else [()] * len(vectors))
    ]
    return [Texts(*found) for found in zip(*kinds, controls, strict=True)]


def measure_texts(texts: Texts, estimator: str = "difference_of_means") -> Measured:
    """A checkpoint's texts as the drift stage holds them, meaningless vectors left out."""
    confounds = find_confounds(texts.neutral, CONFOUND_VARIANCE)
    fit = fit_texts(clean_texts(texts, confounds), estimator)
    norm = float(np.linalg.norm(texts.stories.values, axis=-1).mean())
    return Measured(fit, confounds, np.empty((0, 0, 0)), norm, gather_background(texts))


def clean_stories(texts: Texts) -> xr.DataArray:
    """Stories without the confounds that neutral texts show."""
    return clean_texts(texts, find_confounds(texts.neutral, CONFOUND_VARIANCE)).stories


def rotate_texts(texts: Texts, rotation: np.ndarray) -> Texts:
    """Texts in another basis of the hidden space."""

    def rotate(part: xr.DataArray) -> xr.DataArray:
        return part.copy(data=part.values @ rotation)

    stories, *others = texts
    return Texts(rotate(stories), *(None if part is None else rotate(part) for part in others))


def _write(
    means: Sequence[np.ndarray],
    topic_effects: np.ndarray,
    confounds: np.ndarray,
    setting: Setting,
    rng: np.random.Generator,
    label: str,
    kind: str,
) -> list[xr.DataArray]:
    """One array (prompt, hidden) for each checkpoint, of means (topic, label, hidden)."""
    topics, labels, hidden = means[0].shape
    cells, full = (topics, labels, 1, hidden), (topics, labels, setting.stories, hidden)
    amounts = rng.standard_normal((*full[:-1], len(confounds)))
    context = topic_effects[:, None, None] + amounts @ confounds
    common = _blur(cells, setting.topic_noise, rng) + _blur(full, setting.story_noise, rng)
    place, mood = np.indices(full[:-1])[:2].reshape(2, -1)
    coords = {
        "topic": [f"t{k:03d}" for k in place],
        "label": [f"{label}{k:02d}" for k in mood],
        "set": [kind] * len(place),
        "split": ["fit"] * len(place),
    }
    named = {name: ("prompt", np.array(v, dtype=object)) for name, v in coords.items()}
    found = []
    for mean in means:
        own = _blur(cells, setting.topic_noise, rng) + _blur(full, setting.story_noise, rng)
        deviation = np.sqrt(1 - setting.own) * common + np.sqrt(setting.own) * own
        values = (mean[:, :, None] + context + deviation).reshape(-1, hidden)
        found.append(xr.DataArray(values, dims=("prompt", "hidden"), coords=named))
    return found


def _blur(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> np.ndarray:
    """Deviations whose variance falls along the axes of the hidden space as rank to -2 DECAY."""
    scale = np.arange(1, shape[-1] + 1.0) ** -DECAY
    return length * rng.standard_normal(shape) * scale / np.linalg.norm(scale)


def _project_out(axes: np.ndarray, vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Axes without their part in the span of all emotion vectors."""
    stacked = np.concatenate([v.reshape(-1, v.shape[-1]) for v in vectors])
    _, singular, right = np.linalg.svd(stacked, full_matrices=False)
    basis = right[singular > 1e-9 * singular[0]]
    return axes - (axes @ basis.T) @ basis
