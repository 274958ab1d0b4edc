"""Fragmentation: whether an emotion is one direction, or has fallen into several.

The effective rank of an emotion's topic vectors beside that of shuffled topics, and the number of
sub-directions that best predict stories which were left out (docs/effects.md, "Fragmentation").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from sklearn.cluster import KMeans

from emodrift.drift.parts import Found, Take, find_anew, write_found
from emodrift.measure.arrays import Readings
from emodrift.measure.directions import open_lock
from emodrift.stage import Stage
from emodrift.stats.bootstrap import Labels
from emodrift.stats.corrections import correct_family, count_extremes
from emodrift.stats.jackknife import jackknife, widen
from emodrift.stats.settings import Statistics
from emodrift.vectors.confounds import find_confounds
from emodrift.vectors.estimators import average_cells, label_texts
from emodrift.vectors.fitting import clean_texts, read_texts

STAGE = Stage(
    "fragmentation",
    "measure_fragmentation",
    reads={"activations": ["stories", "neutral"], "lock": "lock"},
    settings=["checkpoints", "statistics", "seed", "vectors.confound_variance"],
    parts="alone",
)
MOST_DIRECTIONS = 4
SPLITS = 6
RANKS = 20


class FragmentationParams(NamedTuple):
    """What the fragmentation stage is asked.

    checkpoints: run, step, stage, tokens of each. statistics, seed, confound_variance: config.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    statistics: Statistics
    seed: int
    confound_variance: float


class FragmentationInputs(NamedTuple):
    """Entries that the fragmentation stage reads.

    activations: stories and neutral texts of each checkpoint. lock: the locked vectors.
    """

    activations: Sequence[Readings]
    lock: Path


class Rank(NamedTuple):
    """Effective rank of topic vectors with interval, its mean where topics are shuffled, and the
    p-value of topics that do not differ."""

    value: float
    low: float
    high: float
    null: float
    p: float


def measure_fragmentation(
    params: FragmentationParams, inputs: FragmentationInputs, out: Path, take: Take = find_anew
) -> None:
    """Write ``fragmentation.parquet``: for each checkpoint and emotion the effective rank of topic
    vectors with interval, null and corrected p-value, and the number of sub-directions.

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    take
        Gives what was found at a checkpoint before.
    """
    layer = int(open_lock(inputs.lock)["layer"])

    def find(number: int) -> Found:
        texts = read_texts(inputs.activations[number], layer)
        clean = clean_texts(texts, find_confounds(texts.neutral, params.confound_variance))
        return Found({"fragmentation": describe_emotions(center_stories(clean.stories), params)})

    write_found(params.checkpoints, find, take, out)


def describe_emotions(deviations: xr.DataArray, params: FragmentationParams) -> pd.DataFrame:
    """Rows of one checkpoint: each emotion's rank and number of sub-directions.

    Parameters
    ----------
    deviations
        (prompt, hidden), of :func:`center_stories`.
    params
        Of the stage.
    """
    statistics, found = params.statistics, []
    for emotion, own in deviations.groupby("label"):
        rng = np.random.default_rng(params.seed)
        values, topics = own.values, own["topic"].values
        rank = measure_rank(values, topics, statistics.nulls, statistics.level, rng)
        directions = count_directions(values, topics, rng)
        found.append({"concept": str(emotion), **rank._asdict(), "sub_directions": directions})
    names = {"value": "rank", "low": "rank_low", "high": "rank_high", "null": "rank_shuffled"}
    table = pd.DataFrame(found).rename(columns=names)
    return table.assign(q=correct_family(table["p"].to_numpy(), "by"))


def center_stories(stories: xr.DataArray) -> xr.DataArray:
    """Stories (prompt, hidden) less their topic's mean over emotions.

    The emotions' means within a topic of E emotions, less the mean of these, vary by (E − 1)/E of
    what they did; they are scaled up by the root of E/(E − 1), so that noise makes stories of one
    topic neither more nor less alike than those of different topics.
    """
    labelled = label_texts(stories)
    cells = average_cells(labelled)
    emotions = (~np.isnan(cells[..., 0])).sum(1)[:, None, None]
    scale = np.sqrt(emotions / np.maximum(emotions - 1, 1))
    shifted = scale * (cells - np.nanmean(cells, axis=1, keepdims=True)) - cells
    return stories.copy(data=stories.values + shifted[labelled.topic, labelled.label])


