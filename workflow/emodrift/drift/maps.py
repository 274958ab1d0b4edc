"""Maps of the emotions at one checkpoint: who is near whom, in which clusters, along which axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score, silhouette_score

from emodrift.stats.bootstrap import Interval, split_halves, summarise_draws
from emodrift.stats.corrections import count_extremes
from emodrift.stats.measures import normalise
from emodrift.vectors.fitting import average_halves

COMPONENTS = 3
MOST_CLUSTERS = 8
SHUFFLES = 999
CHUNK = 20_000_000
RATINGS = ("valence", "arousal")


class Clusters(NamedTuple):
    """Hierarchical clusters of the emotions.

    label: (emotion,) cluster from 1 on. order: (emotion,) emotions by place in the tree.
    """

    label: np.ndarray
    order: np.ndarray


class RatedComponents(NamedTuple):
    """Leading components of the emotion vectors and what they have to do with ratings.

    share: (component,) of the vectors' energy, with interval. correlation: (rating, component) of
    the emotions' scores with their ratings, with interval over topics. p: of the size of the
    correlation, ratings shuffled over emotions.
    """

    share: np.ndarray
    share_interval: Interval
    correlation: np.ndarray
    correlation_interval: Interval
    p: np.ndarray


def map_cosines(vector: np.ndarray) -> np.ndarray:
    """Cosines between emotion vectors (emotion, hidden), (emotion, emotion)."""
    unit = normalise(vector.astype(np.float64))
    return np.clip(unit @ unit.T, -1, 1)


def cluster_emotions(vector: np.ndarray, number: int) -> Clusters:
    """Average-linkage clusters of emotion vectors at the distance 1 − cosine.

    Leaves are ordered so that neighbours are near (Bar-Joseph et al. 2001).
    """
    distance = _measure_distance(vector)
    tree = linkage(distance, "average")
    return Clusters(
        fcluster(tree, number, "maxclust"), leaves_list(optimal_leaf_ordering(tree, distance))
    )


def count_clusters(vector: np.ndarray) -> int:
    """Number of clusters, from 2 to 8, with the highest mean silhouette (Rousseeuw 1987)."""
    distance = squareform(_measure_distance(vector))
    scores = {}
    for number in range(2, min(MOST_CLUSTERS, len(vector) - 1) + 1):
        label = cluster_emotions(vector, number).label
        if 1 < len(set(label)) < len(vector):
            scores[number] = silhouette_score(distance, label, metric="precomputed")
    return max(scores, key=lambda number: scores[number], default=1)


def compare_clusters(fitted: np.ndarray, locked: np.ndarray, number: int) -> float:
    """Adjusted Rand index of the clusters of two sets of vectors (Hubert & Arabie 1985)."""
    return float(
        adjusted_rand_score(*(cluster_emotions(v, number).label for v in (fitted, locked)))
    )


def find_cluster_floor(topic_vector: np.ndarray, number: int, halves: int, seed: int) -> float:
    """Mean adjusted Rand index between halves of one checkpoint's topics: what sampling allows."""
    weights = split_halves(len(topic_vector), halves, np.random.default_rng(seed))
    split = (average_halves(topic_vector, pair) for pair in weights)
    return float(
        np.mean([compare_clusters(a, b, number) for a, b in split if np.isfinite([a, b]).all()])
    )


