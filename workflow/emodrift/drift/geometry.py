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

from emodrift.drift.alignment import fit_alignment
from emodrift.drift.atlas import describe_maps, describe_nulls, describe_space, settle_frame
from emodrift.drift.checkpoint import (
    Measured,
    Settings,
    align_checkpoint,
    read_checkpoint,
    share_confounds,
)
from emodrift.drift.direction import (
    Grams,
    Jackknife,
    Turning,
    assess_turning,
    compute_grams,
    correct_cosine,
    draw_flips,
    estimate_cosine,
    exceed_controls,
    jackknife_cosine,
    jackknife_length,
    widen,
)
from emodrift.drift.maps import stack_ratings
from emodrift.drift.quality import describe_quality
from emodrift.drift.table import label_rows, write_table
from emodrift.measure.directions import open_lock
from emodrift.stage import Stage
from emodrift.stats.bootstrap import count_freedom, draw_weights, summarise_draws
from emodrift.stats.corrections import correct_family, count_extremes
from emodrift.stats.measures import compute_cosine
from emodrift.vectors.fitting import TopicVectors, open_vectors

STAGE = Stage(
    "drift",
    "measure_drift",
    reads={
        "vectors": "vectors",
        "activations": ["stories", "neutral", "controls"],
        "twin": "twin",
        "lock": "lock",
    },
    settings=["checkpoints", "reference", "statistics", "seed", "fitting", "ratings"],
)


class Comparison(NamedTuple):
    """Topic vectors of one contrast at a checkpoint and the reference, compared.

    table: a row for each concept. estimate, turning: corrected cosines without the confounds of
    both, and whether these say that the concepts turned.
    """

    table: pd.DataFrame
    estimate: Jackknife
    turning: Turning


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
        stack_ratings(emotions, ratings),
    )
    base = read_checkpoint(activations[reference], layer, settings)
    frame = settle_frame(base, settings)
    tables: dict[str, list[pd.DataFrame]] = {}
    turnings: dict[int, Turning] = {}
    for number, entry in enumerate(vectors):
        fitted = open_vectors(entry)
        now = base
        if number != reference:
            now = read_checkpoint(activations[number], layer, settings)
        alignment = fit_alignment(now.background, base.background) if base.background else None
        aligned = align_checkpoint(now, alignment) if alignment else None
        turned, turnings[number] = describe_direction(now, base, aligned, settings)
        found = {
            "drift": add_quality(turned, fitted.sel(layer=layer), locked.sel(layer=layer)),
            "spaces": describe_space(now, base, aligned, alignment, frame, settings),
            "direction_nulls": describe_nulls(now, base),
            "layers": describe_layers(fitted, locked),
            "quality": describe_quality(fitted, random, settings.ratings),
            **describe_maps(now, aligned or now, frame, settings),
        }
        for name, table in found.items():
            place = {"checkpoint": number} | ({} if "layer" in table else {"layer": layer})
            tables.setdefault(name, []).append(pd.DataFrame(place, index=table.index).join(table))
    del turnings[reference]
    finished = {name: pd.concat(found, ignore_index=True) for name, found in tables.items()}
    correct_families(finished["drift"], finished["spaces"], turnings)
    for name, table in finished.items():
        write_table(label_rows(table, checkpoints), out, name)


def describe_direction(
    now: Measured, base: Measured, aligned: Measured | None, settings: Settings
) -> tuple[pd.DataFrame, Turning]:
    """Rows of one checkpoint, emotions and controls, and the test of whether emotions turned.

    Vectors are compared as they are (``cosine``, ``corrected``, ``norm_ratio``), in the reference's
    frame (``aligned``), and with the confounds of both checkpoints projected out of both
    (``same_confounds``, and the tests).

    Parameters
    ----------
    now, base
        The checkpoint and the reference.
    aligned
        The checkpoint in the reference's frame; None where there is nothing to align by.
    settings
        Bootstrap.
    """
    pure = share_confounds(now, base)
    compared = {
        name: compare_contrast(name, now, base, aligned, pure, settings)
        for name in (None, *base.fit.controls)
    }
    emotions = compared.pop(None)
    controls = [c.estimate for c in compared.values()]
    tables = [
        emotions.table.assign(
            kind="emotion",
            concept=base.fit.emotions.labels,
            beyond_controls_p=exceed_controls(emotions.estimate, controls),
        ),
        *(c.table.assign(kind="control", concept=name) for name, c in compared.items()),
    ]
    return pd.concat(tables, ignore_index=True), emotions.turning


