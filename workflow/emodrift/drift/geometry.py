"""Direction and geometry: how the vectors of every checkpoint stand to the reference's.

METHODS, "Three changes that are not the same", 1. Definitions are in docs/drift.md and in
:mod:`emodrift.drift.direction` (turning), :mod:`~emodrift.drift.alignment` (rotation of the whole
space), :mod:`~emodrift.drift.spaces` (subspaces and nulls), :mod:`~emodrift.drift.maps` (maps of
the emotions) and :mod:`~emodrift.drift.quality`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift import maps, spaces
from emodrift.drift.alignment import (
    Alignment,
    Background,
    align_vectors,
    fit_alignment,
    gather_background,
)
from emodrift.drift.direction import (
    Jackknife,
    Turning,
    assess_turning,
    compute_grams,
    correct_cosine,
    draw_flips,
    estimate_cosine,
    estimate_norm_ratio,
    exceed_controls,
    jackknife_cosine,
    widen,
)
from emodrift.drift.quality import describe_quality
from emodrift.drift.table import label_rows, write_table
from emodrift.stats.bootstrap import draw_weights, summarise_draws
from emodrift.stats.corrections import correct_family, count_extremes
from emodrift.stats.measures import compute_cosine
from emodrift.vectors.estimators import label_texts
from emodrift.vectors.fitting import (
    Fit,
    TopicVectors,
    clean_texts,
    fit_texts,
    open_vectors,
    pick_fit,
    read_texts,
)
from emodrift.vectors.lock import open_lock

NULL_QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}


class Settings(NamedTuple):
    """What all checkpoints share: bootstrap, its seed, fitting recipe, split halves and ratings."""

    statistics: Mapping[str, Any]
    seed: int
    estimator: str
    confound_variance: float
    halves: int
    ratings: np.ndarray


class Measured(NamedTuple):
    """One checkpoint at the locked layer.

    fit: topic vectors. shuffled: (shuffle, emotion, hidden) vectors of meaningless emotions.
    norm: mean residual norm of the stories. background: texts without emotion.
    """

    fit: Fit
    shuffled: np.ndarray
    norm: float
    background: Background | None

    @property
    def vector(self) -> np.ndarray:
        """Emotion vectors, (emotion, hidden)."""
        return np.nanmean(self.fit.emotions.values, axis=0)


class Frame(NamedTuple):
    """What is settled at the reference: principal axes of its vectors (component, hidden), number
    of dimensions and of clusters, and what two halves of its own topics agree in."""

    axes: np.ndarray
    dimensions: int
    clusters: int
    overlap_floor: float
    rand_floor: float


def measure_drift(
    checkpoints: Sequence[dict[str, Any]],
    reference: int,
    statistics: dict[str, Any],
    seed: int,
    fitting: dict[str, Any],
    ratings: Mapping[str, Mapping[str, float]],
    vectors: Sequence[Path],
    activations: Sequence[Path],
    twin: Path,
    lock: Path,
    out: Path,
) -> None:
    """Compare every checkpoint's vectors with the reference's.

    Writes at the locked layer ``drift.parquet`` (checkpoint, kind, concept), ``spaces.parquet``
    (checkpoint), ``direction_nulls.parquet`` (checkpoint, null), ``emotion_cosines.parquet``
    (checkpoint, pair of emotions), ``emotion_clusters.parquet`` and ``emotion_paths.parquet``
    (checkpoint, emotion), ``emotion_components.parquet`` (checkpoint, component); and over all
    layers ``layers.parquet`` (checkpoint, layer) and ``quality.parquet`` (checkpoint, layer,
    emotion). Columns are explained in docs/drift.md.

    Parameters
    ----------
    checkpoints
        Run, step, stage, tokens of each checkpoint.
    reference
        Number of the reference among them.
    statistics, seed
        Config: bootstrap.
    fitting
        Config: how vectors are fitted, as in :func:`emodrift.vectors.fitting.fit_vectors`.
    ratings
        Emotion -> valence and arousal, for those that are rated.
    vectors, activations
        Entries, one for each checkpoint.
    twin
        Entry of the vectors of the random-initialised twin.
    lock
        Entry of the locked vectors.
    out
        Directory to write to.
    """
    layer = int(open_lock(lock)["layer"])
    locked, random = open_vectors(vectors[reference]), open_vectors(twin)
    emotions = [str(e) for e in locked["emotion"].values]
    settings = Settings(
        statistics,
        seed,
        fitting["estimator"],
        fitting["confound_variance"],
        fitting["halves"],
        maps.stack_ratings(emotions, ratings),
    )
    base = read_checkpoint(activations[reference], layer, settings)
    frame = settle_frame(base, settings)
    tables: dict[str, list[dict[str, Any]]] = {}
    turnings: dict[int, Turning] = {}
    for number, entry in enumerate(vectors):
        fitted = open_vectors(entry)
        now = base
        if number != reference:
            now = read_checkpoint(activations[number], layer, settings)
        alignment = fit_alignment(now.background, base.background) if base.background else None
        turned, turnings[number] = describe_direction(now, base, alignment, settings)
        found = {
            "drift": add_quality(turned, fitted.sel(layer=layer), locked.sel(layer=layer)),
            "spaces": [describe_space(now, base, alignment, frame, settings)],
            "direction_nulls": describe_nulls(now, base),
            "layers": describe_layers(fitted, locked),
            "quality": describe_quality(fitted, random, settings.ratings),
            **describe_maps(now, base, alignment, frame, settings),
        }
        for name, rows in found.items():
            rows = ({"checkpoint": number, "layer": layer, **row} for row in rows)
            tables.setdefault(name, []).extend(rows)
    del turnings[reference]
    finished = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    correct_families(finished["drift"], finished["spaces"], turnings)
    for name, table in finished.items():
        write_table(label_rows(table, checkpoints), out, name)


def read_checkpoint(activations: Path, layer: int, settings: Settings) -> Measured:
    """Fit a checkpoint's topic vectors at the locked layer, and meaningless ones beside them."""
    texts = read_texts(activations, layer)
    clean = clean_texts(texts, settings.confound_variance)
    stories = label_texts(clean.stories, clean.neutral)
    return Measured(
        fit_texts(clean, settings.estimator),
        spaces.shuffle_labels(stories, settings.estimator, settings.seed),
        float(np.linalg.norm(pick_fit(texts.stories).values, axis=-1).mean()),
        gather_background(texts),
    )


