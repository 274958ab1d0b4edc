"""Contrasts compared: the emotions and the controls of a checkpoint with the reference's.

Estimates and tests are in :mod:`emodrift.drift.direction`; here they become rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift.checkpoint import Measured, Settings, share_confounds
from emodrift.drift.direction import (
    Grams,
    Turning,
    assess_turning,
    compute_grams,
    draw_flips,
    estimate_cosine,
    exceed_controls,
    jackknife_cosine,
    jackknife_length,
)
from emodrift.stats.bootstrap import count_freedom, draw_weights, summarise_draws
from emodrift.stats.corrections import correct_family, count_extremes
from emodrift.stats.jackknife import Jackknife, widen
from emodrift.vectors.fitting import TopicVectors


class Comparison(NamedTuple):
    """Topic vectors of one contrast at a checkpoint and the reference, compared.

    table: a row for each concept. estimate, turning: corrected cosines without the confounds of
    both, and whether these say that the concepts turned.
    """

    table: pd.DataFrame
    estimate: Jackknife
    turning: Turning


class Turned(NamedTuple):
    """What a family of checkpoints needs of the test of one of them.

    observed, p: (concept,). largest: (flip,) over concepts.
    """

    observed: np.ndarray
    largest: np.ndarray
    p: np.ndarray


def summarise_turning(turning: Turning) -> Turned:
    """What is kept of a test of whether emotions turned."""
    return Turned(turning.statistic[0], turning.statistic.max(1), turning.p)


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
    emotions = compare_contrast(None, now, base, aligned, pure, settings)
    compared = {
        name: compare_contrast(name, now, base, aligned, pure, settings)
        for name in base.fit.controls
    }
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
    draws, level = settings.statistics.draws, settings.statistics.level
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


def correct_drift(drift: pd.DataFrame, turnings: Mapping[int, Turned]) -> pd.DataFrame:
    """Table of drift with p-values corrected over emotions × checkpoints.

    ``turned_by`` and ``beyond_controls_by``: Benjamini–Yekutieli. ``turned_max``: by the largest
    statistic of the family under the same flips (Westfall & Young 1993), which few topics do not
    bar from small values.

    Parameters
    ----------
    drift
        Rows of all checkpoints, with ``checkpoint``.
    turnings
        Tests of the emotions at each checkpoint but the reference, whose rows are not tested.
    """
    corrected = drift.copy()
    tested = corrected["checkpoint"].isin(list(turnings))
    corrected.loc[~tested, ["turned_p", "beyond_controls_p"]] = np.nan
    for column in ("turned", "beyond_controls"):
        by_kind = corrected.groupby("kind")[f"{column}_p"]
        corrected[f"{column}_by"] = by_kind.transform(lambda p: correct_family(p.to_numpy(), "by"))
    corrected["turned_max"] = np.nan
    if not turnings:
        return corrected
    largest = np.max([t.largest for t in turnings.values()], axis=0)
    of_emotions = corrected.index[tested & (corrected["kind"] == "emotion")]
    for number, rows in corrected.loc[of_emotions].groupby("checkpoint").groups.items():
        turning = turnings[number]
        p = count_extremes(turning.observed - 1e-9, largest[1:, None])
        corrected.loc[rows, "turned_max"] = np.where(np.isnan(turning.p), np.nan, p)
    return corrected


def judge_any_turn(space: pd.DataFrame, turnings: Mapping[int, Turned]) -> pd.DataFrame:
    """Table of the emotions together, with the test of whether any emotion turned.

    ``any_turned_p`` of a checkpoint: by its largest statistic over emotions; ``any_turned_holm``:
    corrected over checkpoints.

    Parameters
    ----------
    space
        A row for each checkpoint, with ``checkpoint``.
    turnings
        As in :func:`correct_drift`.
    """
    largest = {number: turning.largest for number, turning in turnings.items()}
    p = {n: float(count_extremes(reached[0] - 1e-9, reached[1:])) for n, reached in largest.items()}
    any_turned = space["checkpoint"].map(p).astype(float)
    holm = correct_family(any_turned.to_numpy(), "holm")
    return space.assign(any_turned_p=any_turned, any_turned_holm=holm)


def _multiply(control: str | None, now: Measured, base: Measured) -> Grams:
    return compute_grams(*(_pick_contrast(m, control).values for m in (now, base)))


def _pick_contrast(measured: Measured, control: str | None) -> TopicVectors:
    return measured.fit.controls[control] if control else measured.fit.emotions


def _spread(name: str, estimate: Jackknife, level: float) -> dict[str, np.ndarray]:
    low, high = widen(estimate, level)
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}
