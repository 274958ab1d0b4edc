"""Tables of the emotions together: their subspace, the nulls, and their maps at each checkpoint."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from emodrift.drift import maps, subspaces
from emodrift.drift.alignment import Alignment
from emodrift.drift.checkpoint import Measured, Settings
from emodrift.stats.bootstrap import draw_weights

NULL_QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}


class Frame(NamedTuple):
    """What is settled at the reference, in which every checkpoint is described.

    axes: principal axes of its vectors, (component, hidden). dimensions, clusters: how many. floor:
    overlap of its halves' subspaces. rand_floor: agreement of its halves' clusters. order: emotions
    in the order of its tree.
    """

    axes: np.ndarray
    dimensions: int
    clusters: int
    floor: subspaces.Overlap
    rand_floor: float
    order: np.ndarray


def settle_frame(base: Measured, settings: Settings) -> Frame:
    """Frame of the reference."""
    topics = base.fit.emotions.values
    dimensions, clusters = subspaces.count_dimensions(base.vector), maps.count_clusters(base.vector)
    resampling = settings.recipe.halves, settings.seed
    return Frame(
        maps.find_axes(base.vector),
        dimensions,
        clusters,
        subspaces.compare_halves(topics, topics, dimensions, *resampling),
        maps.find_cluster_floor(topics, clusters, *resampling),
        maps.cluster_emotions(base.vector, clusters).order,
    )


def describe_space(
    now: Measured,
    base: Measured,
    aligned: Measured | None,
    alignment: Alignment | None,
    frame: Frame,
    settings: Settings,
) -> pd.DataFrame:
    """Row of one checkpoint: overlap of the emotions' subspaces, agreement of their clusters, and
    the rotation of the whole space."""
    between = _compare_subspaces(now, base, frame, settings)
    row = {
        "dimensions": frame.dimensions,
        "overlap": between.share,
        "overlap_floor": frame.floor.share,
        "overlap_unrelated": subspaces.compare_unrelated(
            now.shuffled, base.shuffled, frame.dimensions
        ),
        "angle": between.angle,
        "angle_floor": frame.floor.angle,
        "clusters": frame.clusters,
        "rand": maps.compare_clusters(now.vector, base.vector, frame.clusters),
        "rand_floor": frame.rand_floor,
    }
    nothing = ["overlap_aligned", "congruence", "congruence_aligned", "shrinkage"]
    row |= dict.fromkeys(nothing, np.nan)
    if aligned is not None and alignment is not None:
        row |= {
            "overlap_aligned": _compare_subspaces(aligned, base, frame, settings).share,
            "congruence": alignment.before,
            "congruence_aligned": alignment.after,
            "shrinkage": alignment.shrinkage,
        }
    return pd.DataFrame([row])


def describe_nulls(now: Measured, base: Measured) -> pd.DataFrame:
    """Rows of one checkpoint: quantiles of the cosines of meaningless vectors."""
    same, different = subspaces.compare_shuffled(now.shuffled, base.shuffled)
    rows = [
        {"null": name}
        | {k: float(np.quantile(drawn, q)) for k, q in NULL_QUANTILES.items()}
        | {"directions": len(drawn)}
        for name, drawn in (("shuffled_labels", same), ("random_directions", different))
    ]
    return pd.DataFrame(rows)


def describe_maps(
    now: Measured, aligned: Measured, frame: Frame, settings: Settings
) -> dict[str, pd.DataFrame]:
    """Maps of one checkpoint by table: cosines, clusters, components and places on the axes.

    Parameters
    ----------
    now, aligned
        The checkpoint as it is, and in the reference's frame.
    frame, settings
        As in :func:`describe_space`.
    """
    emotions = np.array(now.fit.emotions.labels, dtype=object)
    cosines = maps.map_cosines(now.vector)
    first, second = np.triu_indices(len(emotions), 1)
    scores = maps.place_emotions(aligned.vector, frame.axes, now.norm)
    return {
        "emotion_cosines": pd.DataFrame(
            {
                "emotion": emotions[first],
                "other": emotions[second],
                "cosine": cosines[first, second],
            }
        ),
        "emotion_clusters": pd.DataFrame(
            {
                "emotion": emotions,
                "cluster": maps.cluster_emotions(now.vector, frame.clusters).label,
                "place": np.argsort(frame.order),
            }
        ),
        "emotion_components": _describe_components(now, settings),
        "emotion_paths": pd.DataFrame(
            {
                "emotion": emotions,
                **{f"component_{k + 1}": score for k, score in enumerate(scores.T)},
                **dict(zip(maps.RATINGS, settings.ratings, strict=True)),
            }
        ),
    }


def _describe_components(now: Measured, settings: Settings) -> pd.DataFrame:
    statistics, seed = settings.statistics, settings.seed
    topics = now.fit.emotions
    weights = draw_weights(topics.topics, statistics.draws, np.random.default_rng(seed))
    rated = maps.rate_components(topics.values, settings.ratings, weights, statistics.level, seed)
    columns = {
        "component": np.arange(len(rated.share)) + 1,
        "share": rated.share,
        "share_low": rated.share_interval.low,
        "share_high": rated.share_interval.high,
    }
    for i, rating in enumerate(maps.RATINGS):
        columns[rating] = rated.correlation[i]
        columns[f"{rating}_low"] = rated.correlation_interval.low[i]
        columns[f"{rating}_high"] = rated.correlation_interval.high[i]
        columns[f"{rating}_p"] = rated.p[i]
    return pd.DataFrame(columns)


def _compare_subspaces(
    now: Measured, base: Measured, frame: Frame, settings: Settings
) -> subspaces.Overlap:
    ours, theirs = now.fit.emotions.values, base.fit.emotions.values
    resampling = settings.recipe.halves, settings.seed
    return subspaces.compare_halves(ours, theirs, frame.dimensions, *resampling)