def settle_frame(base: Measured, settings: Settings) -> Frame:
    """Frame of the reference, in which every checkpoint is described."""
    topic_vector = base.fit.emotions.values
    dimensions, clusters = spaces.count_dimensions(base.vector), maps.count_clusters(base.vector)
    resampling = settings.halves, settings.seed
    return Frame(
        maps.find_axes(base.vector),
        dimensions,
        clusters,
        spaces.compare_halves(topic_vector, topic_vector, dimensions, *resampling).share,
        maps.find_cluster_floor(topic_vector, clusters, *resampling),
    )


def describe_direction(
    now: Measured, base: Measured, alignment: Alignment | None, settings: Settings
) -> tuple[list[dict[str, Any]], Turning]:
    """Rows of one checkpoint, emotions and controls, and the test of whether emotions turned."""
    controls = {
        name: compare_topics(fitted, base.fit.controls[name], now, base, alignment, settings)
        for name, fitted in now.fit.controls.items()
    }
    emotions = compare_topics(now.fit.emotions, base.fit.emotions, now, base, alignment, settings)
    beyond = exceed_controls(emotions.estimate, [c.estimate for c in controls.values()])
    rows = [
        {"kind": "emotion", "concept": concept, **row, "beyond_controls_p": p}
        for concept, row, p in zip(base.fit.emotions.labels, emotions.rows, beyond, strict=True)
    ]
    rows += [{"kind": "control", "concept": n, **c.rows[0]} for n, c in controls.items()]
    return rows, emotions.turning


class Comparison(NamedTuple):
    """Topic vectors of one contrast at a checkpoint and the reference, compared."""

    rows: list[dict[str, Any]]
    estimate: Jackknife
    turning: Turning