def correlate_plane(vector: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Multiple correlation of each rating with the two leading components of the vectors.

    It does not depend on which component carries which rating. By chance its square is 2/(E − 1)
    for E rated emotions. NaN with fewer than four, and where there are no vectors (layer 0 at the
    reply point).

    Parameters
    ----------
    vector
        (emotion, hidden).
    ratings
        (rating, emotion), NaN where an emotion has none.

    Returns
    -------
    np.ndarray
        (rating,).
    """
    if not vector.any():
        return np.full(len(ratings), np.nan)
    scores, _ = _find_scores((vector @ vector.T)[None].astype(np.float64))
    found = []
    for rating in ratings:
        rated = ~np.isnan(rating)
        if rated.sum() < 4 or not _is_usable(rating[rated]):
            found.append(np.nan)
            continue
        plane = scores[0, :2, rated]
        plane = np.linalg.qr(plane - plane.mean(0))[0]
        centred = rating[rated] - rating[rated].mean()
        found.append(float(np.linalg.norm(plane.T @ centred) / np.linalg.norm(centred)))
    return np.array(found)


def rate_components(
    topic_vector: np.ndarray, ratings: np.ndarray, weights: np.ndarray, level: float, seed: int
) -> RatedComponents:
    """Principal components of the emotion vectors, and their correlations with ratings.

    Vectors and components are refitted at every draw of topics; a draw's component takes the sign
    that agrees with the whole sample's. Where two components hold nearly the same energy draws swap
    them, and the intervals are as wide as that.

    Parameters
    ----------
    topic_vector
        (topic, emotion, hidden).
    ratings
        (rating, emotion), NaN where an emotion has none.
    weights
        (draw, topic) of the bootstrap.
    level, seed
        Of the intervals; of the shuffles.
    """
    whole = np.ones((1, len(topic_vector)))
    (scores,), (share,) = _find_scores(_multiply(topic_vector, whole))
    scores = _orient(scores)[:, None] * scores
    drawn, shares = _find_scores(_multiply(topic_vector, weights))
    sign = np.sign((drawn * scores).sum(-1, keepdims=True))
    correlation = _correlate(scores[None], ratings)[0]
    draws = np.where(np.isnan(correlation), 0, _correlate(sign * drawn, ratings))
    freedom = len(topic_vector) - 1
    wide = summarise_draws(draws, level, freedom, (-1, 1))
    rng = np.random.default_rng(seed)
    return RatedComponents(
        share,
        summarise_draws(shares, level, freedom, (0, 1)),
        correlation,
        Interval(*(np.where(np.isnan(correlation), np.nan, end) for end in wide)),
        np.stack([_shuffle(scores, rating, rng) for rating in ratings]),
    )


def find_axes(vector: np.ndarray) -> np.ndarray:
    """Leading principal axes (component, hidden) of emotion vectors, the frame of all paths.

    Each points to where the emotion with the largest score lies.
    """
    centred = vector - vector.mean(0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:COMPONENTS]
    return _orient(axes @ centred.T)[:, None] * axes


def place_emotions(vector: np.ndarray, axes: np.ndarray, residual_norm: float) -> np.ndarray:
    """Scores of emotion vectors on a frame's axes in residual norms, (emotion, component)."""
    return (vector - vector.mean(0)) @ axes.T / residual_norm


def stack_ratings(
    emotions: Sequence[str], ratings: Mapping[str, Mapping[str, float]]
) -> np.ndarray:
    """Ratings of the emotions, (rating, emotion) in the order of ``RATINGS``; NaN where unrated."""
    return np.array([[ratings.get(e, {}).get(name, np.nan) for e in emotions] for name in RATINGS])


def _orient(scores: np.ndarray) -> np.ndarray:
    """Signs (component,) that make the largest score of each component (component, emotion)
    positive."""
    return np.sign(scores[np.arange(len(scores)), np.abs(scores).argmax(1)])


def _measure_distance(vector: np.ndarray) -> np.ndarray:
    distance = 1 - map_cosines(vector)
    np.fill_diagonal(distance, 0)
    return squareform(distance, checks=False)


def _multiply(topic_vector: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Inner products of the vectors at each draw of topics, (draw, emotion, emotion)."""
    topics = len(topic_vector)
    flat = np.nan_to_num(topic_vector).reshape(topics, -1).astype(np.float32)
    present = ~np.isnan(topic_vector[..., 0])
    step = max(1, CHUNK // flat.shape[1])
    found = []
    for start in range(0, len(weights), step):
        part = weights[start : start + step].astype(np.float32)
        count = np.maximum(part @ present, 1)
        drawn = (part @ flat).reshape(len(part), *topic_vector.shape[1:]) / count[..., None]
        found.append(drawn @ drawn.transpose(0, 2, 1))
    return np.concatenate(found).astype(np.float64)


def _find_scores(products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit scores (draw, component, emotion) and energy shares (draw, component).

    Parameters
    ----------
    products
        (draw, emotion, emotion) inner products of the vectors.
    """
    centre = np.eye(products.shape[-1]) - 1 / products.shape[-1]
    energy, scores = np.linalg.eigh(centre @ products @ centre)
    energy, scores = energy[:, ::-1], scores[:, :, ::-1]
    share = energy / energy.sum(1, keepdims=True)
    return scores[:, :, :COMPONENTS].transpose(0, 2, 1), share[:, :COMPONENTS]


def _correlate(scores: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Correlations (draw, rating, component) of scores (draw, component, emotion) with ratings."""
    found = np.full((len(scores), len(ratings), scores.shape[1]), np.nan)
    for i, rating in enumerate(ratings):
        rated = ~np.isnan(rating)
        if _is_usable(rating[rated]):
            found[:, i] = _centre(scores[..., rated]) @ _centre(rating[rated])
    return found


def _shuffle(scores: np.ndarray, rating: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """p-values (component,) of the size of the scores' (component, emotion) correlations."""
    rated = ~np.isnan(rating)
    if not _is_usable(rating[rated]):
        return np.full(len(scores), np.nan)
    shuffled = rng.permuted(np.tile(rating[rated], (SHUFFLES, 1)), axis=1)
    both = _centre(np.vstack([rating[rated], shuffled])) @ _centre(scores[:, rated]).T
    return count_extremes(np.abs(both[0]) - 1e-12, np.abs(both[1:]))


def _is_usable(ratings: np.ndarray) -> bool:
    return len(ratings) > 2 and np.ptp(ratings) > 0


def _centre(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-300)
