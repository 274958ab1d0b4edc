"""Direction and geometry: how the vectors of every checkpoint compare with the reference's.

Definitions are in docs/drift.md, code in :mod:`emodrift.drift.direction` (turning),
:mod:`~emodrift.drift.comparison` (its tables), :mod:`~emodrift.drift.alignment` (rotation of the
whole space), :mod:`~emodrift.drift.subspaces` (subspaces and nulls), :mod:`~emodrift.drift.maps`
(maps of the emotions) and :mod:`~emodrift.drift.quality`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift.alignment import fit_alignment
from emodrift.drift.checkpoint import Measured, Settings, align_checkpoint, read_checkpoint
from emodrift.drift.comparison import (
    Turned,
    add_quality,
    correct_drift,
    describe_direction,
    judge_any_turn,
    summarise_turning,
)
from emodrift.drift.direction import Turning, compute_grams, correct_cosine
from emodrift.drift.emotion_space import (
    Frame,
    describe_maps,
    describe_nulls,
    describe_space,
    settle_frame,
)
from emodrift.drift.maps import stack_ratings
from emodrift.drift.parts import Found, Take, find_anew, take_all
from emodrift.drift.quality import describe_quality
from emodrift.drift.table import GrowingTables, label_rows, write_table
from emodrift.measure.arrays import Readings
from emodrift.measure.directions import open_lock
from emodrift.stage import Stage
from emodrift.stats.measures import compute_cosine
from emodrift.stats.settings import Statistics
from emodrift.vectors.fitting import Recipe, open_vectors

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
    parts="reference",
)


class DriftParams(NamedTuple):
    """What the drift stage is asked.

    checkpoints: run, step, stage, tokens of each. reference: number of the reference among them.
    statistics, seed: config. fitting: how vectors are fitted. ratings: emotion -> valence and
    arousal, for those that are rated.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    reference: int
    statistics: Statistics
    seed: int
    fitting: Recipe
    ratings: Mapping[str, Mapping[str, float]]


class DriftInputs(NamedTuple):
    """Entries that the drift stage reads.

    vectors, activations: of each checkpoint. twin: vectors of the random-initialised twin.
    lock: the locked vectors.
    """

    vectors: Sequence[Path]
    activations: Sequence[Readings]
    twin: Path
    lock: Path


class Reference(NamedTuple):
    """What every checkpoint is compared with.

    measured: the reference at the locked layer. frame: what is settled there. locked, twin: vectors
    at all layers, of the reference and of the random-initialised twin.
    """

    measured: Measured
    frame: Frame
    locked: xr.Dataset
    twin: xr.Dataset


def measure_drift(
    params: DriftParams, inputs: DriftInputs, out: Path, take: Take = find_anew
) -> None:
    """Compare every checkpoint's vectors with the reference's.

    Writes at the locked layer ``drift.parquet`` (checkpoint, kind, concept),
    ``emotion_space.parquet`` (checkpoint), ``direction_nulls.parquet`` (checkpoint, null),
    ``emotion_cosines.parquet`` (checkpoint, pair of emotions), ``emotion_clusters.parquet`` and
    ``emotion_paths.parquet`` (checkpoint, emotion), ``emotion_components.parquet`` (checkpoint,
    component); and over all layers ``layers.parquet`` (checkpoint, layer) and ``quality.parquet``
    (checkpoint, layer, emotion). Columns are explained in docs/drift.md.

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

    @cache
    def settle() -> tuple[Reference, Settings]:
        return settle_reference(params, inputs, layer)

    def find(number: int) -> Found:
        reference, settings = settle()
        now = reference.measured
        if number != params.reference:
            now = read_checkpoint(inputs.activations[number], layer, settings)
        fitted = open_vectors(inputs.vectors[number])
        found, turning = compare_checkpoint(now, fitted, reference, layer, settings)
        for table in found.values():
            if "layer" not in table:
                table.insert(0, "layer", layer)
        return Found(found, summarise_turning(turning)._asdict())

    kept: dict[str, list[pd.DataFrame]] = {"drift": [], "emotion_space": []}
    turnings: dict[int, Turned] = {}
    with GrowingTables(params.checkpoints, out) as tables:
        for number, found in enumerate(take_all(len(params.checkpoints), find, take)):
            rows = dict(found.tables)
            for name, whole in kept.items():
                whole.append(pd.DataFrame(rows.pop(name)).assign(checkpoint=number))
            tables.add(number, rows)
            if number != params.reference:
                turnings[number] = Turned(**found.arrays)
    drift, space = (pd.concat(whole, ignore_index=True) for whole in kept.values())
    corrected = {
        "drift": correct_drift(drift, turnings),
        "emotion_space": judge_any_turn(space, turnings),
    }
    for name, table in corrected.items():
        write_table(label_rows(table, params.checkpoints), out, name)


def settle_reference(
    params: DriftParams, inputs: DriftInputs, layer: int
) -> tuple[Reference, Settings]:
    """What every checkpoint is compared with at a layer, and what all share."""
    number = params.reference
    locked = open_vectors(inputs.vectors[number])
    ratings = stack_ratings([str(e) for e in locked["emotion"].values], params.ratings)
    settings = Settings(params.statistics, params.seed, params.fitting, ratings)
    base = read_checkpoint(inputs.activations[number], layer, settings)
    frame = settle_frame(base, settings)
    return Reference(base, frame, locked, open_vectors(inputs.twin)), settings


def compare_checkpoint(
    now: Measured, fitted: xr.Dataset, reference: Reference, layer: int, settings: Settings
) -> tuple[dict[str, pd.DataFrame], Turning]:
    """Rows of one checkpoint by table, and the test of whether its emotions turned.

    Parameters
    ----------
    now, fitted
        The checkpoint at the locked layer, and its vectors at all layers.
    reference
        What it is compared with.
    layer
        The locked layer.
    settings
        What all checkpoints share.
    """
    base, frame, locked, twin = reference
    alignment = aligned = None
    if now.background is not None and base.background is not None:
        alignment = fit_alignment(now.background, base.background)
        aligned = align_checkpoint(now, alignment)
    turned, turning = describe_direction(now, base, aligned, settings)
    return {
        "drift": add_quality(turned, fitted.sel(layer=layer), locked.sel(layer=layer)),
        "emotion_space": describe_space(now, base, aligned, alignment, frame, settings),
        "direction_nulls": describe_nulls(now, base),
        "layers": describe_layers(fitted, locked),
        "quality": describe_quality(fitted, twin, settings.ratings),
        **describe_maps(now, aligned or now, frame, settings),
    }, turning


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