def compare_topics(
    fitted: TopicVectors,
    locked: TopicVectors,
    now: Measured,
    base: Measured,
    alignment: Alignment | None,
    settings: Settings,
) -> Comparison:
    """Compare the concepts of one contrast: cosines, lengths, and whether they turned."""
    draws, level = settings.statistics["draws"], settings.statistics["level"]
    rng = np.random.default_rng(settings.seed)
    grams = compute_grams(fitted.values, locked.values)
    whole = np.ones((1, len(fitted.topics)))
    weights = draw_weights(fitted.topics, draws, rng)
    cosine = summarise_draws(estimate_cosine(grams, weights), level)
    length = summarise_draws(estimate_norm_ratio(grams, weights), level)
    estimate = jackknife_cosine(grams)
    nothing = np.full(len(fitted.labels), np.nan)
    aligned = Jackknife(nothing, nothing, nothing)
    if alignment is not None:
        aligned = jackknife_cosine(
            compute_grams(align_vectors(fitted.values, alignment), locked.values)
        )
    turning = assess_turning(grams, draw_flips(len(fitted.topics), draws, rng))
    scale = base.norm / now.norm
    columns = {
        "cosine": estimate_cosine(grams, whole)[0],
        "low": cosine.low,
        "high": cosine.high,
        **_spread("corrected", estimate, level),
        **_spread("aligned", aligned, level),
        "norm_ratio": scale * estimate_norm_ratio(grams, whole)[0],
        "norm_low": scale * length.low,
        "norm_high": scale * length.high,
        "turned_p": turning.p,
    }
    table = pd.DataFrame(columns)
    return Comparison(table.to_dict("records"), estimate, turning)


def add_quality(
    rows: list[dict[str, Any]], fitted: xr.Dataset, locked: xr.Dataset
) -> list[dict[str, Any]]:
    """Rows of :func:`describe_direction` with noise floor, reliability and held-out AUROC."""
    added = []
    for row in rows:
        kind = row["kind"]
        ours, theirs = (d.sel({kind: row["concept"]}) for d in (fitted, locked))
        prefix = "" if kind == "emotion" else "control_"
        added.append(
            row
            | {
                "noise_floor": float(theirs[f"{prefix}noise_floor"]),
                "reliability": float(ours[f"{prefix}reliability"]),
                "auroc": float(ours["auroc"]) if kind == "emotion" else np.nan,
            }
        )
    return added


def describe_space(
    now: Measured,
    base: Measured,
    alignment: Alignment | None,
    frame: Frame,
    settings: Settings,
) -> dict[str, Any]:
    """Row of one checkpoint: overlap of the emotions' subspaces, agreement of their clusters, and
    the rotation of the whole space."""
    ours, theirs = now.fit.emotions.values, base.fit.emotions.values
    resampling = frame.dimensions, settings.halves, settings.seed
    between = spaces.compare_halves(ours, theirs, *resampling)
    unrelated = [
        spaces.compare_spans(spaces.span(a, frame.dimensions), spaces.span(b, frame.dimensions))
        for a, b in zip(now.shuffled, np.roll(base.shuffled, 1, 0), strict=True)
    ]
    row = {
        "dimensions": frame.dimensions,
        "overlap": between.share,
        "overlap_floor": frame.overlap_floor,
        "overlap_unrelated": float(np.mean([o.share for o in unrelated])),
        "angle": between.angle,
        "clusters": frame.clusters,
        "rand": maps.compare_clusters(now.vector, base.vector, frame.clusters),
        "rand_floor": frame.rand_floor,
    }
    if alignment is not None:
        aligned = spaces.compare_halves(align_vectors(ours, alignment), theirs, *resampling)
        row |= {
            "overlap_aligned": aligned.share,
            "congruence": alignment.before,
            "congruence_aligned": alignment.after,
            "shrinkage": alignment.shrinkage,
        }
    return row


def describe_nulls(now: Measured, base: Measured) -> list[dict[str, Any]]:
    """Rows of one checkpoint: quantiles of the cosines of meaningless vectors."""
    same, different = spaces.compare_shuffled(now.shuffled, base.shuffled)
    return [
        {"null": name}
        | {k: float(np.quantile(drawn, q)) for k, q in NULL_QUANTILES.items()}
        | {"directions": len(drawn)}
        for name, drawn in (("shuffled_labels", same), ("random_directions", different))
    ]


def describe_layers(fitted: xr.Dataset, locked: xr.Dataset) -> list[dict[str, Any]]:
    """Rows of one checkpoint over all layers, means over emotions.

    The corrected cosine is that of :func:`emodrift.drift.direction.correct_cosine`, over the two
    halves of the topics that are kept at every layer.
    """
    cosine = compute_cosine(fitted["vector"].values, locked["vector"].values)
    rows = []
    for i, layer in enumerate(fitted["layer"].values):
        ours, theirs = (d["half_vector"].sel(layer=layer).values for d in (fitted, locked))
        corrected = correct_cosine(compute_grams(ours, theirs), np.ones((1, 2)))[0]
        rows.append(
            {
                "layer": int(layer),
                "cosine": float(cosine[i].mean()),
                "corrected": float(np.nanmean(corrected))
                if np.isfinite(corrected).any()
                else np.nan,
                "auroc": float(fitted["auroc"].sel(layer=layer).mean()),
                "pair_accuracy": float(fitted["pair_accuracy"].sel(layer=layer)),
            }
        )
    return rows


