"""Scoring detectors over many studies: who tells broken runs from sound ones, and how early.

A study is one organism seed; seeds are the unit of every interval. Thresholds come from sound runs
of calibration seeds, figures from scoring seeds alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import CensoredData, ecdf
from sklearn.metrics import roc_curve

from emodrift.warning.behaviour import PRACTICAL

SOUND = "sound"
PRACTICAL_METRICS = ("refusal", "over_refusal")
DRAWS = 1000
LEAD_DRAWS = 200


def set_thresholds(scores: pd.DataFrame, rate: float) -> pd.Series:
    """Threshold of each detector: the score that sound runs exceed at a rate.

    Parameters
    ----------
    scores
        seed, regime, run, step, detector, score of calibration seeds.
    rate
        Of sound runs that may exceed it; conformal, the largest where there are too few runs.
    """
    last = _take_last(scores[scores["regime"] == SOUND])

    def pick(values: pd.Series) -> float:
        rank = int(np.ceil((len(values) + 1) * (1 - rate)))
        return float(np.sort(values)[min(rank, len(values)) - 1])

    return last.groupby("detector")["score"].agg(pick)


def compare_detectors(
    scores: pd.DataFrame, thresholds: pd.Series, level: float, seed: int
) -> pd.DataFrame:
    """Run-level figures of every detector, with intervals over seeds.

    Parameters
    ----------
    scores
        As in :func:`set_thresholds`, of scoring seeds.
    thresholds
        By detector.
    level, seed
        Of the intervals, and of their bootstrap.

    Returns
    -------
    pd.DataFrame
        detector, figure (``auroc``, ``fnr``, ``fpr``, ``recall, <regime>``), value, low, high.
    """
    last = _take_last(scores)
    last["alarm"] = last["score"] > last["detector"].map(thresholds)
    rows = []
    for detector, table in last.groupby("detector", sort=False):
        drawn = _resample(table["seed"].nunique(), np.random.default_rng(seed))
        for figure, values in measure_figures(table, drawn).items():
            low, high = _bound(values[1:], level)
            rows.append((detector, figure, float(values[0]), low, high))
    return pd.DataFrame(rows, columns=["detector", "figure", "value", "low", "high"])


def measure_figures(runs: pd.DataFrame, drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of one detector under resampled seeds, (draw,) each.

    Parameters
    ----------
    runs
        seed, regime, score, alarm of each run.
    drawn
        (draw, seed) how often each seed is drawn, in their order.
    """
    broken = (runs["regime"] != SOUND).to_numpy()
    seeds = np.unique(runs["seed"])
    of_seed = (runs["seed"].to_numpy() == seeds[:, None]).astype(float)
    alarm, score = runs["alarm"].to_numpy(), runs["score"].to_numpy()

    def share(chosen: np.ndarray, raised: np.ndarray) -> np.ndarray:
        return _divide(drawn @ of_seed @ (chosen & raised), drawn @ of_seed @ chosen)

    above = score[broken, None] > score[None, ~broken]
    wins = above + 0.5 * (score[broken, None] == score[None, ~broken])
    by_seeds = of_seed[:, broken] @ wins @ of_seed[:, ~broken].T
    pairs = (drawn @ of_seed @ broken) * (drawn @ of_seed @ ~broken)
    figures = {
        "auroc": _divide(np.einsum("ds,st,dt->d", drawn, by_seeds, drawn), pairs),
        "fnr": share(broken, ~alarm),
        "fpr": share(~broken, alarm),
    }
    for regime in dict.fromkeys(runs.loc[broken, "regime"]):
        figures[f"recall, {regime}"] = share((runs["regime"] == regime).to_numpy(), alarm)
    return figures


