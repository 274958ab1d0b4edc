"""Use: what behaviour prompts evoke along the locked directions, and what that predicts.

Projections of each checkpoint's activations on behaviour prompts, by suite and split; harmful
against benign prompts; and how well projections predict refusal (docs/methods.md, "Evocation").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from emodrift.drift.log_odds import compute_log_odds
from emodrift.drift.paired import (
    Component,
    NullDirections,
    PromptDraws,
    Reading,
    draw_prompts,
    gather_nulls,
    save_paired,
)
from emodrift.drift.table import label_rows, write_table
from emodrift.measure.arrays import Readings, open_activations, open_scores
from emodrift.measure.directions import open_bundles, open_discovered, open_lock
from emodrift.stage import Stage
from emodrift.stats.bootstrap import UNLIMITED, count_freedom, summarise_draws
from emodrift.stats.settings import Statistics

STAGE = Stage(
    "evocation",
    "measure_evocation",
    reads={
        "activations": ["prompts", "gradients"],
        "lock": "lock",
        "discovery": "discovery?",
    },
    settings=["checkpoints", "statistics", "seed", "indicators", "metrics"],
)
LIMITS = {"auroc": (0, 1), "predictivity": (-1, 1)}
SEPARATIONS = ("auroc", "predictivity")
LEAST_SPREAD = 0.01
"""Share of the prompts' spread below which that of a draw counts as none: a few families that are
drawn alike differ by nothing, and a difference in units of that is undefined.
"""


class EvocationParams(NamedTuple):
    """What the evocation stage is asked.

    checkpoints: run, step, stage, tokens of each. statistics, seed: config. indicators, metrics:
    config; which bundle is caution, and which metrics' suites are contrasted.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    statistics: Statistics
    seed: int
    indicators: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]


class EvocationInputs(NamedTuple):
    """Entries that the evocation stage reads.

    activations: of each checkpoint, on prompts, with gradients. lock: the locked vectors.
    discovery: the bundle that was found at the reference, where it was looked for.
    """

    activations: Sequence[Readings]
    lock: Path
    discovery: Path | None = None


class Asked(NamedTuple):
    """What every checkpoint is asked: harmful and benign suites, prompts with their weights, what
    is compared, and null counterparts of each bundle."""

    harmful: str
    benign: str
    prompts: PromptDraws
    components: list[Component]
    nulls: dict[str, NullDirections]
    level: float


