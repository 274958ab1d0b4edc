"""Estimators: from labelled texts of one contrast to one vector for each topic and label.

The mean over topics is the vector; the topics around it tell how sure it is. Everything later
(split halves, bootstrap, jackknife, permutation of checkpoints) resamples these topic vectors.

- ``difference_of_means`` and ``neutral_difference`` are linear in the topics' means: resampling
  topic vectors is refitting.
- ``whitened_difference`` and ``logistic_probe`` are not linear: their topic vectors are jackknife
  pseudo-values, from refits that leave out one topic each; the probe's at the regularisation that
  was chosen once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.sparse import csr_array
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 4


class Labelled(NamedTuple):
    """Texts of one contrast at one layer.

    values: (prompt, hidden), units of the residual stream.
    label, topic: (prompt,) number of each text's label and topic.
    labels, topics: their names.
    neutral: (topic, hidden) mean of the neutral texts of each topic, or None.
    """

    values: np.ndarray
    label: np.ndarray
    topic: np.ndarray
    labels: list[str]
    topics: list[str]
    neutral: np.ndarray | None = None


def label_texts(texts: xr.DataArray, neutral: xr.DataArray | None = None) -> Labelled:
    """Texts (prompt, hidden) with ``label`` and ``topic`` coordinates, and the neutral ones beside.

    A topic without neutral texts takes the mean of all neutral texts.
    """
    topic, topics = pd.factorize(texts["topic"].values, sort=True)
    label, labels = pd.factorize(texts["label"].values, sort=True)
    names = [str(t) for t in topics]
    base = None
    if neutral is not None:
        overall = neutral.mean("prompt").values
        code, found = pd.factorize(neutral["topic"].values, sort=True)
        alone = Labelled(neutral.values, np.zeros_like(code), code, ["neutral"], list(found))
        of_topic = dict(zip(map(str, found), average_cells(alone)[:, 0], strict=True))
        base = np.stack([of_topic.get(name, overall) for name in names])
    return Labelled(texts.values, label, topic, [str(v) for v in labels], names, base)


def average_cells(texts: Labelled) -> np.ndarray:
    """Mean of each label within each topic, (topic, label, hidden); NaN where there is none."""
    shape = (len(texts.topics), len(texts.labels))
    cell = texts.topic * shape[1] + texts.label
    rows = np.arange(len(cell))
    ones = np.ones(len(cell), texts.values.dtype)
    member = csr_array((ones, (cell, rows)), shape=(shape[0] * shape[1], len(cell)))
    with np.errstate(invalid="ignore"):
        means = (member @ texts.values) / np.bincount(cell, minlength=shape[0] * shape[1])[:, None]
    return means.astype(texts.values.dtype).reshape(*shape, -1)


def subtract_emotion_mean(texts: Labelled) -> np.ndarray:
    """Each label's topic mean less the mean over labels in that topic.

    v[e] = mean over stories of e − mean over emotions of those means, topics balanced (Sofroniew et
    al. 2026; docs/methods.md, "Vectors").
    """
    means = average_cells(texts)
    return means - np.nanmean(means, axis=1, keepdims=True)


def subtract_neutral(texts: Labelled) -> np.ndarray:
    """Each label's topic mean less the neutral texts' mean of that topic."""
    if texts.neutral is None:
        raise ValueError("neutral_difference needs neutral texts")
    return average_cells(texts) - texts.neutral[:, None]


def whiten_difference(texts: Labelled) -> np.ndarray:
    """Difference of means times the inverse covariance within labels: Σ⁻¹ d.

    The direction of linear discriminant analysis (Fisher 1936). Σ is of the texts less their
    topic's and their label's mean, shrunk after Ledoit & Wolf (2004). Each vector is scaled to the
    length that d has along it, so that lengths are in units of the residual stream.

    Returns
    -------
    np.ndarray
        (topic, label, hidden) pseudo-values as in :func:`train_probe`: the error of Σ bends the
        vectors of all topics alike, which Σ⁻¹ dₜ with one Σ would hide.
    """
    difference = subtract_emotion_mean(texts)
    centred = _subtract_topics(texts)
    if not (centred - np.nanmean(difference, axis=0)[texts.label]).any():
        return difference
    whole = _whiten(texts, difference, centred, np.ones(len(texts.topics), bool))
    others = ~np.eye(len(texts.topics), dtype=bool)
    parts = np.stack([_whiten(texts, difference, centred, kept) for kept in others])
    return _scale_to(_make_pseudo_values(whole, parts), np.nanmean(difference, axis=0))


def train_probe(texts: Labelled) -> np.ndarray:
    """Coefficients of a multinomial logistic regression of the label, one vector for each label.

    The texts have their topic's mean subtracted and a common scale; each topic and label weighs the
    same. The L2 penalty is the one of ``PENALTIES`` (scikit-learn's C) with the least log-loss on
    left-out topics. Vectors are scaled as in :func:`whiten_difference`.

    Returns
    -------
    np.ndarray
        (topic, label, hidden) pseudo-values n θ − (n − 1) θ₋ₜ, θ₋ₜ fitted without topic t
        (Quenouille 1956, Tukey 1958), shifted to have the mean θ.
    """
    values = _subtract_topics(texts)
    if not values.any():
        return subtract_emotion_mean(texts)
    values = values / np.sqrt((values**2).mean())
    number = len(texts.topics)
    without = [texts.topic != t for t in range(number)]
    penalty = _choose_penalty(texts, values)
    probe = LogisticRegression(C=penalty, tol=1e-6, max_iter=10_000, warm_start=True)
    whole = _fit_probe(probe, texts, values, np.ones(len(values), bool))
    parts = np.stack([_fit_probe(probe, texts, values, kept) for kept in without])
    difference = np.nanmean(subtract_emotion_mean(texts), axis=0)
    return _scale_to(_make_pseudo_values(whole, parts), difference)


ESTIMATORS: dict[str, Callable[[Labelled], np.ndarray]] = {
    "difference_of_means": subtract_emotion_mean,
    "neutral_difference": subtract_neutral,
    "whitened_difference": whiten_difference,
    "logistic_probe": train_probe,
}
CONTROL_ESTIMATORS = ESTIMATORS | {"neutral_difference": subtract_emotion_mean}
"""The same for controls, whose poles are contrasted with each other."""


def _subtract_topics(texts: Labelled) -> np.ndarray:
    return texts.values - np.nanmean(average_cells(texts), axis=1)[texts.topic]


def _whiten(
    texts: Labelled, difference: np.ndarray, centred: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """Σ⁻¹ d, (label, hidden), from the topics that are kept; 0 where none of them has the label."""
    present = ~np.isnan(difference[kept]).any(2)
    total = np.nan_to_num(difference[kept]).sum(0)
    vector = total / np.maximum(present.sum(0), 1)[:, None]
    residual = (centred - vector[texts.label])[kept[texts.topic]]
    shrunk = LedoitWolf(assume_centered=True).fit(residual).covariance_
    return np.linalg.solve(shrunk, vector.T).T


def _make_pseudo_values(whole: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """n θ − (n − 1) θ₋ₜ, (topic, label, hidden), shifted to have the mean θ (label, hidden)."""
    pseudo = len(parts) * whole - (len(parts) - 1) * parts
    return pseudo + whole - pseudo.mean(0)


def _scale_to(topic_vector: np.ndarray, difference: np.ndarray) -> np.ndarray:
    vector = np.nanmean(topic_vector, axis=0)
    length = np.linalg.norm(vector, axis=-1)
    along = (vector * difference).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(length > 0, along / length**2, 0)
    return topic_vector * factor[:, None]


def _choose_penalty(texts: Labelled, values: np.ndarray) -> float:
    fold = texts.topic % min(FOLDS, len(texts.topics))
    losses = np.zeros(len(PENALTIES))
    for held in np.unique(fold):
        test = (fold == held) & np.isin(texts.label, texts.label[fold != held])
        for i, penalty in enumerate(PENALTIES):
            probe = LogisticRegression(C=penalty, max_iter=10_000)
            _fit_probe(probe, texts, values, fold != held)
            chance = probe.predict_proba(values[test])
            losses[i] += log_loss(texts.label[test], chance, labels=probe.classes_, normalize=False)
    return PENALTIES[int(losses.argmin())]


def _fit_probe(
    probe: LogisticRegression, texts: Labelled, values: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    cell = texts.topic * len(texts.labels) + texts.label
    size = np.bincount(cell)[cell]
    probe.fit(values[kept], texts.label[kept], sample_weight=size.mean() / size[kept])
    found = probe.coef_ if len(probe.classes_) > 2 else np.concatenate([-probe.coef_, probe.coef_])
    coefficients = np.zeros((len(texts.labels), values.shape[1]))
    coefficients[probe.classes_] = found
    return coefficients
