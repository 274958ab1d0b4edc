"""The audit: for every run a verdict with its evidence, and the behaviour evals beside it.

docs/warning.md, "The audit", describes ``audit.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emodrift.config.names import say
from emodrift.drift.table import read_table, write_table
from emodrift.stage import Stage
from emodrift.stats.settings import Statistics
from emodrift.warning.behaviour import list_eval_changes
from emodrift.warning.course import (
    find_onset,
    follow_verdicts,
    measure_changes,
    tabulate_course,
)
from emodrift.warning.evidence import (
    Judged,
    Question,
    RunEvidence,
    follow_parts,
    judge_runs,
    list_judged,
    tabulate_indicators,
    tabulate_parts,
)
from emodrift.warning.gates import Evidence, tabulate_gates
from emodrift.warning.indicators import ALL, DOCS, TITLES
from emodrift.warning.indicators.indicator import read_setting
from emodrift.warning.measured import read_measured
from emodrift.warning.signature import JUDGED, choose_readout, measure_signature
from emodrift.warning.verdicts import NOT_JUDGED, Verdict
from emodrift.warning.words import NEXT_STEPS, write_finding, write_unjudged

STAGE = Stage(
    "indicators",
    "measure_indicators",
    reads={"evocation": "evocation", "coupling": "coupling", "reply_behaviour": "reply_behaviour?"},
    settings=[
        "checkpoints",
        "reference",
        "statistics",
        "seed",
        "indicators",
        "metrics",
        "roles",
        "alarms",
    ],
)
FORMAT = 2
PROMPTS_NAMED = 5
OF_CAUTION = {"separates", "effective"}
"""Gates of the parts that follow caution."""


class IndicatorsParams(NamedTuple):
    """What the indicators stage is asked.

    checkpoints: run, step, stage, tokens of each. reference: number of the reference among them.
    statistics, seed, indicators, alarms: config. metrics: behaviour metrics by name. roles: of runs
    by name.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    reference: int
    statistics: Statistics
    seed: int
    indicators: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, str]
    alarms: Mapping[str, Any]


class IndicatorsInputs(NamedTuple):
    """Entries that the indicators stage reads.

    evocation, coupling: use and effect, with paired draws. reply_behaviour: what judged replies do,
    where there are any.
    """

    evocation: Path
    coupling: Path
    reply_behaviour: Path | None = None


