"""Causal effect: what adding a locked direction does to replies.

From gradients at strength 0, on every prompt and along any number of directions; and from finite
steering at every strength, on a spread of prompts. Always beside the same number for directions
that stand for no emotion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift.effect_draws import plan_draws, read_effects
from emodrift.drift.effect_matrix import measure_matrix, stack_matrix
from emodrift.drift.log_odds import compute_all_log_odds, compute_probabilities
from emodrift.drift.modularity import (
    measure_entanglement,
    measure_modularity,
    name_metrics,
    standardise_effects,
)
from emodrift.drift.paired import GrowingPairs, name_arrays
from emodrift.drift.parts import Found, Take, find_anew, write_found
from emodrift.drift.question import Question
from emodrift.drift.slopes import (
    compare_slopes,
    compute_slopes,
    fit_slopes,
    join_strengths,
    measure_monotonicity,
    select_targets,
)
from emodrift.drift.stability import measure_stability
from emodrift.measure.arrays import Readings, open_responses, open_scores, read_gradients
from emodrift.measure.directions import open_bundles, open_discovered, open_lock
from emodrift.stage import Stage
from emodrift.stats.bootstrap import Resampling, summarise_draws
from emodrift.stats.corrections import correct_family, count_extremes
from emodrift.stats.settings import Statistics

STAGE = Stage(
    "coupling",
    "measure_coupling",
    reads={
        "activations": ["gradients"],
        "responses": "responses",
        "lock": "lock",
        "discovery": "discovery?",
    },
    settings=["checkpoints", "statistics", "seed", "metrics", "steered"],
    parts="alone",
)

Rows = list[dict[str, Any]]
UNITS = {"log_odds": compute_all_log_odds, "probability": compute_probabilities}


class CouplingParams(NamedTuple):
    """What the coupling stage is asked.

    checkpoints: run, step, stage, tokens of each. statistics, seed: config. metrics: behaviour
    metrics by name. steered: numbers of the checkpoints that were.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    statistics: Statistics
    seed: int
    metrics: Mapping[str, Mapping[str, Any]]
    steered: Sequence[int]


class CouplingInputs(NamedTuple):
    """Entries that the coupling stage reads.

    activations: gradients of each checkpoint. responses: of each steered one. lock: the locked
    vectors. discovery: the bundle that was found at the reference, where it was looked for.
    """

    activations: Sequence[Readings]
    responses: Sequence[Path]
    lock: Path
    discovery: Path | None = None


def measure_coupling(
    params: CouplingParams, inputs: CouplingInputs, out: Path, take: Take = find_anew
) -> None:
    """Turn gradients and steered responses into effects on the metrics.

    Writes, each with the checkpoint; finite effects of steered ones alone:

    - ``effects.parquet`` (concept, metric): slope at strength 0 on all prompts with interval,
      p-values against null directions of each kind, corrected over the checkpoint, stability;
    - ``coupling.parquet`` (concept, metric, split): finite slope in log-odds and probability with
      intervals, the random directions' standard deviation, sign consistency, monotonicity;
    - ``dose.parquet`` (concept, metric, strength): change from strength 0, with intervals;
    - ``agreement.parquet`` (suite, toward, strength): exact against finite slopes;
    - ``modularity.parquet`` (concept): modularity and entanglement, with intervals and nulls;
    - ``effect_matrix.parquet``: rank, similarity and size of the matrix of finite effects;
    - ``behaviour.parquet`` (metric, split): unsteered probability with interval;
    - ``paired.zarr``: exact effects and probabilities with paired draws, see
      :class:`emodrift.drift.paired.GrowingPairs`.

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    take
        Gives what was found at a checkpoint before.
    """
    locked = open_lock(inputs.lock)
    bundles = open_bundles(inputs.lock) | open_discovered(inputs.discovery)
    statistics, seed, metrics = params.statistics, params.seed, params.metrics
    question = Question(locked, bundles, metrics, statistics, seed)
    scores = open_scores(inputs.activations[0])
    asked = plan_draws(locked, bundles, metrics, scores, statistics.draws, seed)
    responses = dict(zip(params.steered, inputs.responses, strict=True))

    def find(number: int) -> Found:
        gradients = read_gradients(inputs.activations[number], question.layer)
        exact = compute_slopes(gradients, locked["direction"].values, question.layer)
        tables = {
            "effects": describe_effects(question, exact, gradients),
            "modularity": describe_modularity(question, exact, gradients),
            "behaviour": describe_behaviour(question, gradients["score"]),
        }
        if number in responses:
            scores = join_strengths(open_responses(responses[number]), gradients["score"])
            tables |= describe_steering(question, exact, scores)
        return Found(tables, name_arrays(read_effects(asked, gradients, question.layer)))

    kinds = asked.nulls["emotions"].kinds
    with GrowingPairs(asked.components, asked.prompts, kinds, out) as pairs:
        write_found(params.checkpoints, find, take, out, pairs)


