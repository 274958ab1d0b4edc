"""Locking: the reference's vectors at one layer, which every later checkpoint is asked about."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from emodrift.errors import EmodriftError
from emodrift.measure.arrays import Readings, open_gradients, save_array
from emodrift.measure.names import BUNDLES, LAYER, LOCK
from emodrift.stats.corrections import count_extremes
from emodrift.stats.measures import normalise
from emodrift.vectors.confounds import find_confounds
from emodrift.vectors.fitting import Texts, clean_texts, open_vectors, read_texts
from emodrift.vectors.nulls import (
    draw_controls,
    draw_isotropic,
    draw_matched,
    draw_shuffled,
    draw_slopes,
)

TYPICAL_DEPTH = 2 / 3
STEERABLE_P = 0.05


class LockParams(NamedTuple):
    """What the lock stage is asked.

    layer: a layer, or ``auto``. bundles: named groups of emotions. confound_variance: config,
    `vectors`; null directions have the same confounds projected out. random_directions: how many
    are steered beside the emotions. nulls: null directions of each kind that slopes are held
    against. seed: of the random directions.
    """

    layer: str | int
    bundles: Mapping[str, Sequence[str]]
    confound_variance: float
    random_directions: int
    nulls: int
    seed: int


def lock_vectors(params: LockParams, vectors: Path, activations: Readings, out: Path) -> None:
    """Choose the layer at the reference and write its unit vectors, with null directions beside.

    Writes ``lock.zarr``: ``direction`` (direction, hidden) with coordinates ``name`` and ``kind``
    (emotion or random), ``null_direction`` (null, hidden) with ``null_kind``, ``center`` (hidden),
    the layer, and what each layer was judged by; and ``bundles.json``.

    Parameters
    ----------
    params
        What is asked.
    vectors, activations
        Entries of the reference.
    out
        Directory to write to.
    """
    layer, nulls = params.layer, params.nulls
    rng = np.random.default_rng(params.seed)
    fitted = open_vectors(vectors)
    gradients = open_gradients(activations)
    judged = judge_layers(fitted, average_gradients(gradients), nulls, rng)
    chosen = choose_layer(judged) if layer == "auto" else int(layer)
    at = judged.sel(layer=chosen)
    logging.info(
        "locked at layer %d: held-out AUROC %.3f, pair accuracy %.3f, effect %.3f "
        "against %.3f of random directions",
        *(chosen, at["auroc"], at["pair_accuracy"], at["effect"], at["null_effect"]),
    )
    emotion = fitted["vector"].sel(layer=chosen).values
    if not np.linalg.norm(emotion, axis=-1).all():
        raise EmodriftError(
            f"vectors.layer {chosen}: an emotion vector is zero there; with pooling at the reply "
            "point layer 0 is the same token in every story: choose a later layer"
        )
    random = draw_isotropic(emotion.shape[-1], params.random_directions, rng)
    texts = read_texts(activations, chosen)
    controls = pick_controls(fitted, chosen)
    null = draw_nulls(texts, controls, params.confound_variance, nulls, rng)
    names = [*map(str, fitted["emotion"].values), *(f"random-{i}" for i in range(len(random)))]
    kinds = ["emotion"] * len(emotion) + ["random"] * len(random)
    dataset = xr.Dataset(
        {
            "direction": (
                ("direction", "hidden"),
                np.concatenate([normalise(emotion), random]).astype(np.float32),
            ),
            "null_direction": (
                ("null", "hidden"),
                np.concatenate(list(null.values())).astype(np.float32),
            ),
            "center": fitted["center"].sel(layer=chosen, drop=True),
            **judged.rename(layer="judged_layer"),
        },
        coords={
            "name": ("direction", np.array(names, dtype=object)),
            "kind": ("direction", np.array(kinds, dtype=object)),
            "null_kind": ("null", np.repeat(np.array(list(null), dtype=object), nulls)),
            "layer": chosen,
        },
    )
    save_array(dataset, out / LOCK)
    bundles = {name: list(emotions) for name, emotions in params.bundles.items()}
    (out / BUNDLES).write_text(json.dumps(bundles) + "\n")
    (out / LAYER).write_text(json.dumps({"layer": chosen}) + "\n")


def draw_nulls(
    texts: Texts,
    controls: np.ndarray,
    confound_variance: float,
    number: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Null directions (null, hidden) of each kind, fitted like the emotions'.

    Parameters
    ----------
    texts
        Activations at the locked layer.
    controls
        (control, hidden) vectors of control contrasts; where there are none, no null is drawn of
        them.
    confound_variance
        Config, `vectors`.
    number
        Of each kind.
    rng
        Source of randomness.
    """
    stories = clean_texts(texts, find_confounds(texts.neutral, confound_variance)).stories
    labels, topics = stories["label"].values, stories["topic"].values
    nulls = {
        "isotropic": draw_isotropic(stories.sizes["hidden"], number, rng),
        "matched": draw_matched(stories.values, labels, number, rng),
        "shuffled": draw_shuffled(stories.values, labels, topics, number, rng),
    }
    return nulls | ({"control": draw_controls(controls, number, rng)} if len(controls) else {})