def measure_indicators(params: IndicatorsParams, inputs: IndicatorsInputs, out: Path) -> None:
    """Compute indicators, judge runs, and write ``indicators.parquet``, ``components.parquet``,
    ``gates.parquet``, ``course.parquet``, ``runs.parquet`` and ``audit.json``.

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    checkpoints, reference, roles = params.checkpoints, params.reference, params.roles
    evocation, coupling, behaviour = inputs
    measured = read_measured((evocation, coupling), reference)
    setting = read_setting(params.indicators, params.metrics)
    agreement = read_table(behaviour, "reply_agreement") if behaviour else None
    places = pd.DataFrame(checkpoints)
    tolerances = {i.name: i.tolerance for i in ALL}
    question = Question(
        places,
        roles,
        params.alarms["false_alarm_rate"],
        params.statistics.level,
        params.seed,
        tolerances | dict(params.indicators.get("tolerances", {})),
    )
    followed, absent = follow_parts(ALL, setting, measured, question.level, agreement)
    judged = Judged(followed, absent, judge_runs(followed, measured, question))
    components = tabulate_parts(judged, measured, question)
    values = tabulate_indicators(ALL, judged, components, question)
    labels = places.rename_axis("checkpoint").reset_index()
    values = labels.merge(values, on="checkpoint", validate="1:m")
    components = labels.merge(components, on="checkpoint", validate="1:m")
    parts = [part for indicator in ALL for part in indicator.list_parts(setting)]
    gates = tabulate_gates(parts, Evidence(measured, setting, question.level, agreement))
    readout = choose_readout(agreement, reference)
    replies = read_table(behaviour, "replies") if behaviour else None
    signature = measure_signature(setting, measured, replies if readout == JUDGED else None)
    changes = {
        run: measure_changes(run, judged, signature, question, reference) for run in judged.runs
    }
    evals = list_eval_changes(
        measured, params.metrics, places, roles, list_judged(places, reference)
    )
    verdicts = {
        run: follow_verdicts(changes[run], judged, run, question.rate, evals[run])
        for run in judged.runs
    }
    course = tabulate_course(judged.runs, changes, verdicts, list(signature))
    beside = Beside(
        read_table(evocation, "prompts"), read_table(coupling, "behaviour"), replies, reference
    )
    audit = {
        "format": FORMAT,
        "reference": checkpoints[reference],
        "false_alarm_rate": question.rate,
        "readout": readout,
        "indicators": describe_indicators(values, components),
        "gates": gates.to_dict("records"),
        "alarms": list_alarms(values, components, beside),
        "runs": [
            describe_unjudged(run, roles[run], reason, beside, _find_last(places, run))
            if (reason := tell_unjudged(run, judged))
            else describe_run(run, verdicts[run], judged.runs[run], values, roles, beside)
            for run in places["run"].unique()
        ],
    }
    write_table(values, out, "indicators")
    write_table(components, out, "components")
    write_table(gates, out, "gates")
    write_table(labels.merge(course, on="checkpoint", validate="1:1"), out, "course")
    write_table(tabulate_runs(audit["runs"]), out, "runs")
    (out / "audit.json").write_text(json.dumps(audit, indent=1) + "\n")


class Beside:
    """What stands beside an alarm: prompts that changed, and behaviour evals."""

    def __init__(
        self,
        prompts: pd.DataFrame,
        behaviour: pd.DataFrame,
        replies: pd.DataFrame | None,
        reference: int,
    ) -> None:
        self.prompts, self.behaviour, self.reference = prompts, behaviour, reference
        self.replies = None if replies is None else replies[replies["concept"].isna()]

    def name_prompts(self, number: int) -> list[dict[str, Any]]:
        """Prompts whose log-odds of refusal changed most since the reference."""
        now, then = self._pair(self.prompts, number, "id")
        change = (now["log_odds"] - then["log_odds"]).abs().sort_values(ascending=False)
        return [
            {
                "id": name,
                "suite": now.at[name, "suite"],
                "split": now.at[name, "split"],
                "refusal_log_odds": _round(now.at[name, "log_odds"]),
                "refusal_log_odds_at_reference": _round(then.at[name, "log_odds"]),
                "caution_projection": _round(now.at[name, "projection"]),
                "caution_projection_at_reference": _round(then.at[name, "projection"]),
            }
            for name in change.index[:PROMPTS_NAMED]
        ]

    def compare_behaviour(self, number: int) -> list[dict[str, Any]]:
        """Behaviour evals of a checkpoint and of the reference: probabilities, and shares of judged
        replies where there are any."""
        now, then = self._pair(self.behaviour, number, ["metric", "split"])
        judged = self._compare_replies(number)
        return [
            {
                "metric": metric,
                "split": split,
                "probability": _round(row["probability"]),
                "interval": [_round(row["low"]), _round(row["high"])],
                "at_reference": _round(then.at[(metric, split), "probability"]),
                **judged.get((metric, split), {}),
            }
            for (metric, split), row in now.iterrows()
        ]

    def list_changes(self, number: int) -> list[str]:
        """Behaviour evals whose interval the reference is outside of, the largest change first:
        shares of judged replies, or, where there are none, probabilities."""
        table, value = (
            (self.behaviour, "probability")
            if self.replies is None
            else (self.replies[self.replies["split"] == "all"], "share")
        )
        now, then = self._pair(table, number, ["metric", "split"])
        joined = now.join(then[value].rename("before"), how="inner")
        outside = (joined["before"] < joined["low"]) | (joined["before"] > joined["high"])
        changed = joined[outside]
        order = (changed[value] - changed["before"]).abs().sort_values(ascending=False).index
        return [
            f"{say(metric)}{'' if split == 'all' else f' ({say(split)})'} "
            f"{row['before']:.2f} to "
            f"{row[value]:.2f} ({row['low']:.2f} to {row['high']:.2f})"
            for (metric, split), row in changed.loc[order].iterrows()
        ]

    def _compare_replies(self, number: int) -> dict[Any, dict[str, Any]]:
        if self.replies is None:
            return {}
        now, then = self._pair(self.replies, number, ["metric", "split"])
        return {
            place: {
                "judged_share": _round(row["share"]),
                "judged_interval": [_round(row["low"]), _round(row["high"])],
                "judged_at_reference": _round(then.at[place, "share"]),
            }
            for place, row in now.iterrows()
            if place in then.index
        }

    def _pair(self, table: pd.DataFrame, number: int, keys: Any) -> tuple[pd.DataFrame, ...]:
        return tuple(
            table[table["checkpoint"] == n].set_index(keys) for n in (number, self.reference)
        )


def describe_indicators(values: pd.DataFrame, components: pd.DataFrame) -> list[dict[str, Any]]:
    """Every indicator: what it is, whether it applies, and why a part does not."""
    rows = []
    for name, table in values.groupby("indicator", sort=False):
        parts = components[components["indicator"] == name].drop_duplicates("component")
        rows.append(
            {
                "indicator": name,
                "title": TITLES[name],
                "docs": DOCS[name],
                "applicable": bool(table["applicable"].all()),
                "parts": [
                    {
                        "component": part["component"],
                        "applicable": bool(part["applicable"]),
                        "reason": part["reason"],
                        "remedy": part["remedy"],
                    }
                    for part in parts.to_dict("records")
                ],
            }
        )
    return rows


def list_alarms(
    values: pd.DataFrame, components: pd.DataFrame, beside: Beside
) -> list[dict[str, Any]]:
    """First alarm of every run and indicator, with its evidence.

    Parameters
    ----------
    values, components
        Tables of :mod:`emodrift.warning.evidence`, with run, step and stage.
    beside
        Prompts and behaviour.
    """
    alarms = []
    for (run, indicator), rows in values[values["alarm"]].groupby(["run", "indicator"], sort=False):
        first = rows.iloc[0]
        number = int(first["checkpoint"])
        parts = components[
            (components["checkpoint"] == number) & (components["indicator"] == indicator)
        ]
        alarms.append(
            {
                "run": run,
                "indicator": indicator,
                "title": TITLES[indicator],
                "step": int(first["step"]),
                "stage": first["stage"],
                "value": _round(first["value"]),
                "interval": [_round(first["low"]), _round(first["high"])],
                "expected_of_healthy": _round(first["expected"]),
                "standard_error": _round(first["se"]),
                "deviation": _round(first["deviation"]),
                "threshold": _round(first["threshold"]),
                "threshold_basis": first["basis"],
                "against": first["kind"],
                "evidence": [_describe_part(part) for part in parts.to_dict("records")],
                "specific": _is_specific(parts),
                "prompts_that_changed_most": beside.name_prompts(number),
                "behaviour": beside.compare_behaviour(number),
            }
        )
    return alarms


def describe_run(
    run: str,
    verdicts: Sequence[Verdict],
    found: RunEvidence,
    values: pd.DataFrame,
    roles: Mapping[str, str],
    beside: Beside,
) -> dict[str, Any]:
    """One run of the audit: verdict, margin, sentence, evidence, alarms, and what to do next."""
    verdict, onset = verdicts[-1], find_onset(verdicts)
    rows = values[values["run"] == run]
    steps = rows.drop_duplicates("checkpoint").set_index("checkpoint")["step"]
    first = rows[rows["alarm"]].groupby("indicator")["step"].first()
    at = np.flatnonzero(found.crossed.any(1))
    number = int(found.checkpoints[at[0]] if len(at) else found.checkpoints[-1])
    step = int(steps[number]) if len(at) else None
    since = None if onset is None else int(steps[found.checkpoints[onset]])
    return {
        "run": run,
        "role": roles[run],
        "verdict": verdict.kind,
        "margin": _round(verdict.margin),
        **_tell(run, verdict.kind, write_finding(verdict, found, step, since)),
        "evidence": verdict.evidence,
        "scores": {kind: _round(score) for kind, score in verdict.scores.items()},
        "first_alarm": {
            n: int(first[n]) if n in first else None for n in rows["indicator"].unique()
        },
        "alarm_step": step,
        "verdict_step": since,
        "against": found.kind,
        "basis": found.basis,
        "level": _round(float(found.level[-1])),
        "p": _round(found.p),
        "attainable": _round(found.attainable),
        "prompts": beside.name_prompts(number) if len(at) else [],
        "behaviour": beside.compare_behaviour(number),
        "next_steps": NEXT_STEPS[verdict.kind],
    }


def tell_unjudged(run: str, judged: Judged) -> str | None:
    """Why a run has no verdict; None where it has one.

    Where neither what evokes caution nor what it does can be followed, that no alarm was raised
    says nothing of the run.
    """
    if not judged.followed:
        return "no indicator applies; see the gates"
    if not judged.alarming.any():
        return "no part that raises alarms applies; see the gates"
    if run not in judged.runs:
        return "it ends at the reference"
    of_caution = any(OF_CAUTION & set(f.part.gates) for f in judged.followed)
    if not of_caution and not judged.runs[run].crossed.any():
        return "no part that follows caution applies; see the gates"
    return None


def describe_unjudged(
    run: str, role: str, reason: str, beside: Beside, last: int
) -> dict[str, Any]:
    """A run of the audit that has no verdict; its behaviour evals at its last checkpoint stand."""
    empty = ("margin", "alarm_step", "verdict_step", "against", "basis", "level", "p", "attainable")
    changes = None if last == beside.reference else beside.list_changes(last)
    return (
        {"run": run, "role": role, "verdict": NOT_JUDGED}
        | dict.fromkeys(empty)
        | _tell(run, NOT_JUDGED, write_unjudged(reason, changes))
        | {"evidence": [], "scores": {}, "first_alarm": {}}
        | {"prompts": beside.name_prompts(last), "behaviour": beside.compare_behaviour(last)}
        | {"next_steps": NEXT_STEPS[NOT_JUDGED]}
    )


def _tell(run: str, kind: str, finding: str) -> dict[str, str]:
    return {"finding": finding, "sentence": f"{run}: {kind}. {finding}"}


def tabulate_runs(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each run of the audit."""
    columns = ["run", "role", "verdict", "margin", "alarm_step", "verdict_step", "against"]
    columns += ["level", "p", "attainable", "sentence"]
    table = pd.DataFrame([{k: run[k] for k in columns} for run in runs], columns=columns)
    return table.astype({"alarm_step": "Int64", "verdict_step": "Int64"})


def _describe_part(part: Mapping[str, Any]) -> dict[str, Any]:
    numbers = (
        "value",
        "low",
        "high",
        "expected",
        "deviation",
        "e_value",
        "p_matched",
        "p_shuffled",
        "p_control",
    )
    return {"component": part["component"], "applicable": bool(part["applicable"])} | {
        "reason": part["reason"],
        "crossed": bool(part["crossed"]),
        **{name: _round(part.get(name)) for name in numbers},
    }


def _is_specific(parts: pd.DataFrame) -> bool | None:
    """Whether the parts that crossed changed more than directions of no emotion; None: unknown."""
    told = parts.loc[parts["crossed"], "specific"].dropna()
    return bool(told.any()) if len(told) else None


def _find_last(places: pd.DataFrame, run: str) -> int:
    return int(np.flatnonzero(places["run"] == run)[-1])


def _round(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else round(float(value), 4)
