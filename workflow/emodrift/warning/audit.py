"""The audit: every alarm with its evidence and the behaviour evals beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from emodrift.drift.table import read_table, write_table
from emodrift.stage import Stage
from emodrift.warning.alarms import raise_alarms
from emodrift.warning.indicators import TITLES, Tables, compute_indicators

STAGE = Stage(
    "indicators",
    "measure_indicators",
    reads={"drift": "drift", "evocation": "evocation", "coupling": "coupling"},
    settings=["checkpoints", "reference", "seed", "indicators", "metrics", "roles", "alarms"],
)
PROMPTS_NAMED = 5


def measure_indicators(
    checkpoints: Sequence[dict[str, Any]],
    reference: int,
    seed: int,
    indicators: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    roles: Mapping[str, str],
    alarms: Mapping[str, Any],
    drift: Path,
    evocation: Path,
    coupling: Path,
    out: Path,
) -> None:
    """Compute indicators, judge them, and write ``indicators.parquet``, ``components.parquet`` and
    ``audit.json``.

    Parameters
    ----------
    indicators, metrics, roles, alarms
        Config.
    drift, evocation, coupling
        Entries of the three changes.
    checkpoints, reference, seed, out
        As in :func:`emodrift.drift.geometry.measure_drift`.
    """
    tables = Tables(
        read_table(drift, "drift"),
        read_table(evocation, "evocation"),
        read_table(coupling, "coupling"),
        read_table(coupling, "knobs"),
        read_table(coupling, "behaviour"),
    )
    values, components = compute_indicators(tables, indicators, metrics, reference)
    places = pd.DataFrame(checkpoints).rename_axis("checkpoint").reset_index()
    values = places.merge(values, on="checkpoint", validate="1:m")
    judged = raise_alarms(values, roles, checkpoints[reference], alarms, seed)
    audit = {
        "reference": checkpoints[reference],
        "false_alarm_rate": alarms["false_alarm_rate"],
        "alarms": list_alarms(
            judged, components, tables.behaviour, read_table(evocation, "prompts"), reference
        ),
        "runs": summarise_runs(judged, roles),
    }
    write_table(judged, out, "indicators")
    write_table(places.merge(components, on="checkpoint", validate="1:m"), out, "components")
    (out / "audit.json").write_text(json.dumps(audit, indent=1) + "\n")


def list_alarms(
    judged: pd.DataFrame,
    components: pd.DataFrame,
    behaviour: pd.DataFrame,
    prompts: pd.DataFrame,
    reference: int,
) -> list[dict[str, Any]]:
    """First alarm of every run and indicator, with its evidence.

    Parameters
    ----------
    judged
        Indicators with alarms.
    components
        Indicators' components.
    behaviour
        Unsteered behaviour.
    prompts
        Projection on caution and log-odds of refusal per prompt.
    reference
        Number of the reference checkpoint.
    """
    alarms = []
    raised = judged[judged["alarm"]]
    for (run, indicator), rows in raised.groupby(["run", "indicator"], sort=False):
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
                "expected_of_healthy": _round(first["expected"]),
                "standard_error": _round(first["se"]),
                "cusum": _round(first["cusum"]),
                "threshold": _round(first["threshold"]),
                "threshold_basis": first["basis"],
                "evidence": [
                    {
                        "component": part["component"],
                        "value": _round(part["value"]),
                        "reference": _round(part["reference"]),
                        "reference_se": _round(part["reference_se"]),
                    }
                    for part in parts.to_dict("records")
                ],
                "prompts_that_changed_most": _name_prompts(prompts, number, reference),
                "behaviour": _compare_behaviour(behaviour, number, reference),
            }
        )
    return alarms


def summarise_runs(judged: pd.DataFrame, roles: Mapping[str, str]) -> list[dict[str, Any]]:
    """For every run: its role, and step of the first alarm of each indicator (or None)."""
    runs = []
    for run, rows in judged.groupby("run", sort=False):
        first = rows[rows["alarm"]].groupby("indicator")["step"].first()
        runs.append(
            {
                "run": run,
                "role": roles[run],
                "first_alarm": {
                    name: int(first[name]) if name in first else None
                    for name in rows["indicator"].unique()
                },
            }
        )
    return runs


def _name_prompts(prompts: pd.DataFrame, number: int, reference: int) -> list[dict[str, Any]]:
    now, then = (prompts[prompts["checkpoint"] == n].set_index("id") for n in (number, reference))
    change = (now["log_odds"] - then["log_odds"]).rename("change")
    table = now.join(change)
    most = table.loc[change.abs().sort_values(ascending=False).index[:PROMPTS_NAMED]]
    return [
        {
            "id": name,
            "suite": row["suite"],
            "split": row["split"],
            "refusal_log_odds": _round(row["log_odds"]),
            "refusal_log_odds_at_reference": _round(then.at[name, "log_odds"]),
            "caution_projection": _round(row["projection"]),
            "caution_projection_at_reference": _round(then.at[name, "projection"]),
        }
        for name, row in most.iterrows()
    ]


def _compare_behaviour(
    behaviour: pd.DataFrame, number: int, reference: int
) -> list[dict[str, Any]]:
    keys = ["metric", "split"]
    now, then = (
        behaviour[behaviour["checkpoint"] == n].set_index(keys) for n in (number, reference)
    )
    return [
        {
            "metric": metric,
            "split": split,
            "probability": _round(row["probability"]),
            "interval": [_round(row["low"]), _round(row["high"])],
            "at_reference": _round(then.at[(metric, split), "probability"]),
        }
        for (metric, split), row in now.iterrows()
    ]


def _round(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), 4)