def _resample(seeds: int, rng: np.random.Generator) -> np.ndarray:
    """How often each seed is drawn, (draw, seed); in the first row, once."""
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    return np.concatenate([np.ones((1, seeds), int), drawn])


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def trace_rocs(scores: pd.DataFrame) -> pd.DataFrame:
    """Share of broken runs told against share of sound runs told, at every line.

    Parameters
    ----------
    scores
        As in :func:`set_thresholds`, of scoring seeds.

    Returns
    -------
    pd.DataFrame
        detector, false_alarms, recall.
    """
    curves = []
    for detector, table in _take_last(scores).groupby("detector", sort=False):
        broken, score = (table["regime"] != SOUND).to_numpy(), table["score"].to_numpy()
        if broken.all() or not broken.any():
            continue
        false, told, _ = roc_curve(broken, score, drop_intermediate=False)
        curves.append(pd.DataFrame({"detector": detector, "false_alarms": false, "recall": told}))
    columns = ["detector", "false_alarms", "recall"]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def find_practical_change(behaviour: pd.DataFrame, reference: tuple[str, int]) -> pd.Series:
    """First step of every run at which an exact eval has changed by what matters in practice.

    Parameters
    ----------
    behaviour
        run, step, metric, split, probability.
    reference
        Run and step.

    Returns
    -------
    pd.Series
        Run -> step; NaN where it never has.
    """
    chosen = behaviour[behaviour["metric"].isin(PRACTICAL_METRICS)]
    wide = chosen.pivot_table(index=["run", "step"], columns="metric", values="probability")
    moved = ((wide - wide.loc[reference]).abs() >= PRACTICAL).any(axis=1)
    steps = moved.reset_index(name="moved")
    first = steps[steps["moved"]].groupby("run")["step"].min()
    return first.reindex(list(dict.fromkeys(steps["run"]))).astype(float)


def measure_leads(
    scores: pd.DataFrame, thresholds: pd.Series, practical: pd.Series
) -> pd.DataFrame:
    """Lead of every detector on the practical change, run by run.

    Parameters
    ----------
    scores
        As in :func:`set_thresholds`, of broken runs.
    thresholds
        By detector.
    practical
        (seed, run) -> step of the practical change; runs without one have no lead.

    Returns
    -------
    pd.DataFrame
        seed, regime, run, detector, lead in steps (negative: a lag), censored: no alarm was raised
        by the run's end, the lag is at least as long.
    """
    rows = []
    for keys, table in scores.groupby(["seed", "regime", "run", "detector"], sort=False):
        changed = practical.get(keys[0::2][:2], np.nan)
        if np.isnan(changed):
            continue
        crossed = table.loc[table["score"] > thresholds[keys[3]], "step"]
        at = crossed.min() if len(crossed) else table["step"].max()
        rows.append((*keys, float(changed - at), not len(crossed)))
    return pd.DataFrame(rows, columns=["seed", "regime", "run", "detector", "lead", "censored"])


def estimate_lead_curve(leads: pd.DataFrame, steps: Sequence[float] | np.ndarray) -> pd.Series:
    """Share of runs that are told at least so many steps ahead, by Kaplan and Meier.

    Parameters
    ----------
    leads
        Of one detector; see :func:`measure_leads`.
    steps
        Leads that are asked about.

    Notes
    -----
    Lags, −lead, are the times; a run without an alarm is censored at its end.
    """
    curve = _fit_lags(leads["lead"].to_numpy(), leads["censored"].to_numpy())
    return pd.Series(curve.evaluate(-np.asarray(steps, float)), index=list(steps), name="share")


def summarise_leads(leads: pd.DataFrame, level: float, seed: int) -> pd.DataFrame:
    """How early every detector tells a failure, with intervals over seeds.

    Parameters
    ----------
    leads
        Of all detectors; see :func:`measure_leads`.
    level, seed
        Of the intervals, and of their bootstrap.

    Returns
    -------
    pd.DataFrame
        detector, figure (``ahead``: share told before the practical change; ``in time``: then at
        the latest; ``median lead``, steps, by Kaplan and Meier), value, low, high, runs.
    """
    rows = []
    for detector, table in leads.groupby("detector", sort=False):
        told = table["lead"].where(~table["censored"]).to_numpy()
        ends = table["lead"].to_numpy()
        seeds = table["seed"].to_numpy()
        places = [np.flatnonzero(seeds == one) for one in np.unique(seeds)]
        drawn = _resample(len(places), np.random.default_rng(seed))[1 : LEAD_DRAWS + 1]
        picks = [
            np.concatenate([p for p, n in zip(places, c, strict=True) for _ in range(n)])
            for c in drawn
        ]
        for figure, measure in LEAD_FIGURES.items():
            low, high = _bound([measure(told[pick], ends[pick]) for pick in picks], level)
            rows.append((detector, figure, measure(told, ends), low, high, len(table)))
    return pd.DataFrame(rows, columns=["detector", "figure", "value", "low", "high", "runs"])