def measure_rank(
    stories: np.ndarray,
    topics: Labels,
    shuffles: int,
    level: float,
    rng: np.random.Generator,
) -> Rank:
    """Effective rank of an emotion's topic vectors, and whether topics differ at all.

    Parameters
    ----------
    stories
        (story, hidden) deviations of one emotion's stories.
    topics
        (story,) topic of each; topics of one story are left out.
    shuffles
        How many permutations of the stories over topics the p-value rests on.
    level
        Level of the interval.
    rng
        Source of randomness.

    Returns
    -------
    Rank
        NaN throughout where no topic has two stories; a NaN rank where the estimated energy is not
        positive.

    Notes
    -----
    The second moment of topic vectors is estimated from pairs of different stories of a topic, so
    that what stories scatter adds no rank: M = mean over topics of Σ_{i≠j} s_i s_jᵀ / (n (n − 1)).
    Its participation ratio (tr M)² / tr M² is 1 for one direction, k for k equally frequent ones
    that are orthogonal. The entropy of the eigenvalues does not do, for it counts noise: shuffling
    raises it. The interval is a jackknife of its logarithm over topics. p: of the similarity within
    topics, stories permuted over topics.
    """
    code, _ = pd.factorize(np.asarray(topics, dtype=object), sort=True)
    counts = np.bincount(code)[code]
    several = counts > 1
    if not several.any():
        return Rank(*np.full(5, np.nan))
    code, counts, stories = code[several], counts[several], stories[several]
    member = np.eye(code.max() + 1)[code]
    pairs = (member @ member.T - np.eye(len(code))) / (counts * (counts - 1))
    gram = stories @ stories.T
    orders = rng.random((shuffles, len(code))).argsort(1)
    alike = np.stack([(pairs[order][:, order] * gram).sum() for order in orders])
    shuffled = [
        _compute_rank(*_multiply_topics(member[order], pairs[order][:, order], gram))
        for order in orders[:RANKS]
    ]
    sizes, products = _multiply_topics(member, pairs, gram)
    value = _compute_rank(sizes, products)
    low, high = _bound_rank(value, sizes, products, level)
    return Rank(
        value,
        low,
        high,
        float(np.nanmean(shuffled)),
        float(count_extremes((pairs * gram).sum(), alike)),
    )


def _multiply_topics(
    member: np.ndarray, pairs: np.ndarray, gram: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What topics have of tr M, (topic,), and what pairs of topics have of tr M², (topic, topic).

    A topic's share with itself is the square of what it has of tr M.
    """
    sizes = member.T @ (pairs * gram).sum(1)
    product = pairs @ gram
    products = member.T @ (product * product.T) @ member
    np.fill_diagonal(products, sizes**2)
    return sizes, products


def _compute_rank(sizes: np.ndarray, products: np.ndarray) -> float:
    energy = products.sum()
    return float(sizes.sum() ** 2 / energy) if energy > 0 else np.nan


def _bound_rank(
    value: float, sizes: np.ndarray, products: np.ndarray, level: float
) -> tuple[float, float]:
    number = len(sizes)
    left = sizes.sum() - sizes
    energy = products.sum() - 2 * products.sum(1) + sizes**2
    if number < 2 or (energy <= 0).any() or (left <= 0).any():
        return np.nan, np.nan
    low, high = widen(jackknife(np.log(value), np.log(left**2 / energy)), level)
    return float(np.exp(low)), float(np.exp(high))


def count_directions(stories: np.ndarray, topics: Labels, rng: np.random.Generator) -> float:
    """Number of sub-directions: the clusters of topics that best predict stories left out.

    The stories of each topic are split in halves; topics are clustered (k-means) by one half's
    means, and each topic's other half is predicted by its cluster's mean. The fewest clusters
    within one standard error of the best are taken (Breiman et al. 1984).

    Parameters
    ----------
    stories, topics
        As in :func:`measure_rank`; topics of one story are left out.
    rng
        Source of randomness.

    Returns
    -------
    float
        1 to 4; NaN with fewer than twice as many topics.
    """
    code, names = pd.factorize(np.asarray(topics, dtype=object), sort=True)
    places = [np.flatnonzero(code == k) for k in range(len(names))]
    places = [rows for rows in places if len(rows) > 1]
    if len(places) < 2 * MOST_DIRECTIONS:
        return np.nan
    errors = np.empty((SPLITS, MOST_DIRECTIONS))
    for split in range(SPLITS):
        mixed = [rng.permutation(rows) for rows in places]
        seen = np.stack([stories[rows[: len(rows) // 2]].mean(0) for rows in mixed])
        left = np.stack([stories[rows[len(rows) // 2 :]].mean(0) for rows in mixed])
        for k in range(1, MOST_DIRECTIONS + 1):
            fitted = KMeans(k, n_init=3, random_state=int(rng.integers(2**31))).fit(seen)
            predicted = fitted.cluster_centers_[fitted.labels_]
            errors[split, k - 1] = ((left - predicted) ** 2).sum(1).mean()
    mean, deviation = errors.mean(0), errors.std(0, ddof=1) / np.sqrt(SPLITS)
    best = int(mean.argmin())
    return float(np.flatnonzero(mean <= mean[best] + deviation[best])[0] + 1)
