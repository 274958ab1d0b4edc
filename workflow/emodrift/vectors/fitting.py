"""Emotion vectors of one checkpoint, with what is needed to judge them.

METHODS: v[e] = mean over stories of e − mean over emotions of those means, topics balanced; then
the leading principal components of neutral texts are projected out (Sofroniew et al. 2026).
Everything after the topic means is linear in them, so a bootstrap refit is a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.measure.arrays import load_arrays, open_activations, save_array
from emodrift.stats.bootstrap import split_halves
from emodrift.stats.measures import compute_auroc, compute_cosine


class TopicMeans(NamedTuple):
    """Mean activation of every label within every topic.

    values: (topic, label, layer, hidden), NaN where a topic lacks a label.
    """

    values: np.ndarray
    topics: list[str]
    labels: list[str]


def subtract_emotion_mean(means: TopicMeans, neutral: xr.DataArray | None) -> np.ndarray:
    """Each emotion's topic mean less the mean over emotions in that topic."""
    return means.values - np.nanmean(means.values, axis=1, keepdims=True)


def subtract_neutral(means: TopicMeans, neutral: xr.DataArray | None) -> np.ndarray:
    """Each emotion's topic mean less the neutral texts' mean of that topic, or of all topics."""
    overall = neutral.mean("prompt").values
    of_topic = {str(t): rows.mean("prompt").values for t, rows in neutral.groupby("topic")}
    base = np.stack([of_topic.get(topic, overall) for topic in means.topics])
    return means.values - base[:, None]


ESTIMATORS: dict[str, Callable[[TopicMeans, xr.DataArray | None], np.ndarray]] = {
    "difference_of_means": subtract_emotion_mean,
    "neutral_difference": subtract_neutral,
}


def fit_vectors(
    estimator: str,
    confound_variance: float,
    halves: int,
    seed: int,
    activations: Path,
    out: Path,
) -> None:
    """Fit a checkpoint's vectors at every layer and write ``vectors.zarr``.

    Parameters
    ----------
    estimator, confound_variance, halves, seed
        Config: the `vectors` section.
    activations
        Entry of the activations.
    out
        Directory to write to.
    """
    stories = open_activations(activations, "stories")
    neutral = open_activations(activations, "neutral")
    controls = open_activations(activations, "controls")
    fit = stories[stories["split"].values == "fit"]
    means = average_topics(fit)
    confounds = find_confounds(neutral, confound_variance)
    topic_vector = project_out(ESTIMATORS[estimator](means, neutral), confounds)
    vector = np.nanmean(topic_vector, axis=0)
    rng = np.random.default_rng(seed)
    floor, reliability = measure_reliability(topic_vector, halves, rng)
    heldout = stories[stories["split"].values == "heldout"]
    dataset = xr.Dataset(
        {
            "vector": (("emotion", "layer", "hidden"), vector),
            "topic_vector": (("topic", "emotion", "layer", "hidden"), topic_vector),
            "center": (("layer", "hidden"), np.nanmean(means.values, axis=(0, 1))),
            "noise_floor": (("emotion", "layer"), floor),
            "reliability": (("emotion", "layer"), reliability),
            "auroc": (("emotion", "layer"), score_heldout(heldout, vector, means.labels)),
            "pair_accuracy": (("layer",), score_pairs(heldout, vector, means.labels)),
            "residual_norm": (("layer",), np.linalg.norm(fit.values, axis=-1).mean(0)),
        },
        coords={
            "emotion": np.array(means.labels, dtype=object),
            "topic": np.array(means.topics, dtype=object),
            "layer": stories["layer"].values,
        },
    )
    if controls is not None:
        dataset = dataset.merge(fit_controls(controls, confounds, halves, rng))
    save_array(dataset.astype(np.float32), out / "vectors.zarr")


def open_vectors(entry: Path) -> xr.Dataset:
    """Dataset of a vectors entry; see :func:`fit_vectors`."""
    return load_arrays(entry / "vectors.zarr")


def average_topics(activations: xr.DataArray) -> TopicMeans:
    """Mean activation of each label within each topic."""
    topic, topics = pd.factorize(activations["topic"].values, sort=True)
    label, labels = pd.factorize(activations["label"].values, sort=True)
    shape = (len(topics), len(labels), *activations.shape[1:])
    sums = np.zeros(shape, np.float64)
    counts = np.zeros(shape[:2])
    np.add.at(sums, (topic, label), activations.values)
    np.add.at(counts, (topic, label), 1)
    with np.errstate(invalid="ignore"):
        values = sums / counts[:, :, None, None]
    return TopicMeans(values, [str(t) for t in topics], [str(v) for v in labels])


