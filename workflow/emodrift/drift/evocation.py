"""Use: what behaviour prompts evoke along the locked directions, and what that predicts.

Projections of each checkpoint's activations on behaviour prompts, by suite and split; harmful
against benign prompts; and how well projections predict refusal (docs/methods.md, "Evocation").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift.log_odds import compute_log_odds
from emodrift.drift.paired import (
    Component,
    GrowingPairs,
    NullDirections,
    PromptDraws,
    Reading,
    draw_prompts,
    gather_nulls,
    name_arrays,
)
from emodrift.drift.parts import Found, Take, find_anew, write_found
from emodrift.measure.arrays import Readings, open_scores, read_layer
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
    parts="alone",
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
    """What every checkpoint is asked.

    locked, bundles: lock. harmful, benign: suites that are contrasted. toward: reply class of
    refusal. caution: bundle. prompts: with their weights. components: what is compared. nulls:
    counterparts of each bundle. level: of intervals.
    """

    locked: xr.Dataset
    bundles: Mapping[str, Sequence[str]]
    harmful: str
    benign: str
    toward: str
    caution: str
    prompts: PromptDraws
    components: list[Component]
    nulls: dict[str, NullDirections]
    level: float

    @property
    def null_kinds(self) -> np.ndarray:
        """(null,) kind of each null counterpart, the same for all bundles."""
        return next((n.kinds for n in self.nulls.values()), np.array([], dtype=object))


def measure_evocation(
    params: EvocationParams, inputs: EvocationInputs, out: Path, take: Take = find_anew
) -> None:
    """Project every checkpoint's prompt activations on the locked directions.

    Writes ``evocation.parquet`` (checkpoint, concept, split: rise from benign to harmful prompts,
    standardised difference, AUROC and predictivity of refusal, with intervals),
    ``projections.parquet`` (checkpoint, concept, suite, split: mean projection over the residual
    norm), ``prompts.parquet`` (checkpoint, prompt: projection on caution, log-odds of refusal) and
    ``paired.zarr`` (see :class:`emodrift.drift.paired.GrowingPairs`).

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
    asked = ask(params, locked, bundles, _read_prompts(inputs.activations[0], locked))

    def find(number: int) -> Found:
        readings = inputs.activations[number]
        return compare_prompts(asked, _read_prompts(readings, locked), open_scores(readings))

    with GrowingPairs(asked.components, asked.prompts, asked.null_kinds, out) as pairs:
        write_found(params.checkpoints, find, take, out, pairs)


def _read_prompts(readings: Readings, locked: xr.Dataset) -> xr.DataArray:
    prompts = read_layer(readings, "prompts", int(locked["layer"]))
    assert prompts is not None
    return prompts


def ask(
    params: EvocationParams,
    locked: xr.Dataset,
    bundles: Mapping[str, Sequence[str]],
    prompts: xr.DataArray,
) -> Asked:
    """What every checkpoint is asked, given the prompts of any of them."""
    indicators, metrics, seed = params.indicators, params.metrics, params.seed
    harmful, benign = (metrics[indicators[m]]["suite"] for m in ("refusal", "benign"))
    drawn = draw_prompts(prompts, params.statistics.draws, seed)
    return Asked(
        locked=locked,
        bundles=bundles,
        harmful=harmful,
        benign=benign,
        toward=metrics[indicators["refusal"]]["toward"],
        caution=indicators["caution"],
        prompts=drawn,
        components=list_compared(drawn, bundles, harmful, benign),
        nulls={name: gather_nulls(locked, len(m), seed) for name, m in bundles.items()},
        level=params.statistics.level,
    )


def compare_prompts(asked: Asked, hidden: xr.DataArray, scores: xr.DataArray) -> Found:
    """What is found at one checkpoint.

    Parameters
    ----------
    asked
        What every checkpoint is asked.
    hidden
        (prompt, hidden) at the locked layer.
    scores
        (prompt, reply_class), unsteered.
    """
    projection = project_prompts(hidden, asked.locked, asked.bundles)
    odds = compute_log_odds(scores, asked.toward)
    splits, separations = contrast_splits(asked, projection, odds)
    tables = {
        "evocation": splits,
        "projections": average_projections(projection),
        "prompts": list_prompts(projection.sel(concept=asked.caution), odds),
    }
    return Found(tables, name_arrays(read_checkpoint(asked, hidden, projection, separations)))


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
    centred = (hidden.values - asked.locked["center"].values) / scale
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
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Contrast of harmful with benign prompts along every concept, over all and in each split.

    Returns
    -------
    table : pd.DataFrame
        A row for each concept and split, with intervals.
    separations : dict
        Component -> (draw,) AUROC and predictivity of bundles.
    """
    tables, separations = [], {}
    concepts = [str(c) for c in projection["concept"].values]
    named = {c.name for c in asked.components}
    labels = asked.prompts.labels
    cells = np.array([f"{a}/{b}" for a, b in zip(labels["suite"], labels["split"], strict=True)])
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
        freedom = count_freedom(labels["family"][chosen], cells[chosen])
        columns: dict[str, Any] = {"concept": concepts, "split": name}
        for key, draws in measured.items():
            wide = summarise_draws(draws[1:], asked.level, freedom, LIMITS.get(key, UNLIMITED))
            columns |= {key: draws[0], f"{key}_low": wide.low, f"{key}_high": wide.high}
            columns[f"{key}_se"] = wide.se
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True), separations


def list_prompts(along: xr.DataArray, odds: np.ndarray) -> pd.DataFrame:
    """A row for each prompt: its projection on one concept, (prompt,), and log-odds of refusal."""
    labels = {name: along[name].values for name in ("id", "suite", "split")}
    return pd.DataFrame({**labels, "projection": along.values, "log_odds": odds})


def average_projections(projection: xr.DataArray) -> pd.DataFrame:
    """A row for each concept, suite and split: the mean projection (prompt, concept)."""
    frame = projection.to_pandas()
    frame["suite"], frame["split"] = projection["suite"].values, projection["split"].values
    long = frame.melt(["suite", "split"], var_name="concept", value_name="projection")
    return long.groupby(["concept", "suite", "split"], as_index=False)["projection"].mean()
