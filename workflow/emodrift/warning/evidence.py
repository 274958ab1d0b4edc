"""Evidence for every run: parts and indicators at each checkpoint, held against sound runs or,
where a stage has none, against declared tolerances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emodrift.stats.bootstrap import summarise_draws
from emodrift.warning.gates import Applicability, Evidence, judge_part
from emodrift.warning.indicators.indicator import (
    Indicator,
    Part,
    Setting,
    measure_null,
    measure_part,
    orient,
)
from emodrift.warning.measured import Measured
from emodrift.warning.sound import (
    Comparison,
    compare_run,
    expect_sound,
    match_sound,
    rank_run,
    set_threshold,
    split_runs,
)
from emodrift.warning.specificity import judge_specificity
from emodrift.warning.tolerance import accumulate, bet_on_part, is_bettable

SOUND, TOLERANCE = "sound runs", "tolerance"


@dataclass(frozen=True)
class Question:
    """How runs are judged.

    places: run, step, stage of each checkpoint. roles: run -> healthy or observed. rate: of false
    alarms over a run. tolerances: indicator -> tolerated change.
    """

    places: pd.DataFrame
    roles: Mapping[str, str]
    rate: float
    level: float
    seed: int
    tolerances: Mapping[str, float]


class Followed(NamedTuple):
    """A part that applies: its indicator, draws (checkpoint, draw) and nulls (checkpoint, null)."""

    indicator: Indicator
    part: Part
    draws: np.ndarray
    nulls: np.ndarray


class RunEvidence(NamedTuple):
    """Evidence on one run.

    checkpoints: their numbers, steps rising. kind: against what. deviation, excess: (checkpoint,
    part) in standard deviations, and the threshold that each is held against. evidence: chance of
    a sound run showing as much so far (checkpoint,), or its e-values (checkpoint, part). p: of the
    run, its least attainable value.
    """

    checkpoints: np.ndarray
    kind: str
    basis: str
    expected: np.ndarray
    deviation: np.ndarray
    threshold: float
    level: np.ndarray
    e_values: np.ndarray
    crossed: np.ndarray
    p: float
    attainable: float

    @property
    def alarmed(self) -> np.ndarray:
        """(checkpoint,) whether an alarm was raised so far."""
        return np.logical_or.accumulate(self.crossed.any(1))


class Judged(NamedTuple):
    """Followed parts, those that do not apply, and the evidence on every run."""

    followed: list[Followed]
    absent: list[tuple[Indicator, Part, Applicability]]
    runs: dict[str, RunEvidence]

    @property
    def alarming(self) -> np.ndarray:
        """(part,) whether a followed part can raise an alarm."""
        return np.array([bool(f.part.sign) for f in self.followed], bool)


def follow_parts(
    indicators: Sequence[Indicator],
    setting: Setting,
    measured: Measured,
    level: float,
    agreement: pd.DataFrame | None,
) -> tuple[list[Followed], list[tuple[Indicator, Part, Applicability]]]:
    """Parts of all indicators: those that apply, and those that do not, with the reason."""
    followed, absent = [], []
    asked = Evidence(measured, setting, level, agreement)
    for indicator in indicators:
        for part in indicator.list_parts(setting):
            verdict = judge_part(part, asked)
            if verdict.applies:
                found = measure_part(part, measured), measure_null(part, measured)
                followed.append(Followed(indicator, part, *found))
            else:
                absent.append((indicator, part, verdict))
    return followed, absent


def judge_runs(
    followed: Sequence[Followed], measured: Measured, question: Question
) -> dict[str, RunEvidence]:
    """Evidence on every run of a study; on the reference's run from the reference on."""
    if not followed:
        return {}
    values = np.stack([f.draws for f in followed], axis=1)
    runs = split_runs(question.places, values, list_judged(question.places, measured.reference))
    stages = question.places.groupby("run")["stage"].last().to_dict()
    signs = np.array([f.part.sign for f in followed])
    compared: dict[str, Comparison] = {}
    matches = {run: match_sound(run, stages, question.roles, runs) for run in runs}
    for run, curves in runs.items():
        if matches[run]:
            sound = [runs[other] for other in matches[run]]
            compared[run] = compare_run(curves, sound, signs, question.seed)
    numbers = {run: _number(question.places, run, measured.reference) for run in runs}
    found = {}
    for run in runs:
        if run in compared:
            levels = [float(compared[o].level[-1]) for o in matches[run] if o in compared]
            found[run] = _hold_against_sound(
                numbers[run], compared[run], levels, question, signs != 0
            )
        else:
            found[run] = _hold_against_tolerance(numbers[run], followed, measured, question)
    return found