def find_confounds(neutral: xr.DataArray | None, share: float) -> list[np.ndarray] | None:
    """Leading principal components of neutral texts that explain a share of their variance.

    Returns
    -------
    list of np.ndarray or None
        For each layer (component, hidden), orthonormal; None where nothing is to be removed.
    """
    if neutral is None or share == 0:
        return None
    components = []
    for layer in range(neutral.sizes["layer"]):
        centred = neutral.values[:, layer].astype(np.float64)
        centred = centred - centred.mean(0)
        _, singular, right = np.linalg.svd(centred, full_matrices=False)
        energy = singular**2
        if energy.sum() < 1e-12:
            components.append(right[:0])
            continue
        explained = np.cumsum(energy) / energy.sum()
        components.append(right[: int(np.searchsorted(explained, share)) + 1])
    return components


def project_out(vectors: np.ndarray, confounds: list[np.ndarray] | None) -> np.ndarray:
    """Remove confound components from vectors (..., layer, hidden)."""
    if confounds is None:
        return vectors
    cleaned = vectors.copy()
    for layer, basis in enumerate(confounds):
        part = vectors[..., layer, :]
        cleaned[..., layer, :] = part - (part @ basis.T) @ basis
    return cleaned


def measure_reliability(
    topic_vector: np.ndarray, halves: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split-half cosine over topics, and the reliability of the whole by Spearman–Brown.

    Returns
    -------
    floor, reliability : np.ndarray
        (label, layer) each.
    """
    weights = split_halves(len(topic_vector), halves, rng)
    filled = np.nan_to_num(topic_vector)
    half = np.einsum("hkt,telx->hkelx", weights, filled, optimize=True)
    floor = np.nanmean(compute_cosine(half[:, 0], half[:, 1]), axis=0)
    return floor, np.clip(2 * floor / (1 + floor), 0, 1)


def score_heldout(stories: xr.DataArray, vector: np.ndarray, labels: list[str]) -> np.ndarray:
    """AUROC of each emotion's projection, its held-out stories against those of the others.

    Returns
    -------
    np.ndarray
        (emotion, layer).
    """
    centred = stories.values - stories.values.mean(0)
    scores = np.einsum("plx,elx->pel", centred, _unit(vector), optimize=True)
    own = stories["label"].values[:, None] == np.array(labels)
    return compute_auroc(scores, np.broadcast_to(own[..., None], scores.shape))


def score_pairs(stories: xr.DataArray, vector: np.ndarray, labels: list[str]) -> np.ndarray:
    """Share of held-out minimal pairs that the vectors tell apart, (layer,); NaN without pairs.

    The members of a pair hold (nearly) the same words in other roles; the pair is told apart when
    the member of emotion a lies further along v[a] − v[b] than the member of emotion b.
    """
    nothing = np.full(stories.sizes["layer"], np.nan)
    if "pair" not in stories.coords:
        return nothing
    place = {label: i for i, label in enumerate(labels)}
    unit = _unit(vector)
    frame = pd.DataFrame({"pair": stories["pair"].values, "label": stories["label"].values})
    right = []
    for pair, members in frame.groupby("pair"):
        if not pair or len(members) != 2 or members["label"].nunique() != 2:
            continue
        first, second = members.index
        a, b = (place[name] for name in members["label"])
        difference = stories.values[first] - stories.values[second]
        along = (difference * (unit[a] - unit[b])).sum(-1)
        right.append((along > 0) + 0.5 * (along == 0))
    return np.mean(right, axis=0) if right else nothing


def fit_controls(
    controls: xr.DataArray,
    confounds: list[np.ndarray] | None,
    halves: int,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Vectors of unrelated contrasts, fitted the same way: first pole less the mean of poles."""
    fitted: dict[str, xr.Dataset] = {}
    for name in sorted(set(controls["set"].values)):
        of_set = controls[(controls["set"].values == name) & (controls["split"].values == "fit")]
        means = average_topics(of_set)
        topic_vector = project_out(subtract_emotion_mean(means, None), confounds)[:, :1]
        floor, reliability = measure_reliability(topic_vector, halves, rng)
        fitted[str(name)] = xr.Dataset(
            {
                "control_vector": (
                    ("control", "layer", "hidden"),
                    np.nanmean(topic_vector, axis=0),
                ),
                "control_topic_vector": (
                    ("control_topic", "control", "layer", "hidden"),
                    topic_vector,
                ),
                "control_noise_floor": (("control", "layer"), floor),
                "control_reliability": (("control", "layer"), reliability),
            },
            coords={
                "control": np.array([str(name)], dtype=object),
                "control_topic": np.array(means.topics, dtype=object),
            },
        )
    return xr.concat(fitted.values(), "control", join="outer")


def _unit(vector: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.divide(vector, norm, out=np.zeros_like(vector), where=norm > 0)
