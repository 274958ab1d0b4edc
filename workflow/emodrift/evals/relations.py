"""How indicators and external evals go together: correlation, lead and lag, and disagreement.

Levels differ between runs for reasons that have nothing to do with training, and values that follow
each other in a run resemble each other. Correlations are therefore taken within runs (repeated
measures correlation, Bakdash & Marusich 2017, Frontiers in Psychology 8), and their intervals count
the pairs as fewer than they are by the series' autocorrelation (Quenouille 1947, Biometrika 34).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

EVAL = ["source", "task", "metric"]
FEWEST = 3
"""Effective degrees of freedom below which an interval says nothing."""


class Correlation(NamedTuple):
    """A correlation within runs.

    Parameters
    ----------
    r
        Pearson's, on values less their run's mean.
    low, high
        Interval by Fisher's transform; NaN where there is too little to tell.
    n
        Pairs.
    runs
        Runs with at least two pairs.
    freedom
        Effective degrees of freedom.
    """

    r: float
    low: float
    high: float
    n: int
    runs: int
    freedom: float


def correlate(x: pd.Series, y: pd.Series, runs: pd.Series, level: float) -> Correlation:
    """Correlation of two series within runs, with an interval.

    Parameters
    ----------
    x, y
        Values in training order, run by run.
    runs
        The run of each.
    level
        Level of the interval.

    Examples
    --------
    >>> x = pd.Series([0.0, 1, 2, 0, 1, 2])
    >>> runs = pd.Series(["a", "a", "a", "b", "b", "b"])
    >>> correlate(x, 5 + 2 * x, runs, level=0.95).r
    1.0
    """
    frame = pd.DataFrame({"x": x.to_numpy(float), "y": y.to_numpy(float), "run": runs.to_numpy()})
    frame = frame.dropna()
    frame = frame[frame.groupby("run")["x"].transform("size") > 1]
    number, groups = len(frame), frame["run"].nunique()
    if not number:
        return Correlation(np.nan, np.nan, np.nan, 0, 0, 0.0)
    centred = frame[["x", "y"]] - frame.groupby("run")[["x", "y"]].transform("mean")
    spread = np.sqrt((centred**2).sum())
    if not spread.all():
        return Correlation(np.nan, np.nan, np.nan, number, groups, 0.0)
    r = float((centred["x"] * centred["y"]).sum() / spread.prod())
    memory = _correlate_neighbours(centred["x"], frame["run"]) * _correlate_neighbours(
        centred["y"], frame["run"]
    )
    shrink = min(1.0, (1 - memory) / (1 + memory))
    freedom = number * shrink - groups - 1
    low = high = np.nan
    if freedom >= FEWEST:
        half = norm.ppf((1 + level) / 2) / np.sqrt(freedom - 1)
        low, high = np.tanh(np.arctanh(np.clip(r, -0.999999, 0.999999)) + np.array([-half, half]))
    return Correlation(r, float(low), float(high), number, groups, float(max(0.0, freedom)))


def correlate_all(
    evals: pd.DataFrame, indicators: pd.DataFrame, level: float, lags: int
) -> pd.DataFrame:
    """Correlation of every indicator with every eval, of levels and, at every lag, of changes.

    Parameters
    ----------
    evals
        Table of evals.
    indicators
        checkpoint, run, indicator, value.
    level
        Level of intervals.
    lags
        Largest lag in checkpoints.

    Returns
    -------
    pd.DataFrame
        indicator, source, task, metric, of (``level`` or ``change``), lag (positive: the indicator
        comes first) and the fields of :class:`Correlation`.
    """
    rows = []
    for key, pairs in _pair(evals, indicators):
        found = correlate(pairs["indicated"], pairs["evaluated"], pairs["run"], level)
        rows.append({**key, "of": "level", "lag": 0, **found._asdict()})
        changes = pairs.assign(
            **{c: pairs.groupby("run")[c].diff() for c in ("indicated", "evaluated")}
        )
        for lag in range(-lags, lags + 1):
            later = changes.groupby("run")["evaluated"].shift(-lag)
            found = correlate(changes["indicated"], later, changes["run"], level)
            rows.append({**key, "of": "change", "lag": lag, **found._asdict()})
    return pd.DataFrame(rows)


def mark_worse(evals: pd.DataFrame, reference: int, worse_by: float) -> pd.DataFrame:
    """Evals with their change from the reference for the worse, and whether it is one.

    Parameters
    ----------
    evals
        Table of evals; those without a direction or without a value at the reference are left out,
        and so are checkpoints of the reference's run that came before it.
    reference
        Number of the reference checkpoint.
    worse_by
        Standard errors of the difference by which an eval must be worse. Where no standard error is
        known any change for the worse counts.

    Returns
    -------
    pd.DataFrame
        Rows of `evals` with ``change`` (positive: worse), ``change_se`` and ``worse``.
    """
    before = evals["run"].isin(evals.loc[evals["checkpoint"] == reference, "run"])
    before &= evals["checkpoint"] < reference
    known = evals[evals["higher_is_better"].notna() & ~before]
    base = known[known["checkpoint"] == reference].set_index(EVAL)[["value", "se"]]
    table = known.join(base.add_suffix("_reference"), on=EVAL, how="inner")
    sign = np.where(table["higher_is_better"].astype(bool), -1.0, 1.0)
    table["change"] = sign * (table["value"] - table["value_reference"])
    table["change_se"] = np.hypot(table["se"].astype(float), table["se_reference"].astype(float))
    table["worse"] = table["change"] > worse_by * table["change_se"].fillna(0.0)
    return table.drop(columns=["value_reference", "se_reference"])


def find_leads(marked: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """By how much an indicator's first alarm comes before an eval is first worse, run by run.

    Parameters
    ----------
    marked
        See :func:`mark_worse`.
    indicators
        checkpoint, run, step, indicator, value, alarm.

    Returns
    -------
    pd.DataFrame
        run, indicator, source, task, metric, alarm_step, worse_step, lead (steps; positive: the
        indicator warned first; missing unless both happened), lead_checkpoints.
    """
    rows = []
    for key, pairs in _pair(marked, indicators):
        for run, table in pairs.groupby("run", sort=False):
            alarm, worse = (_find_first(table, name) for name in ("alarm", "worse"))
            steps = table["step"].to_numpy()
            lead = checkpoints = None
            if alarm is not None and worse is not None:
                lead, checkpoints = int(steps[worse] - steps[alarm]), worse - alarm
            rows.append(
                {
                    "run": run,
                    **key,
                    "alarm_step": None if alarm is None else int(steps[alarm]),
                    "worse_step": None if worse is None else int(steps[worse]),
                    "lead": lead,
                    "lead_checkpoints": checkpoints,
                }
            )
    table = pd.DataFrame(rows)
    whole = [c for c in ("alarm_step", "worse_step", "lead", "lead_checkpoints") if c in table]
    return table.astype({column: "Int64" for column in whole})


def find_disagreements(marked: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Checkpoints where an indicator alarms and an eval is no worse, or the other way about.

    Returns
    -------
    pd.DataFrame
        checkpoint, run, step, indicator, source, task, metric, says (``alarm only`` or ``eval
        only``), indicated, evaluated, change, change_se.
    """
    rows = [
        pairs.loc[pairs["alarm"] != pairs["worse"]].assign(**key)
        for key, pairs in _pair(marked, indicators)
    ]
    if not rows:
        return pd.DataFrame()
    table = pd.concat(rows, ignore_index=True)
    table["says"] = np.where(table["alarm"], "alarm only", "eval only")
    columns = ["checkpoint", "run", "step", "indicator", *EVAL, "says"]
    return table[[*columns, "indicated", "evaluated", "change", "change_se"]]


