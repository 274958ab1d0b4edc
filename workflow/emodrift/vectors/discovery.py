"""Discovery: directions of the reference that are found from what they do, not from their name.

A bundle of emotions named for caution need not be what harm evokes, nor what moves refusal. So,
on prompts like the training data alone, the emotions are picked that do both; and beside them
stand two directions that know nothing of emotions, as rivals. Everything is reported on the other
prompts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.config.fields import DISCOVERED, RIVAL_NAMES
from emodrift.errors import EmodriftError
from emodrift.measure.arrays import Readings, open_activations, open_gradients, save_array
from emodrift.measure.directions import open_lock
from emodrift.measure.names import FOUND, RIVALS
from emodrift.stats.measures import normalise


class DiscoveryParams(NamedTuple):
    """What the discovery stage is asked.

    emotions: how many the bundle has. indicators, metrics: config; which suites are harmful and
    benign, which replies refuse, and which split is like the training data.
    """

    emotions: int
    indicators: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]


class Asked(NamedTuple):
    """Suites of harmful and benign prompts, the reply class of refusal, the split to choose on."""

    harmful: str
    benign: str
    refuse: str
    split: str


def discover(params: DiscoveryParams, activations: Readings, lock: Path, out: Path) -> None:
    """Choose the bundle and the rival directions at the reference.

    Writes ``discovered.json`` (the bundle), ``discovery.parquet`` (emotion: rise from benign to
    harmful prompts and slope of refusal, each in standard deviations of directions with the
    stories' covariance; whether it was chosen) and ``rivals.zarr``: ``direction`` (rival, hidden).

    Parameters
    ----------
    params
        What is asked.
    activations, lock
        Entries of the reference.
    out
        Directory to write to.

    Raises
    ------
    EmodriftError
        The split that is chosen on has no harmful or no benign prompts.
    """
    asked = read_question(params.indicators, params.metrics)
    locked = open_lock(lock)
    hidden, gradients = read_reference(activations, int(locked["layer"]))
    contrast = contrast_prompts(hidden, asked)
    slope = average_gradient(gradients, asked)
    scores = score_emotions(locked, contrast, slope)
    chosen = choose_emotions(scores, params.emotions)
    logging.info("harm evokes, and refusal follows: %s", ", ".join(chosen))
    scores.assign(chosen=scores["emotion"].isin(chosen)).to_parquet(
        out / "discovery.parquet", index=False
    )
    (out / FOUND).write_text(json.dumps({DISCOVERED: chosen}) + "\n")
    rivals = xr.Dataset(
        {"direction": (("rival", "hidden"), normalise(np.stack([contrast, slope])))},
        coords={"rival": np.array(RIVAL_NAMES, dtype=object), "layer": locked["layer"]},
    )
    save_array(rivals, out / RIVALS)


def read_question(indicators: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]) -> Asked:
    """What of the config says which prompts are contrasted."""
    refusal = metrics[indicators["refusal"]]
    benign = metrics[indicators["benign"]]["suite"]
    return Asked(refusal["suite"], benign, refusal["toward"], indicators["seen_split"])


def read_reference(activations: Readings, layer: int) -> tuple[xr.DataArray, xr.Dataset]:
    """Prompts' activations (prompt, hidden) and gradients (target, hidden) at a layer."""
    read = open_activations(activations, "prompts")
    assert read is not None
    return read.sel(layer=layer), open_gradients(activations).sel(layer=layer)


def contrast_prompts(hidden: xr.DataArray, asked: Asked) -> np.ndarray:
    """Mean of harmful less mean of benign prompts, (hidden,), on the split that is chosen on.

    Raises
    ------
    EmodriftError
        It lacks one of the two.

    Notes
    -----
    Arditi et al. (2024), "Refusal in language models is mediated by a single direction".
    """
    means = []
    for suite in (asked.harmful, asked.benign):
        rows = (hidden["suite"].values == suite) & (hidden["split"].values == asked.split)
        if not rows.any():
            raise EmodriftError(
                f"discovery: suite {suite!r} has no prompts in split {asked.split!r}; add some, or "
                "set indicators.seen_split to a split that it has"
            )
        means.append(hidden.values[rows].mean(0))
    return means[0] - means[1]


def average_gradient(gradients: xr.Dataset, asked: Asked) -> np.ndarray:
    """Mean gradient of refusal (hidden,) over harmful prompts of the split that is chosen on."""
    rows = (
        (gradients["target_suite"].values == asked.harmful)
        & (gradients["target_split"].values == asked.split)
        & (gradients["toward"].values == asked.refuse)
    )
    return gradients["gradient"].values[rows].mean(0)


def score_emotions(locked: xr.Dataset, contrast: np.ndarray, slope: np.ndarray) -> pd.DataFrame:
    """How far each emotion is evoked by harm and moves refusal, against matched directions.

    Parameters
    ----------
    locked
        The lock.
    contrast, slope
        (hidden,) harmful less benign prompts; gradient of refusal.

    Returns
    -------
    pd.DataFrame
        emotion, rise, slope: in standard deviations over null directions.
    """
    emotions = locked.isel(direction=locked["kind"].values == "emotion")
    null = locked["null_direction"].values[locked["null_kind"].values == "matched"]
    found: dict[str, Any] = {"emotion": [str(name) for name in emotions["name"].values]}
    for name, target in (("rise", contrast), ("slope", slope)):
        found[name] = emotions["direction"].values @ target / (null @ target).std()
    return pd.DataFrame(found)


def choose_emotions(scores: pd.DataFrame, number: int) -> list[str]:
    """Emotions whose lesser score is largest: harm evokes them, and they move refusal."""
    least = scores[["rise", "slope"]].min(axis=1)
    order = least.sort_values(ascending=False, kind="stable").index[:number]
    return [str(name) for name in scores.loc[sorted(order), "emotion"]]