def measure_evocation(params: EvocationParams, inputs: EvocationInputs, out: Path) -> None:
    """Project every checkpoint's prompt activations on the locked directions.

    Writes ``evocation.parquet`` (checkpoint, concept, split: rise from benign to harmful prompts,
    standardised difference, AUROC and predictivity of refusal, with intervals),
    ``projections.parquet`` (checkpoint, concept, suite, split: mean projection over the residual
    norm), ``prompts.parquet`` (checkpoint, prompt: projection on caution, log-odds of refusal) and
    ``paired.zarr`` (see :func:`emodrift.drift.paired.save_paired`).

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    checkpoints, statistics, seed, indicators, metrics = params
    locked = open_lock(inputs.lock)
    bundles = open_bundles(inputs.lock) | open_discovered(inputs.discovery)
    harmful, benign = (metrics[indicators[m]]["suite"] for m in ("refusal", "benign"))
    toward = metrics[indicators["refusal"]]["toward"]
    asked: Asked | None = None
    rows: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    prompts: list[dict[str, Any]] = []
    readings: list[Reading] = []
    for number, entry in enumerate(inputs.activations):
        read = open_activations(entry, "prompts")
        assert read is not None
        hidden = read.sel(layer=int(locked["layer"]))
        if asked is None:
            drawn = draw_prompts(hidden, statistics.draws, seed)
            asked = Asked(
                harmful,
                benign,
                drawn,
                list_compared(drawn, bundles, harmful, benign),
                {n: gather_nulls(locked, len(m), seed) for n, m in bundles.items()},
                statistics.level,
            )
        projection = project_prompts(hidden, locked, bundles)
        odds = compute_log_odds(open_scores(entry), toward)
        found, separations = contrast_splits(asked, projection, odds)
        rows += [{"checkpoint": number, **row} for row in found]
        means += _average(number, projection)
        prompts += [
            {"checkpoint": number, **row} for row in _list_prompts(projection, odds, indicators)
        ]
        readings.append(read_checkpoint(asked, hidden, projection, separations, locked))
    write_table(label_rows(rows, checkpoints), out, "evocation")
    write_table(label_rows(means, checkpoints), out, "projections")
    write_table(label_rows(prompts, checkpoints), out, "prompts")
    assert asked is not None
    kinds = next(iter(asked.nulls.values())).kinds if asked.nulls else np.array([], dtype=object)
    save_paired(readings, asked.components, asked.prompts, kinds, out)


def list_compared(
    prompts: PromptDraws, bundles: Mapping[str, Sequence[str]], harmful: str, benign: str
) -> list[Component]:
    """Components of every bundle: rise from benign to harmful prompts, their levels, AUROC and
    predictivity, each over all prompts and within each split that both suites have."""
    shared = set(prompts.list_splits(benign))
    splits = [split for split in prompts.list_splits(harmful) if split in shared]
    components = []
    for bundle in bundles:
        quantity = f"projection/{bundle}"
        for split in splits:
            components += [
                Component(f"rise/{bundle}/{split}", quantity, split, harmful, benign),
                Component(f"level/{bundle}/{harmful}/{split}", quantity, split, harmful),
                Component(f"level/{bundle}/{benign}/{split}", quantity, split, benign),
                *(Component(f"{name}/{bundle}/{split}", split=split) for name in SEPARATIONS),
            ]
    return components


def read_checkpoint(
    asked: Asked,
    hidden: xr.DataArray,
    projection: xr.DataArray,
    separations: Mapping[str, np.ndarray],
    locked: xr.Dataset,
) -> Reading:
    """Values, draws and nulls of one checkpoint; see :class:`emodrift.drift.paired.Reading`.

    Parameters
    ----------
    hidden, projection
        (prompt, hidden), (prompt, concept).
    separations
        Draws of the components that are no means.
    """
    quantities = dict.fromkeys(c.quantity for c in asked.components if c.quantity)
    values = {q: projection.sel(concept=q.split("/")[1]).values for q in quantities}
    scale = np.linalg.norm(hidden.values, axis=-1).mean()
    centred = (hidden.values - locked["center"].values) / scale
    draws, nulls = dict(separations), {}
    along = {q: _project_nulls(asked, q, centred, values[q]) for q in quantities}
    for component in asked.components:
        if component.quantity:
            draws[component.name] = asked.prompts.draw(component, values[component.quantity])
            nulls[component.name] = asked.prompts.contrast(component) @ along[component.quantity]
    return Reading(values, draws, nulls)


def _project_nulls(
    asked: Asked, quantity: str, centred: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Projections on null counterparts of a bundle (prompt, null), scaled to the spread that the
    contrasted prompts have along the bundle itself."""
    projected = centred @ asked.nulls[quantity.split("/")[1]].values.mean(1).T
    chosen = asked.prompts.pick(asked.harmful, "all") | asked.prompts.pick(asked.benign, "all")
    spread = np.maximum(projected[chosen].std(0), 1e-12)
    return projected * (values[chosen].std() / spread)


def project_prompts(
    hidden: xr.DataArray, locked: xr.Dataset, bundles: Mapping[str, Sequence[str]]
) -> xr.DataArray:
    """Projection of prompts on locked directions, in units of the mean residual norm.

    Parameters
    ----------
    hidden
        (prompt, hidden).
    locked
        The lock.
    bundles
        Bundle -> emotions.

    Returns
    -------
    xr.DataArray
        (prompt, concept): emotions, then bundles.
    """
    emotion = locked.isel(direction=locked["kind"].values == "emotion")
    names = [str(n) for n in emotion["name"].values]
    scale = np.linalg.norm(hidden.values, axis=-1).mean()
    values = (hidden.values - emotion["center"].values) @ emotion["direction"].values.T / scale
    grouped = [
        values[:, [names.index(member) for member in members]].mean(1)
        for members in bundles.values()
    ]
    return xr.DataArray(
        np.column_stack([values, *grouped]),
        dims=("prompt", "concept"),
        coords={
            "concept": np.array([*names, *bundles], dtype=object),
            **{n: ("prompt", hidden[n].values) for n in ("id", "suite", "split", "family")},
        },
    )


class GroupContrast(NamedTuple):
    """How far two groups of prompts lie apart along each concept, (draw, concept) each.

    rise: difference of means, in the unit of the values; difference: rise over the pooled standard
    deviation, NaN where that is none; auroc: probability that a positive prompt lies above another.
    """

    rise: np.ndarray
    difference: np.ndarray
    auroc: np.ndarray