def describe_maps(
    now: Measured,
    base: Measured,
    alignment: Alignment | None,
    frame: Frame,
    settings: Settings,
) -> dict[str, list[dict[str, Any]]]:
    """Rows of one checkpoint's maps by table: cosines, clusters, components and paths."""
    emotions = now.fit.emotions
    cosines = maps.map_cosines(now.vector)
    above = np.triu_indices(len(cosines), 1)
    clusters = maps.cluster_emotions(now.vector, frame.clusters)
    place = np.argsort(maps.cluster_emotions(base.vector, frame.clusters).order)
    rng = np.random.default_rng(settings.seed)
    weights = draw_weights(emotions.topics, settings.statistics["draws"], rng)
    level = settings.statistics["level"]
    rated = maps.rate_components(emotions.values, settings.ratings, weights, level, settings.seed)
    vector = now.vector if alignment is None else align_vectors(now.vector, alignment)
    scores = maps.place_emotions(vector, frame.axes, now.norm)
    return {
        "emotion_cosines": [
            {"emotion": emotions.labels[i], "other": emotions.labels[j], "cosine": cosines[i, j]}
            for i, j in zip(*above, strict=True)
        ],
        "emotion_clusters": [
            {"emotion": e, "cluster": int(clusters.label[i]), "place": int(place[i])}
            for i, e in enumerate(emotions.labels)
        ],
        "emotion_components": [
            {
                "component": k + 1,
                "share": rated.share[k],
                "share_low": rated.share_interval.low[k],
                "share_high": rated.share_interval.high[k],
            }
            | {
                f"{rating}{end}": values[i, k]
                for i, rating in enumerate(maps.RATINGS)
                for end, values in (
                    ("", rated.correlation),
                    ("_low", rated.correlation_interval.low),
                    ("_high", rated.correlation_interval.high),
                    ("_p", rated.p),
                )
            }
            for k in range(len(rated.share))
        ],
        "emotion_paths": [
            {"emotion": e}
            | {f"component_{k + 1}": score for k, score in enumerate(scores[i])}
            | dict(zip(maps.RATINGS, settings.ratings[:, i], strict=True))
            for i, e in enumerate(emotions.labels)
        ],
    }


def correct_families(
    drift: pd.DataFrame, space: pd.DataFrame, turnings: Mapping[int, Turning]
) -> None:
    """Add corrected p-values: over emotions × checkpoints, and over checkpoints.

    ``turned_by`` and ``beyond_controls_by``: Benjamini–Yekutieli. ``turned_max``: by the largest
    statistic of the family under the same flips (Westfall & Young 1993), which few topics do not
    bar from small values. ``any_turned_p`` of a checkpoint: by its largest statistic over emotions;
    ``any_turned_holm``: corrected over checkpoints.

    Parameters
    ----------
    drift, space
        Tables that the columns are added to.
    turnings
        Tests of the emotions at each checkpoint but the reference.
    """
    tested = drift["checkpoint"].isin(turnings)
    drift.loc[~tested, ["turned_p", "beyond_controls_p"]] = np.nan
    for column in ("turned", "beyond_controls"):
        for _, rows in drift.groupby("kind"):
            adjusted = correct_family(rows[f"{column}_p"].values, "by")
            drift.loc[rows.index, f"{column}_by"] = adjusted
    largest = {number: turning.statistic.max(1) for number, turning in turnings.items()}
    family = np.max(list(largest.values()), axis=0) if largest else np.zeros(1)
    drift["turned_max"] = space["any_turned_p"] = np.nan
    for number, turning in turnings.items():
        of_checkpoint = (drift["checkpoint"] == number) & (drift["kind"] == "emotion")
        reached = (family[1:, None] >= turning.statistic[0] - 1e-9).sum(0)
        drift.loc[of_checkpoint, "turned_max"] = (reached + 1) / len(family)
    for number, reached in largest.items():
        p = count_extremes(reached[0] - 1e-9, reached[1:])
        space.loc[space["checkpoint"] == number, "any_turned_p"] = p
    space["any_turned_holm"] = correct_family(space["any_turned_p"].values, "holm")


def _spread(name: str, estimate: Jackknife, level: float) -> dict[str, np.ndarray]:
    low, high = widen(estimate, level)
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}