def list_judged(places: pd.DataFrame, reference: int) -> list[int]:
    """Checkpoints that are judged: all but those of the reference's run up to the reference."""
    before = (places["run"] == places.at[reference, "run"]) & (places.index <= reference)
    return [int(i) for i in places.index[~before]]


def _number(places: pd.DataFrame, run: str, reference: int) -> np.ndarray:
    judged = places.loc[list_judged(places, reference)]
    return judged[judged["run"] == run].sort_values("step", kind="stable").index.to_numpy()


def _hold_against_sound(
    numbers: np.ndarray,
    comparison: Comparison,
    levels: Sequence[float],
    question: Question,
    alarming: np.ndarray,
) -> RunEvidence:
    threshold = set_threshold(levels, question.rate)
    least = float(np.quantile(comparison.null, 1 - min(threshold.level, 1 - 1e-9), method="higher"))
    crossed = (comparison.deviation > least) & alarming
    return RunEvidence(
        numbers,
        SOUND,
        threshold.basis,
        comparison.prediction.mean,
        comparison.deviation,
        least,
        comparison.level,
        np.full(comparison.deviation.shape, np.nan),
        crossed,
        rank_run(float(comparison.level[-1]), levels),
        threshold.attainable,
    )


def _hold_against_tolerance(
    numbers: np.ndarray, followed: Sequence[Followed], measured: Measured, question: Question
) -> RunEvidence:
    tolerances = np.array([question.tolerances[f.indicator.name] for f in followed])
    e_values = np.array(
        [
            [
                bet_on_part(f.part, measured, int(c), tolerance, question.seed)
                if is_bettable(f.part, measured)
                else np.nan
                for f, tolerance in zip(followed, tolerances, strict=True)
            ]
            for c in numbers
        ]
    )
    value = np.stack([f.draws[numbers, 0] for f in followed], 1)
    error = np.stack([f.draws[numbers, 1:].std(-1, ddof=1) for f in followed], 1)
    signs = np.array([f.part.sign for f in followed])
    change = orient(value, signs)
    deviation = (change - tolerances) / np.maximum(error, 1e-12)
    bets = np.array([is_bettable(f.part, measured) for f in followed])
    crossed = np.zeros(e_values.shape, bool)
    level = np.ones(len(numbers))
    if bets.any():
        proof = accumulate(e_values[:, bets], len(numbers))
        level = 1 / np.maximum(proof, 1)
        won = np.cumsum(np.where(bets, e_values, 0), 0)
        leads = won >= won.max(1, keepdims=True) / 2
        crossed = (proof >= 1 / question.rate)[:, None] & leads & (change > tolerances)
    level = np.minimum.accumulate(level)
    return RunEvidence(
        numbers,
        TOLERANCE,
        "no sound run of this stage; betting on changes beyond the declared tolerances",
        np.zeros(value.shape),
        deviation,
        0.0,
        level,
        e_values,
        crossed,
        float(level[-1]) if len(level) else 1.0,
        0.0,
    )


