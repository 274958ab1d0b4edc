"""Alarms: when an indicator has left what healthy training does.

A one-sided cumulative sum on the standardised indicator, causal: it never looks ahead. The
comparison is the matched healthy continuation, not the reference, for healthy training itself
moves the indicators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

NULL_RUNS = 20_000


class Threshold(NamedTuple):
    """Threshold of a cumulative sum, and what it rests on."""

    value: float
    basis: str


def raise_alarms(
    values: pd.DataFrame,
    roles: Mapping[str, str],
    reference: Mapping[str, Any],
    alarms: Mapping[str, Any],
    seed: int,
) -> pd.DataFrame:
    """Standardise indicators, sum them up along each run, and mark alarms.

    Parameters
    ----------
    values
        checkpoint, run, step, stage, indicator, value, se.
    roles
        Run -> ``healthy`` or ``observed``.
    reference
        Run, stage and step of the reference. Checkpoints before it, in its run, raise no alarm.
    alarms
        Config: false_alarm_rate, consecutive, slack.
    seed
        Of the simulated null.

    Returns
    -------
    pd.DataFrame
        ``values`` with ``expected`` (the healthy value at that step), ``deviation`` (in standard
        deviations of a difference between sound runs), ``cusum``, ``threshold``, ``basis`` and
        ``alarm``.
    """
    judged = []
    for _, table in values.groupby("indicator", sort=False):
        table = table.assign(before=is_before(table, reference))
        table["expected"] = expect_healthy(table, roles)
        scale = np.sqrt(2 * table["se"] ** 2 + measure_spread(table, roles))
        table["deviation"] = (table["value"] - table["expected"]) / scale
        table.loc[table["before"], "deviation"] = 0.0
        table["cusum"] = _sum_along_runs(table, alarms["slack"])
        threshold = set_threshold(table, roles, alarms, seed)
        crossed = (table["cusum"] > threshold.value) & ~table["before"]
        table["threshold"], table["basis"] = threshold.value, threshold.basis
        table["alarm"] = _in_a_row(crossed, table["run"], alarms["consecutive"])
        judged.append(table.drop(columns="before"))
    return pd.concat(judged, ignore_index=True)


def is_before(table: pd.DataFrame, reference: Mapping[str, Any]) -> pd.Series:
    """Checkpoints of the reference's run up to the reference itself."""
    of_run = table["run"] == reference["run"]
    place = table.groupby("run").cumcount()
    same = (table["stage"] == reference["stage"]) & (table["step"] == reference["step"])
    at = place[of_run & same].iloc[0]
    return of_run & (place <= at)


def expect_healthy(table: pd.DataFrame, roles: Mapping[str, str]) -> pd.Series:
    """Healthy value of an indicator at each checkpoint.

    The mean over other healthy runs of the same stage, interpolated between their steps; the
    reference's value (0) where no other healthy run shares the stage.
    """
    expected = []
    for _, row in table.iterrows():
        matched = table[
            (table["stage"] == row["stage"])
            & (table["run"] != row["run"])
            & (table["run"].map(roles) == "healthy")
            & ~table["before"]
        ]
        curves = [
            np.interp(row["step"], run["step"], run["value"])
            for _, run in matched.sort_values("step").groupby("run")
        ]
        expected.append(float(np.mean(curves)) if curves else 0.0)
    return pd.Series(expected, index=table.index)


def measure_spread(table: pd.DataFrame, roles: Mapping[str, str]) -> float:
    """Variance between healthy runs of one stage at the same step, pooled; 0 with none to compare.

    What the bootstrap at the reference cannot see: another seed of the same training.
    """
    healthy = table[(table["run"].map(roles) == "healthy") & ~table["before"]]
    cells = healthy.groupby(["stage", "step"])["value"]
    freedom = cells.size() - 1
    if freedom.sum() == 0:
        return 0.0
    return float((cells.var().fillna(0) * freedom).sum() / freedom.sum())


def sum_up(deviations: Sequence[float], slack: float) -> np.ndarray:
    """One-sided cumulative sum: what exceeds the slack adds up, what falls short is forgiven.

    Notes
    -----
    Page (1954), Continuous inspection schemes.
    """
    total, sums = 0.0, []
    for deviation in deviations:
        total = max(0.0, total + deviation - slack)
        sums.append(total)
    return np.array(sums)


def set_threshold(
    table: pd.DataFrame, roles: Mapping[str, str], alarms: Mapping[str, Any], seed: int
) -> Threshold:
    """Threshold that healthy checkpoints cross at the false-alarm rate.

    Split-conformal over the healthy runs' sums where they are enough for the rate; else the
    greater of their maximum and of the rate's quantile when deviations are standard normal, as the
    reference's bootstrap says.
    """
    rate = alarms["false_alarm_rate"]
    healthy = table[(table["run"].map(roles) == "healthy") & ~table["before"]]["cusum"]
    rank = math.ceil((len(healthy) + 1) * (1 - rate))
    if rank <= len(healthy):
        return Threshold(
            float(np.sort(healthy)[rank - 1]),
            f"split-conformal over {len(healthy)} healthy checkpoints",
        )
    length = max([1, *table[~table["before"]].groupby("run").size()])
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((NULL_RUNS, length))
    sums = np.zeros(NULL_RUNS)
    peaks = np.zeros(NULL_RUNS)
    for column in noise.T:
        sums = np.maximum(0, sums + column - alarms["slack"])
        peaks = np.maximum(peaks, sums)
    simulated = float(np.quantile(peaks, 1 - rate))
    if healthy.empty:
        return Threshold(simulated, "the reference's bootstrap; no healthy run is given")
    return Threshold(
        max(simulated, float(healthy.max())),
        f"the reference's bootstrap and {len(healthy)} healthy checkpoints, too few for a "
        f"split-conformal rate of {rate}",
    )


def _sum_along_runs(table: pd.DataFrame, slack: float) -> pd.Series:
    sums = pd.Series(0.0, index=table.index)
    for _, run in table.groupby("run"):
        sums[run.index] = sum_up(run["deviation"], slack)
    return sums


def _in_a_row(crossed: pd.Series, runs: pd.Series, consecutive: int) -> pd.Series:
    streak = crossed.groupby(runs).transform(
        lambda c: c.astype(int).groupby((~c).cumsum()).cumsum()
    )
    return streak >= consecutive
