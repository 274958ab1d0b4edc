"""Run by run, what external evals say beside the alarms, in tables, words and the audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from emodrift.evals.relations import EVAL

BOTH, ALARM_ONLY, EVAL_ONLY, NEITHER = "both", "alarm only", "eval only", "neither"
COLUMNS = ["run", *EVAL, "evaluated", "alarm_step", "worse_step", "lead", "lead_checkpoints"]
DIGITS = 4


def compare_runs(marked: pd.DataFrame, indicators: pd.DataFrame, reference: int) -> pd.DataFrame:
    """Each run's first alarm of any indicator beside the first checkpoint where an eval is worse.

    Parameters
    ----------
    marked
        See :func:`emodrift.evals.relations.mark_worse`.
    indicators
        checkpoint, run, step, stage, indicator, alarm.
    reference
        Number of the reference checkpoint, which is compared with nothing.

    Returns
    -------
    pd.DataFrame
        run, source, task, metric, evaluated (checkpoints), alarm_step, worse_step, lead (steps,
        positive: the alarm came first; missing unless both happened in one stage),
        lead_checkpoints, says (``both``, ``alarm only``, ``eval only``, ``neither``), sentence.
    """
    rows = []
    start = indicators["checkpoint"] == reference
    before = indicators["run"].isin(indicators.loc[start, "run"])
    before &= indicators["checkpoint"] <= reference
    for run, own in indicators[~before].groupby("run", sort=False):
        places = own.groupby("checkpoint").agg(
            step=("step", "first"), stage=("stage", "first"), alarm=("alarm", "any")
        )
        alarm = _find_first(places["alarm"])
        for key, scores in marked[marked["checkpoint"].isin(places.index)].groupby(
            EVAL, sort=False
        ):
            worse = _find_first(scores.set_index("checkpoint")["worse"])
            row = dict(zip(EVAL, key, strict=True)) | {"run": run, "evaluated": len(scores)}
            rows.append(row | _compare(places, alarm, worse))
    table = pd.DataFrame(rows, columns=[*COLUMNS, "says"])
    whole = ("alarm_step", "worse_step", "lead", "lead_checkpoints")
    table = table.astype({name: "Int64" for name in whole})
    return table.assign(sentence=[_say(row) for row in table.to_dict("records")])


def tell_audit(
    audit: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], reference: int
) -> dict[str, Any]:
    """An audit with external evals beside every alarm and run.

    Parameters
    ----------
    audit
        ``audit.json`` of the indicators.
    tables
        ``evals``, ``correlations``, ``eval_runs``, ``disagreement_prompts``.
    reference
        Number of the reference checkpoint.

    Returns
    -------
    dict
        `audit` with ``evals``, correlations of levels and the lag at which changes go together
        best; ``external_evals`` in each alarm, the evals at its checkpoint; and in each run, what
        :func:`compare_runs` says and the ``prompts`` where the two disagree.
    """
    scores, prompts = tables["evals"], tables["disagreement_prompts"]
    at = scores.set_index(["run", "stage", "step"]).sort_index()
    start = scores[scores["checkpoint"] == reference].set_index(EVAL)["value"]
    return {
        **audit,
        "evals": _list_records(summarise_correlations(tables["correlations"])),
        "alarms": [
            {**alarm, "external_evals": _list_scores(at, start, alarm)} for alarm in audit["alarms"]
        ],
        "runs": [
            {
                **run,
                "external_evals": [
                    {**row, "prompts": _list_prompts(prompts, scores, row)}
                    for row in _list_records(
                        tables["eval_runs"][tables["eval_runs"]["run"] == run["run"]]
                    )
                ],
            }
            for run in audit["runs"]
        ],
    }


def summarise_correlations(correlations: pd.DataFrame) -> pd.DataFrame:
    """Each indicator and eval: the correlation of levels, and the lag at which changes go together
    best.

    Returns
    -------
    pd.DataFrame
        indicator, source, task, metric, r, low, high, n, runs, freedom, and ``lag``, ``lag_r``,
        ``lag_low``, ``lag_high`` of the largest correlation of changes, by size, among lags that
        have an interval (missing where none has).
    """
    names = ["indicator", *EVAL]
    levels = correlations[correlations["of"] == "level"].drop(columns=["of", "lag"])
    changes = correlations[(correlations["of"] == "change") & correlations["low"].notna()]
    best = changes.assign(size=changes["r"].abs()).sort_values("size", ascending=False)
    best = best.drop_duplicates(names)[[*names, "lag", "r", "low", "high"]]
    best = best.rename(columns={"r": "lag_r", "low": "lag_low", "high": "lag_high"})
    return levels.merge(best.astype({"lag": "Int64"}), on=names, how="left")


def _find_first(flags: pd.Series) -> int | None:
    raised = flags.index[flags.to_numpy(bool)]
    return int(min(raised)) if len(raised) else None


def _compare(places: pd.DataFrame, alarm: int | None, worse: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "alarm_step": None if alarm is None else int(places.at[alarm, "step"]),
        "worse_step": None if worse is None else int(places.at[worse, "step"]),
        "says": {
            (True, True): BOTH,
            (True, False): ALARM_ONLY,
            (False, True): EVAL_ONLY,
            (False, False): NEITHER,
        }[alarm is not None, worse is not None],
    }
    if alarm is not None and worse is not None:
        order = list(places.index)
        found["lead_checkpoints"] = order.index(worse) - order.index(alarm)
        if places.at[alarm, "stage"] == places.at[worse, "stage"]:
            found["lead"] = found["worse_step"] - found["alarm_step"]
    return found


def _say(row: Mapping[str, Any]) -> str:
    name = f"{row['task']} {row['metric']} ({row['source']})"
    number = row["evaluated"]
    seen = f"{number} checkpoint{'s' if number > 1 else ''}"
    if row["says"] == NEITHER:
        return f"{name} is worse at none of {seen}, and no indicator alarms."
    if row["says"] == ALARM_ONLY:
        return (
            f"{name} is worse at none of {seen}; the alarm at step {row['alarm_step']} stands "
            "alone."
        )
    if row["says"] == EVAL_ONLY:
        return f"{name} is worse from step {row['worse_step']}, and no indicator alarms."
    lead = row["lead_checkpoints"]
    far = f"{abs(lead)} checkpoint{'s' if abs(lead) > 1 else ''}"
    when = f"{far} {'before' if lead > 0 else 'after'}" if lead else "at the same checkpoint"
    return (
        f"{name} is worse from step {row['worse_step']}; the first alarm came {when}, at step "
        f"{row['alarm_step']}."
    )


def _list_scores(
    at: pd.DataFrame, start: pd.Series, alarm: Mapping[str, Any]
) -> list[dict[str, Any]]:
    place = (alarm["run"], alarm["stage"], alarm["step"])
    if place not in at.index:
        return []
    rows = at.loc[[place]][[*EVAL, "value", "se", "worse"]]
    return _list_records(rows.join(start.rename("at_reference"), on=EVAL))


def _list_prompts(
    prompts: pd.DataFrame, scores: pd.DataFrame, row: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Prompts of a run's last checkpoint at which an alarm and this eval disagree."""
    if prompts.empty:
        return []
    of_run = scores.loc[scores["run"] == row["run"], "checkpoint"].unique()
    same = (prompts["source"] == row["source"]) & (prompts["task"] == row["task"])
    own = prompts[same & prompts["checkpoint"].isin(of_run)]
    last = own[own["checkpoint"] == own["checkpoint"].max()]
    keep = ["id", "prompt", "value", "response", "value_reference", "response_reference"]
    return _list_records(last.drop_duplicates("id")[keep])


def _list_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values: null where missing, numbers rounded."""
    return [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if pd.isna(value):
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return round(float(value), DIGITS) if isinstance(value, float | np.floating) else str(value)