def name_prompts(
    disagreements: pd.DataFrame, answers: pd.DataFrame, reference: int, number: int
) -> pd.DataFrame:
    """The prompts whose answers changed most since the reference, where the two disagree.

    Parameters
    ----------
    disagreements
        See :func:`find_disagreements`.
    answers
        checkpoint, source, task, metric, id, prompt, response, value.
    reference
        Number of the reference checkpoint.
    number
        How many prompts are named with each eval and checkpoint.

    Returns
    -------
    pd.DataFrame
        checkpoint, source, task, metric, id, prompt, response, value, and ``value_reference`` and
        ``response_reference``.
    """
    if answers.empty or disagreements.empty:
        return answers.head(0)
    base = answers[answers["checkpoint"] == reference].set_index([*EVAL, "id"])
    table = answers.join(
        base[["value", "response"]].add_suffix("_reference"), on=[*EVAL, "id"], how="inner"
    )
    asked = disagreements[["checkpoint", "source", "task"]].drop_duplicates()
    table = table.merge(asked, on=["checkpoint", "source", "task"])
    table["moved"] = (table["value"] - table["value_reference"]).abs()
    table = table[table["moved"] > 0].sort_values("moved", ascending=False, kind="stable")
    named = table.groupby(["checkpoint", *EVAL], sort=False).head(number)
    return named.drop(columns="moved").reset_index(drop=True)


def _pair(
    evals: pd.DataFrame, indicators: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every indicator beside every eval: its names, and a table in training order."""
    evaluated = evals.rename(columns={"value": "evaluated"})
    for indicator, values in indicators.groupby("indicator", sort=False):
        values = values.rename(columns={"value": "indicated"})
        keep = [c for c in ("checkpoint", "indicated", "alarm") if c in values]
        for (source, task, metric), table in evaluated.groupby(EVAL, sort=False):
            pairs = table.merge(values[keep], on="checkpoint", validate="1:1")
            key = {"indicator": indicator, "source": source, "task": task, "metric": metric}
            yield key, pairs.sort_values("checkpoint", ignore_index=True)


def _correlate_neighbours(centred: pd.Series, runs: pd.Series) -> float:
    before = centred.groupby(runs.to_numpy()).shift()
    total = float((centred**2).sum())
    return float((centred * before).sum() / total) if total else 0.0


def _find_first(table: pd.DataFrame, name: str) -> int | None:
    places = np.flatnonzero(table[name].to_numpy(bool))
    return int(places[0]) if len(places) else None