def tabulate_parts(judged: Judged, measured: Measured, question: Question) -> pd.DataFrame:
    """A row for each checkpoint and part, see docs/warning.md, "Tables"."""
    rows: list[dict[str, Any]] = []
    after = list_judged(question.places, measured.reference)
    nulls = np.stack([f.nulls for f in judged.followed], 1) if judged.followed else np.zeros(0)
    alarming = judged.alarming
    for run, found in judged.runs.items():
        null_expected = expect_sound(question.places, nulls, run, question.roles, after)
        for i, number in enumerate(found.checkpoints):
            for k, followed in enumerate(judged.followed):
                rows.append(
                    {"checkpoint": int(number), "indicator": followed.indicator.name}
                    | {"component": followed.part.name}
                    | _bound(followed.draws[number], question.level)
                    | {
                        "expected": float(found.expected[i, k]),
                        "deviation": float(found.deviation[i, k]),
                        "threshold": found.threshold if alarming[k] else np.nan,
                        "e_value": float(found.e_values[i, k]),
                        "crossed": bool(found.crossed[i, k]),
                    }
                    | _specify(followed, found, i, k, null_expected, measured.null_kinds)
                    | {"applicable": True, "reason": "", "remedy": ""}
                )
    for indicator, part, verdict in judged.absent:
        for number in question.places.index:
            rows.append(
                {"checkpoint": int(number), "indicator": indicator.name, "component": part.name}
                | {"applicable": False, "reason": verdict.reason, "remedy": verdict.remedy}
                | {"crossed": False}
            )
    for number in sorted(set(question.places.index) - set(after)):
        for followed in judged.followed:
            rows.append(
                {"checkpoint": int(number), "indicator": followed.indicator.name}
                | {"component": followed.part.name, "expected": 0.0, "deviation": 0.0}
                | {"threshold": np.nan}
                | _bound(followed.draws[number], question.level)
                | {"crossed": False, "applicable": True, "reason": "", "remedy": ""}
            )
    return pd.DataFrame(rows).sort_values("checkpoint", kind="stable", ignore_index=True)


def tabulate_indicators(
    indicators: Sequence[Indicator], judged: Judged, parts: pd.DataFrame, question: Question
) -> pd.DataFrame:
    """A row for each checkpoint and indicator, see docs/warning.md, "Tables"."""
    rows: list[dict[str, Any]] = []
    of_run = {
        int(n): (run, i) for run, e in judged.runs.items() for i, n in enumerate(e.checkpoints)
    }
    grouped = dict(iter(parts.groupby(["checkpoint", "indicator"])))
    for number in question.places.index:
        for indicator in indicators:
            own = [f for f in judged.followed if f.indicator is indicator]
            table = grouped[number, indicator.name]
            row: dict[str, Any] = {"checkpoint": int(number), "indicator": indicator.name}
            if not own:
                lost = table.iloc[0]
                row |= {"alarm": False, "applicable": False}
                rows.append(row | {"reason": lost["reason"], "remedy": lost["remedy"]})
                continue
            draws = indicator.combine({f.part.name: f.draws[number] for f in own})
            row |= _bound(draws, question.level)
            warning = table[table["threshold"].notna()]
            row |= {
                "deviation": float((warning if len(warning) else table)["deviation"].max()),
                "alarm": bool(table["crossed"].any()),
            }
            row |= _describe_run(judged, of_run.get(int(number)), own, indicator)
            lost = table[~table["applicable"]]
            rows.append(
                row
                | {"applicable": True}
                | {"reason": "; ".join(lost["reason"]), "remedy": "; ".join(lost["remedy"])}
            )
    return pd.DataFrame(rows)


def _describe_run(
    judged: Judged, place: tuple[str, int] | None, own: Sequence[Followed], indicator: Indicator
) -> dict[str, Any]:
    if place is None:
        return {"expected": 0.0, "basis": "up to the reference", "level": 1.0}
    run, i = place
    found = judged.runs[run]
    columns = [k for k, f in enumerate(judged.followed) if f in own]
    expected = {judged.followed[k].part.name: found.expected[i, k] for k in columns}
    return {
        "expected": float(indicator.combine({n: np.array(v) for n, v in expected.items()})),
        "threshold": found.threshold if judged.alarming[columns].any() else np.nan,
        "level": float(found.level[i]),
        "basis": found.basis,
        "kind": found.kind,
    }


def _bound(draws: np.ndarray, level: float) -> dict[str, float]:
    interval = summarise_draws(draws[1:], level)
    return {
        "value": float(draws[0]),
        "low": float(interval.low),
        "high": float(interval.high),
        "se": float(interval.se),
    }


def _specify(
    followed: Followed,
    found: RunEvidence,
    row: int,
    column: int,
    null_expected: np.ndarray,
    kinds: np.ndarray,
) -> dict[str, Any]:
    number = int(found.checkpoints[row])
    expected = found.expected[row, column]
    null = followed.nulls[number] - null_expected[row, column]
    change = followed.draws[number, 0] - expected
    verdict = judge_specificity(change, null, kinds, followed.part.sign)
    p = {f"p_{kind}": value for kind, value in verdict.p.items()}
    return p | {"specific": verdict.specific}
