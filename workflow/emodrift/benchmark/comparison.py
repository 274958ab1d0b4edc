"""Detectors over organism seeds: thresholds from some, figures from others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from emodrift.benchmark import monitor
from emodrift.benchmark.detectors import (
    AGAINST_SOUND,
    EMODRIFT,
    EXACT,
    PROMPTS,
    list_detectors,
)
from emodrift.benchmark.scoring import (
    SOUND,
    compare_detectors,
    count_practical,
    count_verdicts,
    cross_detectors,
    estimate_lead_curve,
    measure_leads,
    race_detectors,
    set_thresholds,
    summarise_leads,
    trace_rocs,
)
from emodrift.drift.table import read_table, write_table

RACED = (EXACT, AGAINST_SOUND)
"""Rivals that all others are raced against, run by run."""


class ComparisonParams(NamedTuple):
    """What the comparison is asked.

    seeds: organism seeds, in the order of the signals. calibration: those that set thresholds.
    rate: of false alarms among sound runs. level, seed: of the intervals and their bootstrap.
    """

    seeds: Sequence[int]
    calibration: Sequence[int]
    rate: float
    level: float
    seed: int


class ComparisonInputs(NamedTuple):
    """Entries that the comparison reads: signals of each seed."""

    signals: Sequence[Path]


def compare_seeds(params: ComparisonParams, inputs: ComparisonInputs, out: Path) -> None:
    """Compare detectors over seeds.

    Writes ``detectors.parquet`` (detector, figure, value, low, high), ``thresholds.parquet``
    (detector, threshold, fixed, reads), ``rocs.parquet``, ``leads.parquet``,
    ``lead_curves.parquet`` (detector, lead, share), ``lead_figures.parquet``, ``races.parquet``,
    ``overlap.parquet`` (regime, runs that emodrift and exact evals tell), ``confusion.parquet``
    (regime, verdict, runs), ``practical.parquet``, ``runs.parquet``, ``scores.parquet``,
    ``crossings.parquet`` (seed, run, component, step, regime) and ``costs.parquet``.

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    calibration = list(params.calibration)
    runs, scores, profiles, crossings, costs = (
        _gather(params.seeds, inputs.signals, name)
        for name in ("runs", "scores", "profiles", "crossings", "costs")
    )
    regimes = runs[["seed", "run", "regime"]]
    scores = scores.merge(regimes, on=["seed", "run"], validate="m:1")
    taught = monitor.score_monitor(profiles.merge(regimes, on=["seed", "run"]), calibration)
    scores = pd.concat([scores, taught], ignore_index=True)
    thresholds = list_thresholds(scores[scores["seed"].isin(calibration)], params.rate)
    lines = thresholds.set_index("detector")["threshold"]
    scored = scores[~scores["seed"].isin(calibration) & scores["detector"].isin(lines.index)]
    fresh = runs[~runs["seed"].isin(calibration)]
    practical = fresh.set_index(["seed", "run"])["practical_step"]
    leads = measure_leads(scored[scored["regime"] != SOUND], lines, practical)
    tables = {
        "detectors": compare_detectors(scored, lines, params.level, params.seed),
        "thresholds": thresholds,
        "rocs": trace_rocs(scored),
        "leads": leads,
        "lead_curves": draw_curves(leads),
        "lead_figures": summarise_leads(leads, params.level, params.seed),
        "races": pd.concat(
            [race_detectors(scored, lines, rival).assign(against=rival) for rival in RACED],
            ignore_index=True,
        ),
        "overlap": cross_detectors(scored, lines, EMODRIFT, EXACT),
        "confusion": count_verdicts(fresh).reset_index().melt("regime", value_name="runs"),
        "practical": count_practical(fresh),
        "runs": runs.assign(scored=~runs["seed"].isin(calibration)),
        "scores": scores,
        "crossings": crossings.merge(regimes, on=["seed", "run"]),
        "costs": costs.groupby("measurement", as_index=False)["seconds"].median(),
    }
    for name, table in tables.items():
        write_table(table, out, name)


def list_thresholds(scores: pd.DataFrame, rate: float) -> pd.DataFrame:
    """Line of every detector: detector, threshold, fixed, reads.

    Parameters
    ----------
    scores
        Of calibration seeds; see :func:`emodrift.benchmark.scoring.set_thresholds`.
    rate
        Of sound runs that may cross it.
    """
    lines = set_thresholds(scores, rate)
    known = list_detectors()
    rows = []
    for detector, line in lines.items():
        own = known.get(str(detector))
        fixed = own.threshold(rate) if own and own.threshold else None
        reads = own.reads if own else (PROMPTS, "labels of failures")
        threshold = line if fixed is None else fixed
        rows.append((detector, threshold, fixed is not None, ", ".join(reads)))
    order = {name: number for number, name in enumerate([*known, monitor.NAME])}
    table = pd.DataFrame(rows, columns=["detector", "threshold", "fixed", "reads"])
    return table.sort_values("detector", key=lambda names: names.map(order), ignore_index=True)


def draw_curves(leads: pd.DataFrame) -> pd.DataFrame:
    """Kaplan–Meier curve of every detector: detector, lead, share."""
    curves = []
    for detector, table in leads.groupby("detector", sort=False):
        steps = np.unique([*leads["lead"], 0.0])[::-1]
        curve = estimate_lead_curve(table, steps)
        curves.append(pd.DataFrame({"detector": detector, "lead": steps, "share": curve.values}))
    columns = ["detector", "lead", "share"]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def _gather(seeds: Sequence[int], entries: Sequence[Path], name: str) -> pd.DataFrame:
    tables = [read_table(e, name).assign(seed=s) for s, e in zip(seeds, entries, strict=True)]
    return pd.concat(tables, ignore_index=True)
