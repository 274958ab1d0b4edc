"""Exact effects with paired draws: what bundles do to every metric, and the effect matrix.

Slopes at strength 0 from gradients, in log-odds and, times p(1 − p), in probability: on all prompts
and along any direction, so that nulls cost a matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import expit

from emodrift.drift.effect_matrix import measure_matrix
from emodrift.drift.log_odds import compute_log_odds
from emodrift.drift.paired import (
    Component,
    NullDirections,
    PromptDraws,
    Reading,
    draw_prompts,
    gather_nulls,
)
from emodrift.drift.slopes import select_targets

PROPERTIES = ("rank", "similarity", "size")


class Effects(NamedTuple):
    """A metric's gradient (prompt, hidden) in log-odds per residual norm, its log-odds and its
    probability (prompt,); NaN on prompts of other suites."""

    gradient: np.ndarray
    odds: np.ndarray
    probability: np.ndarray


class EffectDraws(NamedTuple):
    """What every checkpoint is asked, alike: prompts and weights, locked directions of the emotions
    (emotion, hidden) and members of the bundles, metrics, components, and null counterparts of each
    bundle and, under the name ``emotions``, of all emotions together."""

    prompts: PromptDraws
    directions: np.ndarray
    members: dict[str, list[int]]
    metrics: Mapping[str, Mapping[str, Any]]
    components: list[Component]
    nulls: dict[str, NullDirections]


def plan_draws(
    locked: xr.Dataset,
    bundles: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
    scores: xr.DataArray,
    draws: int,
    seed: int,
) -> EffectDraws:
    """What is drawn at every checkpoint.

    Parameters
    ----------
    locked, bundles, metrics
        Lock, bundles and behaviour metrics.
    scores
        (prompt, reply_class) of any checkpoint, for its prompts.
    draws, seed
        Of the bootstrap.
    """
    prompts = draw_prompts(scores, draws, seed)
    of_emotion = locked["kind"].values == "emotion"
    names = [str(n) for n in locked["name"].values[of_emotion]]
    sizes = {name: len(members) for name, members in bundles.items()} | {"emotions": len(names)}
    return EffectDraws(
        prompts,
        locked["direction"].values[of_emotion],
        {bundle: [names.index(m) for m in members] for bundle, members in bundles.items()},
        metrics,
        _list_components(prompts, bundles, metrics),
        {name: gather_nulls(locked, size, seed) for name, size in sizes.items()},
    )


def _list_components(
    prompts: PromptDraws,
    bundles: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
) -> list[Component]:
    quantities = {
        **{
            f"{kind}/{bundle}/{name}": metric["suite"]
            for kind in ("slope", "effect")
            for bundle in bundles
            for name, metric in metrics.items()
        },
        **{
            f"{kind}/{name}": metric["suite"]
            for kind in ("odds", "probability")
            for name, metric in metrics.items()
        },
    }
    means = [
        Component(f"{quantity}/{split}", quantity, split, suite)
        for quantity, suite in quantities.items()
        for split in prompts.list_splits(suite)
    ]
    return means + [Component(f"effect_matrix/{name}") for name in PROPERTIES]


def read_effects(asked: EffectDraws, gradients: xr.Dataset, layer: int) -> Reading:
    """Values, draws and nulls of one checkpoint; see :class:`emodrift.drift.paired.Reading`.

    Parameters
    ----------
    gradients
        See :func:`emodrift.measure.gradients.measure_gradients`.
    layer
        The locked layer.
    """
    effects = {n: _read_metric(gradients, m, layer) for n, m in asked.metrics.items()}
    values: dict[str, np.ndarray] = {}
    profile = []
    for name, (gradient, odds, probability) in effects.items():
        slopes = asked.directions @ gradient.T
        yielding = probability * (1 - probability)
        values |= {f"odds/{name}": odds, f"probability/{name}": probability}
        for bundle, members in asked.members.items():
            values[f"slope/{bundle}/{name}"] = slopes[members].mean(0)
            values[f"effect/{bundle}/{name}"] = slopes[members].mean(0) * yielding
        of_suite = asked.prompts.pick(asked.metrics[name]["suite"], "all")
        profile.append(asked.prompts.average(slopes * yielding, of_suite).T)
    matrix = measure_matrix(np.stack(profile, -1))
    draws = {
        c.name: asked.prompts.draw(c, values[c.quantity])
        if c.quantity
        else matrix[c.name.rpartition("/")[2]]
        for c in asked.components
    }
    return Reading(values, draws, _read_nulls(asked, effects))


def _read_metric(gradients: xr.Dataset, metric: Mapping[str, Any], layer: int) -> Effects:
    scores = gradients["score"]
    odds = compute_log_odds(scores, metric["toward"])
    of_suite = scores["suite"].values == metric["suite"]
    at_layer = gradients["gradient"].sel(layer=layer)
    labels = xr.Dataset(coords={"suite": at_layer["target_suite"], "toward": at_layer["toward"]})
    chosen = select_targets(labels, metric)
    place = {name: i for i, name in enumerate(scores["id"].values)}
    rows = [place[name] for name in at_layer["target_id"].values[chosen]]
    gradient = np.full((len(odds), at_layer.sizes["hidden"]), np.nan, np.float32)
    gradient[rows] = at_layer.values[chosen]
    odds = np.where(of_suite, odds, np.nan)
    return Effects(gradient, odds, expit(odds))


def _read_nulls(asked: EffectDraws, effects: Mapping[str, Effects]) -> dict[str, np.ndarray]:
    nulls: dict[str, np.ndarray] = {}
    means = []
    for name, (gradient, _, probability) in effects.items():
        yielding = (probability * (1 - probability))[:, None]
        units = {"slope": gradient, "effect": gradient * yielding}
        whole = np.isfinite(probability)
        means.append(units["effect"][whole].mean(0))
        for component in asked.components:
            kind, _, rest = component.quantity.partition("/")
            bundle, _, metric = rest.partition("/")
            if kind in units and metric == name:
                share = asked.prompts.contrast(component)[whole]
                along = asked.nulls[bundle].values.mean(1)
                nulls[component.name] = along @ (share @ units[kind][whole])
    profiles = asked.nulls["emotions"].values @ np.stack(means, -1)
    return nulls | {
        f"effect_matrix/{name}": value for name, value in measure_matrix(profiles).items()
    }