def compare_contrast(
    control: str | None,
    now: Measured,
    base: Measured,
    aligned: Measured | None,
    pure: tuple[Measured, Measured],
    settings: Settings,
) -> Comparison:
    """Compare the concepts of one contrast at a checkpoint and the reference.

    Parameters
    ----------
    control
        Set of controls; None for the emotions.
    now, base, aligned, settings
        As in :func:`describe_direction`.
    pure
        Both checkpoints without the confounds of both.
    """
    draws, level = settings.statistics["draws"], settings.statistics["level"]
    rng = np.random.default_rng(settings.seed)
    locked = _pick_contrast(base, control)
    grams = _multiply(control, now, base)
    pure_grams = _multiply(control, *pure)
    weights = draw_weights(locked.topics, draws, rng)
    scale = base.norm / now.norm
    freedom = count_freedom(locked.topics)
    cosine = summarise_draws(estimate_cosine(grams, weights), level, freedom, (-1, 1))
    length = jackknife_length(grams)
    shortest, longest = widen(length, level)
    whole = np.ones((1, len(locked.topics)))
    unknown = Jackknife(*np.full((3, len(locked.labels)), np.nan))
    turned = jackknife_cosine(_multiply(control, aligned, base)) if aligned else unknown
    estimate = jackknife_cosine(pure_grams)
    turning = assess_turning(pure_grams, draw_flips(len(locked.topics), draws, rng))
    table = pd.DataFrame(
        {
            "cosine": estimate_cosine(grams, whole)[0],
            "low": cosine.low,
            "high": cosine.high,
            **_spread("corrected", jackknife_cosine(grams), level),
            **_spread("aligned", turned, level),
            **_spread("same_confounds", estimate, level),
            "norm_ratio": scale * np.exp(length.value),
            "norm_low": scale * np.exp(shortest),
            "norm_high": scale * np.exp(longest),
            "turned_p": turning.p,
        }
    )
    return Comparison(table, estimate, turning)


def add_quality(table: pd.DataFrame, fitted: xr.Dataset, locked: xr.Dataset) -> pd.DataFrame:
    """Table of :func:`describe_direction` with noise floor, reliability and held-out AUROC."""
    added = []
    for kind, rows in table.groupby("kind", sort=False):
        ours, theirs = (d.sel({kind: list(rows["concept"])}) for d in (fitted, locked))
        prefix = "" if kind == "emotion" else "control_"
        added.append(
            rows.assign(
                noise_floor=theirs[f"{prefix}noise_floor"].values,
                reliability=ours[f"{prefix}reliability"].values,
                auroc=ours["auroc"].values if kind == "emotion" else np.nan,
            )
        )
    return pd.concat(added)


def describe_layers(fitted: xr.Dataset, locked: xr.Dataset) -> pd.DataFrame:
    """Rows of one checkpoint over all layers, means over emotions.

    The corrected cosine is that of :func:`emodrift.drift.direction.correct_cosine`, over the two
    halves of the topics that are kept at every layer.
    """
    cosine = compute_cosine(fitted["vector"].values, locked["vector"].values)
    corrected = []
    for layer in fitted["layer"].values:
        ours, theirs = (d["half_vector"].sel(layer=layer).values for d in (fitted, locked))
        of_layer = correct_cosine(compute_grams(ours, theirs), np.ones((1, 2)))[0]
        corrected.append(pd.Series(of_layer).mean())
    return pd.DataFrame(
        {
            "layer": fitted["layer"].values,
            "cosine": cosine.mean(0),
            "corrected": corrected,
            "auroc": fitted["auroc"].mean("emotion").values,
            "pair_accuracy": fitted["pair_accuracy"].values,
        }
    )


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
        p = count_extremes(turning.statistic[0] - 1e-9, family[1:, None])
        drift.loc[of_checkpoint, "turned_max"] = np.where(np.isnan(turning.p), np.nan, p)
    for number, reached in largest.items():
        p = count_extremes(reached[0] - 1e-9, reached[1:])
        space.loc[space["checkpoint"] == number, "any_turned_p"] = p
    space["any_turned_holm"] = correct_family(space["any_turned_p"].values, "holm")


def _multiply(control: str | None, now: Measured, base: Measured) -> Grams:
    return compute_grams(*(_pick_contrast(m, control).values for m in (now, base)))


def _pick_contrast(measured: Measured, control: str | None) -> TopicVectors:
    return measured.fit.controls[control] if control else measured.fit.emotions


def _spread(name: str, estimate: Jackknife, level: float) -> dict[str, np.ndarray]:
    low, high = widen(estimate, level)
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}
