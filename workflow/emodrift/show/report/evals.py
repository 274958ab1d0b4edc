"""The report's chapter on evals that other tools ran: tables, and prompts where they disagree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from emodrift.config.names import say
from emodrift.drift.table import read_table
from emodrift.evals.verdicts import BOTH, NEITHER, summarise_correlations
from emodrift.show.external import bound_evals, name_evals
from emodrift.show.report.tables import Table
from emodrift.show.wording import interval
from emodrift.warning.indicators import TITLES


class Quantity(NamedTuple):
    """One measured quantity over checkpoints: its name and columns checkpoint, run, value, low,
    high."""

    name: str
    rows: pd.DataFrame


class Disagreement(NamedTuple):
    """Where alarms and an eval disagree: a run, what is said of it, and prompts that moved."""

    run: str
    sentence: str
    prompts: Sequence[Mapping[str, Any]]


def read_external(entry: Path, level: float) -> pd.DataFrame:
    """Scores with their intervals and with ``eval``, what each is called."""
    table = read_table(entry, "evals")
    named = table.assign(eval=name_evals(table, say))
    return bound_evals(named.assign(item=named["eval"]), level)


def list_quantities(entry: Path, level: float, reference: int) -> list[Quantity]:
    """Every eval that was measured at the reference, as a quantity of the runs' stories."""
    return [
        Quantity(str(name), rows)
        for name, rows in read_external(entry, level).groupby("eval", sort=False)
        if (rows["checkpoint"] == reference).any()
    ]


def list_disagreements(audit: Mapping[str, Any]) -> list[Disagreement]:
    """Runs in which one of the two stands alone, with the prompts that changed there."""
    return [
        Disagreement(run["run"], told["sentence"], told["prompts"])
        for run in audit["runs"]
        for told in run.get("external_evals", ())
        if told["says"] not in (BOTH, NEITHER)
    ]


def list_eval_tables(entry: Path, level: str) -> list[Table]:
    """What alarms and evals say of each run, and how indicators and evals correlate."""
    tables = [_tabulate_runs(read_table(entry, "eval_runs"))]
    correlations = read_table(entry, "correlations")
    if len(correlations):
        tables.append(_tabulate_correlations(summarise_correlations(correlations), level))
    return [table for table in tables if table.rows]


def _tabulate_runs(table: pd.DataFrame) -> Table:
    names = name_evals(table, say)
    rows = [
        (
            row["run"],
            (name, *(_step(row[key]) for key in ("alarm_step", "worse_step", "lead")), row["says"]),
        )
        for name, row in zip(names, table.to_dict("records"), strict=True)
    ]
    note = (
        "Evals of other tools beside the alarms. Lead: steps from the first alarm to the first "
        "checkpoint at which the eval is worse than at the reference beyond its error."
    )
    return Table(note, ("eval", "first alarm", "first worse", "lead", "which says so"), rows)


def _tabulate_correlations(table: pd.DataFrame, level: str) -> Table:
    names = name_evals(table, say)
    rows = [
        (
            TITLES[row["indicator"]],
            (
                name,
                interval(row["r"], row["low"], row["high"]),
                str(row["n"]),
                "–" if pd.isna(row["lag"]) else f"{row['lag']:+d}",
                interval(row["lag_r"], row["lag_low"], row["lag_high"]),
            ),
        )
        for name, row in zip(names, table.to_dict("records"), strict=True)
    ]
    note = (
        f"Correlation of indicators with evals within runs, with {level} intervals for as many "
        "pairs as the series' autocorrelation leaves. Lag: checkpoints by which the eval comes "
        "later where changes go together best; positive: the indicator moves first."
    )
    return Table(
        note, ("eval", "r of levels", "checkpoints", "lag", "r of changes"), rows, "indicator"
    )


def _step(value: Any) -> str:
    return "–" if pd.isna(value) else str(value)