def contrast_groups(values: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> GroupContrast:
    """Weighted contrast of two groups of prompts.

    Parameters
    ----------
    values
        (prompt, concept).
    positive
        (prompt,) which prompts are expected higher.
    weights
        (draw, prompt).
    """
    up, down = weights * positive, weights * ~positive
    totals = [w.sum(1, keepdims=True) for w in (up, down)]
    means = [w @ values / n for w, n in zip((up, down), totals, strict=True)]
    squares = [w @ values**2 / n for w, n in zip((up, down), totals, strict=True)]
    spread = [s - m**2 for s, m in zip(squares, means, strict=True)]
    pooled = np.sqrt((spread[0] + spread[1]).clip(0) / 2)
    rise = means[0] - means[1]
    spread_out = pooled > LEAST_SPREAD * pooled[:1]
    difference = np.divide(rise, pooled, out=np.full(rise.shape, np.nan), where=spread_out)
    a, b = values[positive], values[~positive]
    wins = (a[:, None] > b[None]) + 0.5 * (a[:, None] == b[None])
    against = np.tensordot(up[:, positive], wins.astype(np.float32), 1)
    auroc = np.einsum("djc,dj->dc", against, down[:, ~positive])
    return GroupContrast(rise, difference, auroc / (totals[0] * totals[1]))


def correlate(values: np.ndarray, outcome: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted correlation of each concept's projection with an outcome.

    Parameters
    ----------
    values, outcome, weights
        (prompt, concept), (prompt,), (draw, prompt).

    Returns
    -------
    np.ndarray
        (draw, concept).
    """
    share = weights / weights.sum(1, keepdims=True)
    mean_v, mean_o = share @ values, share @ outcome
    covariance = share @ (values * outcome[:, None]) - mean_v * mean_o[:, None]
    var_v = share @ values**2 - mean_v**2
    var_o = share @ outcome**2 - mean_o**2
    return covariance / np.sqrt((var_v * var_o[:, None]).clip(1e-16))


def contrast_splits(
    asked: Asked, projection: xr.DataArray, odds: np.ndarray
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Contrast of harmful with benign prompts along every concept, over all and in each split.

    Returns
    -------
    rows : list
        (concept, split) with intervals.
    separations : dict
        Component -> (draw,) AUROC and predictivity of bundles.
    """
    rows, separations = [], {}
    concepts = [str(c) for c in projection["concept"].values]
    named = {c.name for c in asked.components}
    for name in asked.prompts.list_splits(asked.harmful):
        above, below = (asked.prompts.pick(s, name) for s in (asked.harmful, asked.benign))
        chosen = above | below
        if not (above.any() and below.any()):
            continue
        part, weights = projection.values[chosen], asked.prompts.weights[:, chosen]
        contrast = contrast_groups(part, above[chosen], weights)
        measured = {
            "rise": contrast.rise,
            "difference": contrast.difference,
            "auroc": contrast.auroc,
            "predictivity": correlate(part, odds[chosen], weights),
        }
        for key in SEPARATIONS:
            for i, concept in enumerate(concepts):
                if (component := f"{key}/{concept}/{name}") in named:
                    separations[component] = measured[key][:, i]
        labels = asked.prompts.labels
        cells = [f"{a}/{b}" for a, b in zip(labels["suite"], labels["split"], strict=True)]
        freedom = count_freedom(labels["family"][chosen], np.array(cells)[chosen])
        wide = {
            k: summarise_draws(v[1:], asked.level, freedom, LIMITS.get(k, UNLIMITED))
            for k, v in measured.items()
        }
        for i, concept in enumerate(concepts):
            row: dict[str, Any] = {"concept": concept, "split": name}
            for key, value in measured.items():
                row |= {
                    key: float(value[0, i]),
                    f"{key}_low": float(wide[key].low[i]),
                    f"{key}_high": float(wide[key].high[i]),
                    f"{key}_se": float(wide[key].se[i]),
                }
            rows.append(row)
    return rows, separations


def _list_prompts(
    projection: xr.DataArray, odds: np.ndarray, indicators: Mapping[str, Any]
) -> list[dict[str, Any]]:
    caution = projection.sel(concept=indicators["caution"]).values
    labels = (projection[n].values for n in ("id", "suite", "split"))
    return [
        {"id": name, "suite": suite, "split": split}
        | {"projection": float(value), "log_odds": float(odd)}
        for name, suite, split, value, odd in zip(*labels, caution, odds, strict=True)
    ]


def _average(number: int, projection: xr.DataArray) -> list[dict[str, Any]]:
    frame = projection.to_pandas()
    frame["suite"], frame["split"] = projection["suite"].values, projection["split"].values
    long = frame.melt(["suite", "split"], var_name="concept", value_name="projection")
    means = long.groupby(["concept", "suite", "split"], as_index=False)["projection"].mean()
    return [{"checkpoint": number, **row} for row in means.to_dict("records")]