def _find_median_lead(told: np.ndarray, ends: np.ndarray) -> float:
    """Largest lead that half of the runs have; minus infinity where fewer are ever told."""
    missing = np.isnan(told)
    if missing.all():
        return -np.inf
    curve = _fit_lags(ends, missing)
    reached = curve.quantiles[curve.probabilities >= 0.5 - 1e-9]
    return float(-reached[0]) if len(reached) else -np.inf


LEAD_FIGURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "ahead": lambda told, ends: float((told > 0).mean()),
    "in time": lambda told, ends: float((told >= 0).mean()),
    "median lead": _find_median_lead,
}
"""Figure -> what it is of leads (run,), NaN where a run was never told, and of where runs end."""


def race_detectors(scores: pd.DataFrame, thresholds: pd.Series, against: str) -> pd.DataFrame:
    """Which detector told each broken run first, against one of them.

    Returns
    -------
    pd.DataFrame
        detector; earlier, same, later: broken runs, those that neither told left out.
    """
    broken = scores[scores["regime"] != SOUND]
    crossed = broken[broken["score"] > broken["detector"].map(thresholds)]
    first = crossed.pivot_table(
        index=["seed", "run"], columns="detector", values="step", aggfunc="min"
    )
    first = first.reindex(columns=list(dict.fromkeys(scores["detector"]))).fillna(np.inf)
    rows = []
    for detector in first.columns.drop(against):
        ours, theirs = first[detector].to_numpy(), first[against].to_numpy()
        told = np.isfinite(np.minimum(ours, theirs))
        outcomes = (ours < theirs, ours == theirs, ours > theirs)
        rows.append((detector, *(int(outcome[told].sum()) for outcome in outcomes)))
    return pd.DataFrame(rows, columns=["detector", "earlier", "same", "later"])


def cross_detectors(
    scores: pd.DataFrame, thresholds: pd.Series, one: str, other: str
) -> pd.DataFrame:
    """Runs that two detectors tell, by regime: regime, runs, both, one, other, neither."""
    last = _take_last(scores)
    last["alarm"] = last["score"] > last["detector"].map(thresholds)
    wide = last.pivot_table(index=["regime", "seed", "run"], columns="detector", values="alarm")
    ours, theirs = wide[one].astype(bool), wide[other].astype(bool)
    told = pd.DataFrame(
        {
            "runs": 1,
            "both": ours & theirs,
            "one": ours & ~theirs,
            "other": ~ours & theirs,
            "neither": ~ours & ~theirs,
        }
    )
    return told.groupby(level="regime", sort=False).sum().astype(int).reset_index()


def count_practical(runs: pd.DataFrame) -> pd.DataFrame:
    """How many runs of each regime changed in practice, and when.

    Parameters
    ----------
    runs
        regime, practical_step (NaN: never).

    Returns
    -------
    pd.DataFrame
        regime, runs, changed, median_step of those that changed.
    """
    groups = runs.groupby("regime")["practical_step"]
    table = pd.DataFrame(
        {"runs": groups.size(), "changed": groups.count(), "median_step": groups.median()}
    )
    return table.reset_index()


def count_verdicts(runs: pd.DataFrame) -> pd.DataFrame:
    """Confusion matrix: rows regimes, columns verdicts.

    Parameters
    ----------
    runs
        regime and verdict of each run.
    """
    return pd.crosstab(runs["regime"], runs["verdict"])


def _bound(drawn: Sequence[float] | np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval, of values of the draws themselves; some may be infinite."""
    known = np.asarray(drawn)[~np.isnan(drawn)]
    if not len(known):
        return np.nan, np.nan
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(known, ends, method="inverted_cdf")
    return float(low), float(high)


def _fit_lags(leads: np.ndarray, missing: np.ndarray) -> Any:
    """Kaplan–Meier distribution of lags, −lead; those of runs without an alarm are censored."""
    lags = -leads
    return ecdf(CensoredData(uncensored=lags[~missing], right=lags[missing])).cdf


def _take_last(scores: pd.DataFrame) -> pd.DataFrame:
    last = scores.groupby(["seed", "run", "detector"])["step"].transform("max")
    return scores[scores["step"] == last].copy()
