"""Behaviour with planted effects: gradients and steered scores of a checkpoint, made by numbers.

Each metric has a suite of its own. A prompt's gradient is the metric's, plus what its family of
prompts deviates, plus its own deviation; so is its log-odds. Along every direction the metric moves
in proportion to strength in log-odds, so that finite steering and gradients agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from emodrift.drift.coupling import Question
from emodrift.stats.measures import normalise
from emodrift.stats.settings import Statistics
from emodrift.vectors.nulls import draw_isotropic

METRICS: Mapping[str, Mapping[str, Any]] = {
    "refusal": {"suite": "harmful", "toward": "yes", "safety": True, "bundles": ["caution"]},
    "over_refusal": {"suite": "benign", "toward": "yes", "safety": True, "bundles": ["caution"]},
    "hedging": {"suite": "unanswerable", "toward": "yes", "safety": True, "bundles": []},
    "helpfulness": {"suite": "neutral", "toward": "yes", "safety": False, "bundles": []},
}
CLASSES = ("yes", "no")
STRENGTHS = (-0.5, 0.5)
SPLITS = ("heldout", "ood")
RANDOM = 8


class Amounts(NamedTuple):
    """How many prompts there are and how much they differ.

    families: of each suite and split. prompts: of each family. hidden: width. family_noise,
    prompt_noise: standard deviation of slopes between families, and between prompts of one, in
    log-odds for one residual norm. base_noise: of unsteered log-odds, of families and of prompts
    alike.
    """

    families: int = 6
    prompts: int = 4
    hidden: int = 48
    family_noise: float = 0.5
    prompt_noise: float = 0.5
    base_noise: float = 1.0


class Behaviour(NamedTuple):
    """What a checkpoint's gradients stage would hold, and its scores when steered.

    gradients: as from :func:`emodrift.measure.gradients.measure_gradients`. scores: as from
    :func:`emodrift.drift.slopes.join_strengths`.
    """

    gradients: xr.Dataset
    scores: xr.DataArray


def plant_effects(emotions: int, rng: np.random.Generator) -> np.ndarray:
    """Effects (emotion, metric), log-odds for one residual norm."""
    return rng.normal(0, 1, (emotions, len(METRICS)))


def draw_behaviour(
    effects: np.ndarray, directions: np.ndarray, amounts: Amounts, rng: np.random.Generator
) -> Behaviour:
    """Prompts of every suite with planted effects along orthonormal directions.

    Parameters
    ----------
    effects
        (emotion, metric).
    directions
        (direction, hidden), the emotions' first.
    amounts
        Amounts and noise.
    rng
        Source of randomness.
    """
    labels: dict[str, list[str]] = {name: [] for name in ("suite", "split", "family", "id")}
    gradients, base = [], []
    number = amounts.families * len(SPLITS)
    family = np.repeat(np.arange(number), amounts.prompts)
    for column, metric in enumerate(METRICS.values()):
        of_family = rng.standard_normal((number, amounts.hidden))[family]
        of_prompt = rng.standard_normal((len(family), amounts.hidden))
        mean = effects[:, column] @ directions[: len(effects)]
        noise = amounts.family_noise * of_family + amounts.prompt_noise * of_prompt
        gradients.append(mean + noise)
        odds = rng.standard_normal(number)[family] + rng.standard_normal(len(family))
        base.append(amounts.base_noise * odds)
        suite = metric["suite"]
        for row, code in enumerate(family):
            values = (suite, SPLITS[code % len(SPLITS)], f"{suite}-{code}", f"{suite}-{row}")
            for name, value in zip(labels, values, strict=True):
                labels[name].append(value)
    gradient = np.concatenate(gradients)
    named = {name: np.array(values, dtype=object) for name, values in labels.items()}
    steered = np.concatenate([[0.0], STRENGTHS])
    steered.sort()
    moved = np.einsum("dh,ph,s->dsp", directions, gradient, steered) + np.concatenate(base)
    return Behaviour(
        xr.Dataset(
            {"gradient": (("target", "layer", "hidden"), gradient[:, None])},
            coords={f"target_{name}": ("target", values) for name, values in named.items()}
            | {"toward": ("target", np.array(["yes"] * len(gradient), dtype=object))}
            | {"layer": [0]},
        ),
        xr.DataArray(
            np.stack([moved, np.zeros_like(moved)], axis=-1),
            dims=("direction", "strength", "prompt", "reply_class"),
            coords={name: ("prompt", values) for name, values in named.items()}
            | {"strength": steered, "reply_class": list(CLASSES)},
        ),
    )


def ask(
    emotions: np.ndarray,
    nulls: Mapping[str, np.ndarray],
    bundles: Mapping[str, list[str]],
    draws: int,
    seed: int,
) -> Question:
    """The question that the coupling stage puts to a checkpoint, about these unit directions.

    Parameters
    ----------
    emotions
        (emotion, hidden).
    nulls
        Kind -> null directions (null, hidden).
    bundles
        Named groups of emotions ``e00``, ``e01`` ...
    draws, seed
        Of the bootstrap.
    """
    random = draw_isotropic(emotions.shape[1], RANDOM, np.random.default_rng(seed))
    names = [f"e{i:02d}" for i in range(len(emotions))] + [f"random-{i}" for i in range(RANDOM)]
    kinds = ["emotion"] * len(emotions) + ["random"] * RANDOM
    locked = xr.Dataset(
        {
            "direction": (("direction", "hidden"), np.concatenate([emotions, random])),
            "null_direction": (("null", "hidden"), np.concatenate(list(nulls.values()))),
        },
        coords={
            "name": ("direction", np.array(names, dtype=object)),
            "kind": ("direction", np.array(kinds, dtype=object)),
            "null_kind": (
                "null",
                np.repeat(np.array(list(nulls), dtype=object), [len(v) for v in nulls.values()]),
            ),
            "layer": 0,
        },
    )
    return Question(locked, bundles, METRICS, Statistics(draws, 0.95), seed)


def draw_axes(number: int, hidden: int, rng: np.random.Generator) -> np.ndarray:
    """Random orthonormal directions (direction, hidden)."""
    return normalise(np.linalg.qr(rng.standard_normal((hidden, number)))[0].T)
