"""Validity gates: whether, at the reference, there is what a part of an indicator follows.

Where a gate fails the part is not applicable: no number is derived and no alarm is raised.
docs/indicators.md, "Validity gates".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emodrift.stats.bootstrap import summarise_draws
from emodrift.stats.corrections import count_extremes
from emodrift.warning.indicators.indicator import Part, Setting, list_missing
from emodrift.warning.measured import Measured

CHANCE = 0.5
BEATS = 0.05
FEWEST_FAMILIES = 2
SMALLEST = 1e-9


class Verdict(NamedTuple):
    """Whether a gate passes; what was found; and, where it fails, what to try."""

    passes: bool
    found: str
    remedy: str = ""


class Evidence(NamedTuple):
    """What gates look at: components, setting, level of intervals, and the agreement of the readout
    with judged replies (table with columns checkpoint, auroc, auroc_low and auroc_high; None where
    none were judged)."""

    measured: Measured
    setting: Setting
    level: float
    agreement: pd.DataFrame | None


class Applicability(NamedTuple):
    """Of a part: whether it applies, why not, and what to try."""

    applies: bool
    reason: str = ""
    remedy: str = ""


def judge_part(part: Part, evidence: Evidence) -> Applicability:
    """Whether a part applies: nothing is missing and every gate passes; else the first reason."""
    missing = list_missing(part, evidence.measured)
    if missing:
        return Applicability(
            False, f"the study does not measure {missing[0]}", "add prompts or a metric for it"
        )
    for name in part.gates:
        verdict = GATES[name](part, evidence)
        if not verdict.passes:
            return Applicability(False, verdict.found, verdict.remedy)
    return Applicability(True)


def _check_errors(part: Part, evidence: Evidence) -> Verdict:
    """Every component averages several families, and its draws at the reference differ."""
    measured = evidence.measured
    for name in (term.component for term in part.terms):
        component = measured.components[name]
        for suite in filter(None, (component.upper, component.lower)):
            chosen = measured.pick(suite, component.split)
            families = len(set(measured.labels["family"][chosen]))
            if families < FEWEST_FAMILIES:
                where = suite if component.split == "all" else f"{suite}, {component.split}"
                return Verdict(
                    False,
                    f"{name} rests on {families} prompt family of {where}: it has no error",
                    "add prompt families to that suite and split",
                )
        draws = measured.draws[name][measured.reference]
        if not np.isfinite(draws).all() or draws.std() <= SMALLEST * (1 + abs(draws[0])):
            return Verdict(
                False,
                f"{name} has no sampling error at the reference",
                "add prompts, or see whether all replies are scored alike",
            )
    return Verdict(True, "standard errors are real")


def _check_separates(part: Part, evidence: Evidence) -> Verdict:
    """On splits unlike the training data, caution tells harmful from benign prompts."""
    measured, setting = evidence.measured, evidence.setting
    names = _list_unseen(f"auroc/{setting.caution}", evidence)
    if not names:
        return Verdict(
            False, "no split holds both harmful and benign prompts", "add prompts of both suites"
        )
    draws = np.mean([measured.draws[name][measured.reference] for name in names], axis=0)
    interval = summarise_draws(draws[1:], evidence.level, limits=(0, 1))
    found = (
        f"AUROC of {setting.caution}, harmful against benign prompts unlike the training data, is "
        f"{draws[0]:.2f} ({float(interval.low):.2f} to {float(interval.high):.2f}) at the reference"
    )
    return Verdict(
        bool(interval.low > CHANCE),
        found,
        "name other emotions in the bundle, pool at the reply point, choose another layer, or add "
        "stories",
    )


def _check_effective(part: Part, evidence: Evidence) -> Verdict:
    """At the reference caution moves refusal more than directions that match its spread do, on
    splits unlike the training data."""
    setting, measured = evidence.setting, evidence.measured
    slope = f"slope/{setting.caution}/{setting.refusal}"
    names = _list_unseen(slope, evidence)
    if not names:
        return Verdict(
            False, f"the study does not measure {slope}", "name the bundle and the metric"
        )
    matched = measured.null_kinds == "matched"
    if not matched.any():
        return Verdict(True, "no matched directions were drawn")
    value = np.mean([measured.draws[name][measured.reference, 0] for name in names])
    along = np.mean([measured.nulls[name][measured.reference, matched] for name in names], axis=0)
    null = np.abs(along)
    p = float(count_extremes(np.array(abs(value)), null))
    found = (
        f"slope of {setting.refusal} along {setting.caution} on prompts unlike the training data "
        f"is {value:.2f} at the reference, {(null >= abs(value)).mean():.0%} of matched directions "
        f"reach it (p {p:.3f})"
    )
    return Verdict(
        p <= BEATS,
        found,
        "choose another layer, or a bundle of emotions that move refusal at the reference",
    )


def _check_sized(part: Part, evidence: Evidence) -> Verdict:
    """At the reference the emotions move replies at all: more than isotropic directions do."""
    measured = evidence.measured
    isotropic = measured.null_kinds == "isotropic"
    value = measured.draws["effect_matrix/size"][measured.reference, 0]
    null = measured.nulls["effect_matrix/size"][measured.reference, isotropic]
    p = float(count_extremes(np.array(value), null)) if isotropic.any() else 0.0
    found = f"emotions move replies by {value:.3g} at the reference, isotropic directions by "
    found += f"{null.mean():.3g} (p {p:.3f})" if isotropic.any() else "an unknown amount"
    return Verdict(p <= BEATS, found, "choose another layer, or pool at the reply point")


def _check_readout(part: Part, evidence: Evidence) -> Verdict:
    """Where replies were judged, the readout agrees with the judge beyond chance."""
    table, reference = evidence.agreement, evidence.measured.reference
    if table is None or not (table["checkpoint"] == reference).any():
        return Verdict(True, "no replies were judged")
    row = table[table["checkpoint"] == reference].iloc[0]
    if np.isnan(row["auroc_low"]):
        found = (
            "replies at the reference are all judged to be of one class, which log-odds cannot rank"
        )
        return Verdict(
            False, found, "raise generation.prompts_per_cell, so that some reply otherwise"
        )
    found = (
        f"AUROC of a class's log-odds for replies judged to be of it is {row['auroc']:.2f} "
        f"({row['auroc_low']:.2f} to {row['auroc_high']:.2f}) at the reference"
    )
    return Verdict(
        bool(row["auroc_low"] > CHANCE),
        found,
        "give behaviours.replies phrasings that the model itself uses",
    )


def _list_unseen(prefix: str, evidence: Evidence) -> list[str]:
    """Components of harmful prompts unlike the training data; over all where no split is."""
    measured, setting = evidence.measured, evidence.setting
    suite = setting.metrics[setting.refusal]["suite"]
    splits = set(measured.labels["split"][measured.labels["suite"] == suite])
    unseen = sorted(splits - {setting.seen}) or ["all"]
    names = [f"{prefix}/{split}" for split in unseen]
    return [name for name in names if name in measured.draws]


Gate = Callable[[Part, Evidence], Verdict]
GATES: dict[str, Gate] = {
    "errors": _check_errors,
    "separates": _check_separates,
    "effective": _check_effective,
    "sized": _check_sized,
    "readout": _check_readout,
}


def tabulate_gates(parts: Sequence[Part], evidence: Evidence) -> pd.DataFrame:
    """Every gate of every part at the reference: part, gate, passes, found, remedy."""
    rows = []
    for part in parts:
        if missing := list_missing(part, evidence.measured):
            rows.append((part.name, "measured", False, f"no {missing[0]}", "measure it"))
            continue
        for name in part.gates:
            rows.append((part.name, name, *GATES[name](part, evidence)))
    return pd.DataFrame(rows, columns=["part", "gate", "passes", "found", "remedy"])