def describe_steering(
    question: Question, exact: xr.DataArray, scores: xr.DataArray
) -> dict[str, Rows]:
    """Tables of one checkpoint's finite effects, by name."""
    probability = fit_slopes(scores, compute_probabilities)
    return {
        "coupling": describe_finite(question, scores),
        "dose": describe_dose(question, scores),
        "agreement": compare_slopes(exact, scores).to_dict("records"),
        "effect_matrix": [describe_matrix(question, probability)],
    }


def add_bundles(
    values: np.ndarray, names: Sequence[str], bundles: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Emotions' effects (emotion, ...) with each bundle's mean behind them."""
    means = [values[[names.index(m) for m in members]].mean(0) for members in bundles.values()]
    return np.concatenate([values, np.stack(means)]) if means else values


def average_targets(
    question: Question, exact: xr.DataArray, metric: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, Resampling]:
    """Slopes of a metric (concept, target), families (target,), and their bootstrap."""
    chosen = select_targets(exact, metric)
    emotions = exact.values[question.kinds == "emotion"][:, chosen]
    slopes = add_bundles(emotions, question.emotions, question.bundles)
    families, splits = exact["family"].values[chosen], exact["split"].values[chosen]
    return slopes, families, question.draw(families, splits)


def draw_null_slopes(question: Question, gradient: np.ndarray) -> dict[str, np.ndarray]:
    """Slopes of null directions of each kind, (null, concept); of a bundle the mean of as many.

    Parameters
    ----------
    gradient
        (hidden,) a metric's mean gradient at the locked layer.
    """
    slopes = question.locked["null_direction"].values @ gradient
    kinds = question.locked["null_kind"].values
    rng = np.random.default_rng(question.seed)
    sizes = [1] * len(question.emotions) + [len(m) for m in question.bundles.values()]
    nulls = {}
    for kind in dict.fromkeys(kinds):
        of_kind = slopes[kinds == kind]
        means = {n: rng.choice(of_kind, (len(of_kind), n)).mean(1) for n in set(sizes) - {1}}
        nulls[str(kind)] = np.stack([({1: of_kind} | means)[n] for n in sizes], axis=1)
    return nulls


def describe_effects(question: Question, exact: xr.DataArray, gradients: xr.Dataset) -> Rows:
    """Rows (concept, metric) of slopes at strength 0."""
    at_layer = gradients["gradient"].sel(layer=question.layer).values
    named = name_metrics(question.concepts, question.bundles, question.metrics)
    rows: Rows = []
    for column, (name, metric) in enumerate(question.metrics.items()):
        slopes, families, drawn = average_targets(question, exact, metric)
        value = slopes.mean(1)
        nulls = draw_null_slopes(question, at_layer[select_targets(exact, metric)].mean(0))
        p = {kind: count_extremes(np.abs(value), np.abs(null)) for kind, null in nulls.items()}
        steady = measure_stability(slopes, families, question.statistics.level)
        bounds = question.bound("slope", value, drawn.average(slopes), drawn.freedom)
        for i, estimate in enumerate(bounds):
            rows.append(
                {"concept": question.concepts[i], "metric": name}
                | estimate
                | {
                    "bundle": i >= len(question.emotions),
                    "named": bool(named[i, column]),
                    "stability": float(steady.value[i]),
                    "stability_low": float(steady.low[i]),
                    "stability_high": float(steady.high[i]),
                    "family_sign_consistency": float(steady.sign_consistency[i]),
                }
                | {f"null_sd_{kind}": float(null[:, i].std()) for kind, null in nulls.items()}
                | {f"p_{kind}": float(values[i]) for kind, values in p.items()}
            )
    table = pd.DataFrame(rows)
    for kind in nulls:
        table[f"q_{kind}"] = correct_family(table[f"p_{kind}"].values, "by")
    return table.to_dict("records")


def describe_finite(question: Question, scores: xr.DataArray) -> Rows:
    """Rows (concept, metric, split) of finite slopes."""
    slopes = {unit: fit_slopes(scores, convert) for unit, convert in UNITS.items()}
    odds = compute_all_log_odds(scores)
    suites, splits = scores["suite"].values, scores["split"].values
    rows: Rows = []
    for name, metric in question.metrics.items():
        of_suite = suites == metric["suite"]
        for split in ("all", *sorted(set(splits[of_suite]))):
            chosen = of_suite & ((splits == split) | (split == "all"))
            drawn = question.draw(scores["family"].values[chosen], splits[chosen])
            columns: list[dict[str, float]] = [{} for _ in question.concepts]
            for unit, array in slopes.items():
                part = array.sel(reply_class=metric["toward"]).values[:, chosen]
                ours = _add_bundles(question, part)
                resampled = drawn.average(ours)
                null = float(part[question.kinds == "random"].mean(1).std(ddof=1))
                bounds = question.bound(unit, ours.mean(1), resampled, drawn.freedom)
                for i, estimate in enumerate(bounds):
                    columns[i] |= estimate | {f"{unit}_null_sd": null}
                if unit == "log_odds":
                    signs = np.sign(ours) == np.sign(ours.mean(1, keepdims=True))
            curve = _add_bundles(
                question, odds.sel(reply_class=metric["toward"]).values[..., chosen]
            )
            monotonicity = measure_monotonicity(curve.mean(-1))
            rows += [
                {"concept": concept, "metric": name, "split": str(split)}
                | {
                    "sign_consistency": float(signs[i].mean()),
                    "monotonicity": float(monotonicity[i]),
                }
                | columns[i]
                for i, concept in enumerate(question.concepts)
            ]
    return rows


def describe_dose(question: Question, scores: xr.DataArray) -> Rows:
    """Rows (concept, metric, strength) of the change from strength 0."""
    rows: Rows = []
    changes = {}
    for unit, convert in UNITS.items():
        converted = convert(scores)
        changes[unit] = converted - converted.sel(strength=0.0)
    suites, splits = scores["suite"].values, scores["split"].values
    for name, metric in question.metrics.items():
        chosen = suites == metric["suite"]
        drawn = question.draw(scores["family"].values[chosen], splits[chosen])
        for k, strength in enumerate(scores["strength"].values):
            columns: list[dict[str, float]] = [{} for _ in question.concepts]
            for unit, change in changes.items():
                of_class = change.sel(reply_class=metric["toward"]).values[:, k][:, chosen]
                ours = _add_bundles(question, of_class)
                bounds = question.bound(unit, ours.mean(1), drawn.average(ours), drawn.freedom)
                for i, estimate in enumerate(bounds):
                    columns[i] |= estimate
            rows += [
                {"concept": concept, "metric": name, "strength": float(strength)} | columns[i]
                for i, concept in enumerate(question.concepts)
            ]
    return rows


def describe_modularity(question: Question, exact: xr.DataArray, gradients: xr.Dataset) -> Rows:
    """Rows (concept) of modularity and entanglement."""
    at_layer = gradients["gradient"].sel(layer=question.layer).values
    means, draws, freedoms, nulls, gradient_of = [], [], [], [], []
    for metric in question.metrics.values():
        slopes, _, drawn = average_targets(question, exact, metric)
        gradient = at_layer[select_targets(exact, metric)].mean(0)
        means.append(slopes.mean(1))
        draws.append(drawn.average(slopes))
        freedoms.append(drawn.freedom)
        nulls.append(draw_null_slopes(question, gradient))
        gradient_of.append(gradient)
    directions, freedom = np.stack(gradient_of), min(freedoms)
    value = standardise_effects(np.stack(means, -1), directions)
    redrawn = standardise_effects(np.stack(draws, -1), directions)
    chance = {
        kind: standardise_effects(np.stack([n[kind] for n in nulls], -1), directions)
        for kind in nulls[0]
    }
    named = name_metrics(question.concepts, question.bundles, question.metrics)
    modular = question.bound(
        "modularity",
        measure_modularity(value, named),
        measure_modularity(redrawn, named),
        freedom,
        (0, 1),
    )
    tangled = question.bound(
        "entanglement",
        measure_entanglement(value),
        measure_entanglement(redrawn),
        freedom,
        (1, len(question.metrics)),
    )
    rows = [
        {"concept": concept, "bundle": i >= len(question.emotions), "named": bool(named[i].any())}
        | modular[i]
        | tangled[i]
        for i, concept in enumerate(question.concepts)
    ]
    for kind, effects in chance.items():
        share, spread = measure_modularity(effects, named), measure_entanglement(effects)
        p = count_extremes(measure_modularity(value, named), share)
        for i, row in enumerate(rows):
            row |= {
                f"modularity_{kind}": float(share[:, i].mean()),
                f"p_{kind}": float(p[i]),
                f"entanglement_{kind}": float(spread[:, i].mean()),
            }
    return [_hide_unnamed(row) for row in rows]


def describe_matrix(question: Question, slopes: xr.DataArray) -> dict[str, float]:
    """Rank, similarity and size of the effect matrix in probability, and the random size.

    Noise adds to the size of the matrix, and once more to that of its draws: its interval is moved
    back by twice the difference between the draws' median and the estimate (Efron 1981).
    """
    emotion = slopes.isel(direction=question.kinds == "emotion")
    random = slopes.isel(direction=question.kinds == "random")
    suites, splits = slopes["suite"].values, slopes["split"].values
    cells = np.array([f"{a}/{b}" for a, b in zip(suites, splits, strict=True)], dtype=object)
    drawn = question.draw(slopes["family"].values, cells)
    whole = np.ones((1, drawn.weights.shape[1]), np.float32)
    matrices = stack_matrix(emotion, np.concatenate([whole, drawn.weights]))
    row: dict[str, float] = {}
    for name, value in measure_matrix(matrices).items():
        draws = value[1:, None]
        if name == "size":
            draws = draws - 2 * (np.median(draws) - value[0])
        row |= question.bound(name, value[:1], draws, drawn.freedom)[0]
    null = measure_matrix(stack_matrix(random, whole))
    return row | {"null_size": float(null["size"][0])}


def describe_behaviour(question: Question, scores: xr.DataArray) -> Rows:
    """Rows (metric, split) of unsteered probability."""
    probability = compute_probabilities(scores)
    suites, splits = scores["suite"].values, scores["split"].values
    rows: Rows = []
    for name, metric in question.metrics.items():
        values = probability.sel(reply_class=metric["toward"]).values
        for split in sorted(set(splits[suites == metric["suite"]])):
            chosen = (suites == metric["suite"]) & (splits == split)
            drawn = question.draw(scores["family"].values[chosen])
            resampled = drawn.average(values[chosen])
            level = question.statistics.level
            interval = summarise_draws(resampled, level, drawn.freedom, (0, 1))
            rows.append(
                {
                    "metric": name,
                    "safety": bool(metric["safety"]),
                    "split": str(split),
                    "probability": float(values[chosen].mean()),
                    "low": float(interval.low),
                    "high": float(interval.high),
                    "prompts": int(chosen.sum()),
                }
            )
    return rows


def _add_bundles(question: Question, values: np.ndarray) -> np.ndarray:
    emotions = values[question.kinds == "emotion"]
    return add_bundles(emotions, question.emotions, question.bundles)


def _hide_unnamed(row: dict[str, Any]) -> dict[str, Any]:
    if row["named"]:
        return row
    return {k: np.nan if k.startswith(("modularity", "p_")) else v for k, v in row.items()}
