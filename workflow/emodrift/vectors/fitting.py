"""Emotion vectors of one checkpoint, with what is needed to judge them.

At each layer: topic vectors by the estimator from texts whose confounds are projected out, the mean
over topics as the vector (docs/methods.md, "Vectors"). Topic vectors are not kept: they are fitted
again where one layer of them is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from emodrift.errors import EmodriftError
from emodrift.measure.arrays import Readings, join_parts, load_arrays, open_parts, save_array
from emodrift.stats.bootstrap import split_halves
from emodrift.vectors.confounds import find_confounds, project_out
from emodrift.vectors.estimators import (
    CONTROL_ESTIMATORS,
    ESTIMATORS,
    average_cells,
    label_texts,
)
from emodrift.vectors.quality import score_heldout, score_pairs

KINDS = ("stories", "neutral", "controls")


class Recipe(NamedTuple):
    """How vectors are fitted; config: the `vectors` section.

    estimator: its name. confound_variance: share of the neutral texts' variance that is removed.
    halves, seed: random splits of the topics behind reliability and noise floor.
    """

    estimator: str
    confound_variance: float
    halves: int
    seed: int


class Texts(NamedTuple):
    """Activations of the contrast texts at one layer, (prompt, hidden) each; None where absent."""

    stories: xr.DataArray
    neutral: xr.DataArray | None
    controls: xr.DataArray | None = None


class TopicVectors(NamedTuple):
    """Vectors of one contrast, topic by topic.

    values: (topic, label, hidden), NaN where a topic lacks a label.
    """

    values: np.ndarray
    topics: list[str]
    labels: list[str]


class Fit(NamedTuple):
    """Topic vectors at one layer: of the emotions, and of every control set (one label each)."""

    emotions: TopicVectors
    controls: dict[str, TopicVectors]


def fit_vectors(recipe: Recipe, activations: Readings, out: Path) -> None:
    """Fit a checkpoint's vectors at every layer and write ``vectors.zarr``.

    Parameters
    ----------
    recipe
        How they are fitted.
    activations
        Entry of the activations.
    out
        Directory to write to.
    """
    parts = {kind: open_parts(activations, kind) for kind in KINDS}
    layers = parts["stories"][0]["layer"].values
    described = [describe_layer(_pick_layer(parts, layer), recipe) for layer in layers]
    fitted = xr.concat(described, "layer").assign_coords(layer=layers)
    words = {kind: [part["words"] for part in parts[kind]] for kind in ("stories", "neutral")}
    lexical = describe_layer(_join_texts(words), recipe)
    for name in ("auroc", "pair_accuracy", "pair_auroc"):
        fitted[f"lexical_{name}"] = lexical[name]
    order = ("half", "emotion", "control", "layer", "hidden")
    fitted = fitted.transpose(*order, missing_dims="ignore").astype(np.float32)
    save_array(fitted, out / "vectors.zarr")


def open_vectors(entry: Path) -> xr.Dataset:
    """Dataset of a vectors entry; see :func:`fit_vectors`."""
    return load_arrays(entry / "vectors.zarr")


def read_texts(activations: Readings, layer: int) -> Texts:
    """Texts of an activations entry at one layer, of which alone is read."""
    return _pick_layer({kind: open_parts(activations, kind) for kind in KINDS}, layer)


def describe_layer(texts: Texts, recipe: Recipe) -> xr.Dataset:
    """Vectors at one layer with their quality.

    Returns
    -------
    xr.Dataset
        ``vector`` (emotion, hidden); ``half_vector`` (half, emotion, hidden) of one split of the
        topics; ``center`` (hidden); ``residual_norm``; ``noise_floor``, ``reliability`` and
        ``auroc`` (emotion); ``pair_accuracy``, ``pair_auroc``; and where there are controls
        ``control_vector`` (control, hidden), ``control_noise_floor`` and ``control_reliability``.
    """
    clean = clean_texts(texts, find_confounds(texts.neutral, recipe.confound_variance))
    fit = fit_texts(clean, recipe.estimator)
    rng = np.random.default_rng(recipe.seed)
    values, topics, labels = fit.emotions
    vector = np.nanmean(values, axis=0)
    half = split_halves(len(topics), 1, rng)[0]
    floor, reliability = measure_reliability(values, recipe.halves, rng)
    fitted = pick_fit(texts.stories)
    heldout = texts.stories[texts.stories["split"].values == "heldout"]
    accuracy, auroc = score_pairs(heldout, vector, labels)
    dataset = xr.Dataset(
        {
            "vector": (("emotion", "hidden"), vector),
            "half_vector": (("half", "emotion", "hidden"), average_halves(values, half)),
            "center": ("hidden", np.nanmean(average_cells(label_texts(fitted)), axis=(0, 1))),
            "residual_norm": ((), np.linalg.norm(fitted.values, axis=-1).mean()),
            "noise_floor": ("emotion", floor),
            "reliability": ("emotion", reliability),
            "auroc": ("emotion", score_heldout(heldout, vector, labels)),
            "pair_accuracy": ((), accuracy),
            "pair_auroc": ((), auroc),
        },
        coords={"emotion": np.array(labels, dtype=object)},
    )
    if not fit.controls:
        return dataset
    judged = [measure_reliability(c.values, recipe.halves, rng) for c in fit.controls.values()]
    return dataset.merge(
        xr.Dataset(
            {
                "control_vector": (
                    ("control", "hidden"),
                    np.stack([np.nanmean(c.values, axis=0)[0] for c in fit.controls.values()]),
                ),
                "control_noise_floor": ("control", np.concatenate([j[0] for j in judged])),
                "control_reliability": ("control", np.concatenate([j[1] for j in judged])),
            },
            coords={"control": np.array(list(fit.controls), dtype=object)},
        )
    )


def clean_texts(texts: Texts, confounds: np.ndarray | None) -> Texts:
    """Texts that are fitted on, confounds projected out; of neutral texts all are kept."""

    def clean(part: xr.DataArray) -> xr.DataArray:
        return part.copy(data=project_out(part.values, confounds))

    return Texts(
        clean(pick_fit(texts.stories)),
        None if texts.neutral is None else clean(texts.neutral),
        None if texts.controls is None else clean(pick_fit(texts.controls)),
    )


def pick_fit(texts: xr.DataArray) -> xr.DataArray:
    """Texts of the topics that are fitted on."""
    return texts[texts["split"].values == "fit"]


def fit_texts(clean: Texts, estimator: str) -> Fit:
    """Topic vectors of the emotions and of every control set.

    A control's vector is of its first pole, less the mean of its poles.

    Parameters
    ----------
    clean
        From :func:`clean_texts`.
    """
    emotions = label_texts(clean.stories, clean.neutral)
    values = ESTIMATORS[estimator](emotions)
    controls = {}
    if clean.controls is not None:
        for name, of_set in clean.controls.groupby("set"):
            poles = label_texts(of_set)
            vectors = CONTROL_ESTIMATORS[estimator](poles)[:, :1]
            controls[str(name)] = TopicVectors(vectors, poles.topics, poles.labels[:1])
    return Fit(TopicVectors(values, emotions.topics, emotions.labels), controls)


def measure_reliability(
    topic_vector: np.ndarray, halves: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Split-half cosine over topics, and the reliability of the whole by Spearman–Brown.

    Parameters
    ----------
    topic_vector
        (topic, label, hidden).

    Returns
    -------
    floor, reliability : np.ndarray
        (label,) each.
    """
    weights = split_halves(len(topic_vector), halves, rng)
    filled = np.nan_to_num(topic_vector).transpose(1, 0, 2).astype(np.float64)
    gram = filled @ filled.transpose(0, 2, 1)
    products = np.einsum("hkt,ltu,hmu->hlkm", weights, gram, weights, optimize=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = products[..., 0, 1] / np.sqrt(products[..., 0, 0] * products[..., 1, 1])
    floor = np.full(len(gram), np.nan)
    known = ~np.isnan(cosine).all(0)
    floor[known] = np.nanmean(cosine[:, known], axis=0)
    return floor, np.clip(2 * floor / (1 + floor), 0, 1)


def average_halves(topic_vector: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over each half of the topics, (half, label, hidden), by weights (half, topic)."""
    present = ~np.isnan(topic_vector[..., 0])
    total = np.einsum("kt,tlx->klx", weights, np.nan_to_num(topic_vector))
    with np.errstate(invalid="ignore"):
        return total / (weights @ present)[..., None]


def _pick_layer(parts: Mapping[str, list[xr.Dataset]], layer: int) -> Texts:
    return _join_texts(
        {
            kind: [part["activation"].sel(layer=layer, drop=True) for part in of_kind]
            for kind, of_kind in parts.items()
        }
    )


def _join_texts(parts: Mapping[str, list[xr.DataArray]]) -> Texts:
    stories, neutral, controls = (join_parts(parts.get(kind, [])) for kind in KINDS)
    if stories is None:
        raise EmodriftError("contrasts.stories: no story was measured; name sources of stories")
    return Texts(stories, neutral, controls)