def pick_controls(fitted: xr.Dataset, layer: int) -> np.ndarray:
    """Vectors of control contrasts at a layer, (control, hidden)."""
    if "control_vector" not in fitted:
        return np.zeros((0, fitted.sizes["hidden"]), np.float32)
    return fitted["control_vector"].sel(layer=layer).dropna("control").values


def average_gradients(gradients: xr.Dataset) -> xr.DataArray:
    """Mean gradient of each metric, (metric, layer, hidden); a metric is a suite and a class."""
    suites, toward = gradients["target_suite"].values, gradients["toward"].values
    cells = sorted(set(zip(suites, toward, strict=True)))
    means = [
        gradients["gradient"].values[(suites == suite) & (toward == name)].mean(0)
        for suite, name in cells
    ]
    return xr.DataArray(
        np.stack(means), dims=("metric", "layer", "hidden"), coords={"layer": gradients["layer"]}
    )


def judge_layers(
    fitted: xr.Dataset, gradients: xr.DataArray, nulls: int, rng: np.random.Generator
) -> xr.Dataset:
    """Criteria of each layer: how well it discriminates emotions, and what steering there does.

    Parameters
    ----------
    fitted
        Dataset of the reference's vectors.
    gradients
        (metric, layer, hidden).
    nulls
        Random sets of as many directions as there are emotions.
    rng
        Source of randomness.

    Returns
    -------
    xr.Dataset
        Over ``layer``: ``auroc``, ``pair_accuracy``, ``effect`` (root mean square slope of the
        metrics along the emotions), ``null_effect`` (its mean along random directions) and
        ``p`` of the effect.
    """
    vector = fitted["vector"].values
    unit = normalise(vector)
    layers = range(vector.shape[1])
    along = [gradients.values[:, k] @ unit[:, k].T for k in layers]
    chance = [draw_slopes(gradients.values[:, k], (nulls, len(unit)), rng) for k in layers]
    effect = np.stack([np.sqrt((slopes**2).mean()) for slopes in along])
    null = np.stack([np.sqrt((slopes**2).mean((1, 2))) for slopes in chance], axis=1)
    return xr.Dataset(
        {
            "auroc": fitted["auroc"].mean("emotion"),
            "pair_accuracy": fitted["pair_accuracy"],
            "effect": ("layer", effect),
            "null_effect": ("layer", null.mean(0)),
            "p": ("layer", count_extremes(effect, null)),
        },
        coords={"layer": fitted["layer"].values},
    )


def choose_layer(judged: xr.Dataset) -> int:
    """Layer that discriminates emotions best on held-out stories, where steering beats chance.

    On minimal pairs where there are any, else by mean AUROC; among layers that a block follows and
    along whose vectors the metrics move more than along random directions (p ≤ .05; where no layer
    does, among all). Near ties (within .005) go to the one nearest two thirds of the depth.

    Parameters
    ----------
    judged
        See :func:`judge_layers`.
    """
    last = int(judged["layer"].max())
    pairs = judged["pair_accuracy"]
    score = pairs if bool(pairs.notnull().all()) else judged["auroc"]
    between = score.sel(layer=slice(1, last - 1))
    if between.sizes["layer"] == 0:
        return last
    steerable = between.where(judged["p"] <= STEERABLE_P, drop=True)
    if steerable.sizes["layer"] == 0:
        logging.warning("steering beats random directions at no layer; all are considered")
        steerable = between
    close = steerable.where(steerable >= steerable.max() - 0.005, drop=True)["layer"].values
    return int(min(close, key=lambda k: abs(k - TYPICAL_DEPTH * last)))
