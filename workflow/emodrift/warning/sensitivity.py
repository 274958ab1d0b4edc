"""Sensitivity: what a study concludes when its choices are made otherwise.

Every variant is a whole study over the same checkpoints; its conclusions stand beside those of the
study as configured. docs/sensitivity.md defines them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, spearmanr

from emodrift.config.variants import AS_CONFIGURED
from emodrift.drift.table import label_rows, read_table, write_table
from emodrift.warning.indicators import INDICATORS

SIGNS = {1: "+", 0: "0", -1: "-"}
KEYS = ["checkpoint", "conclusion"]
ALARM = "alarm"
"""Verdict on an indicator that raised one in a run."""


class SensitivityParams(NamedTuple):
    """What the sensitivity stage is asked.

    variants: names. checkpoints: run, step, stage, tokens of each. reference: number of the
    reference among them. caution, refusal: names of bundle and metric. level: config, of intervals.
    """

    variants: Sequence[str]
    checkpoints: Sequence[Mapping[str, Any]]
    reference: int
    caution: str
    refusal: str
    level: float


class SensitivityInputs(NamedTuple):
    """Entries that the sensitivity stage reads, the study's as configured and each variant's."""

    drift: Sequence[Path]
    evocation: Sequence[Path]
    coupling: Sequence[Path]
    indicators: Sequence[Path]


class Findings(NamedTuple):
    """Tables of one study; see the rooms that write them."""

    drift: pd.DataFrame
    evocation: pd.DataFrame
    effects: pd.DataFrame
    indicators: pd.DataFrame
    runs: pd.DataFrame


class Question(NamedTuple):
    """What is concluded about.

    reference, ends: numbers of the reference and of each run's last checkpoint; caution, refusal:
    names of bundle and metric; z: half width of an interval in standard errors.
    """

    reference: int
    ends: list[int]
    caution: str
    refusal: str
    z: float


def measure_sensitivity(params: SensitivityParams, inputs: SensitivityInputs, out: Path) -> None:
    """Compare the conclusions of every variant with the study's own.

    Writes ``sensitivity.parquet`` (variant, checkpoint, conclusion: value with interval, verdict,
    whether it stays and whether its sign reverses) and ``variants.parquet`` (variant: share of
    verdicts that stay, how many reverse, mean agreement with the study as configured).

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    last = {c["run"]: number for number, c in enumerate(params.checkpoints)}
    question = Question(
        params.reference,
        [number for number in last.values() if number != params.reference],
        params.caution,
        params.refusal,
        float(norm.ppf((1 + params.level) / 2)),
    )
    studies = [
        Findings(
            read_table(d, "drift"),
            read_table(e, "evocation"),
            read_table(c, "effects"),
            read_table(i, "indicators"),
            read_table(i, "runs"),
        )
        for d, e, c, i in zip(*inputs, strict=True)
    ]
    names = [AS_CONFIGURED, *params.variants]
    table = compare_studies(dict(zip(names, studies, strict=True)), question)
    write_table(label_rows(table, params.checkpoints), out, "sensitivity")
    write_table(summarise_variants(table), out, "variants")


def compare_studies(studies: dict[str, Findings], question: Question) -> pd.DataFrame:
    """Conclusions of every study beside those of the first.

    Parameters
    ----------
    studies
        Name -> its tables, the study as configured first.
    question
        What is concluded about.

    Returns
    -------
    pd.DataFrame
        variant, checkpoint, conclusion, value, low, high, verdict; ``stays`` (the first study's
        verdict is the same) and ``reverses`` (its sign is the opposite), both missing where there
        is no verdict, and for the first study itself.
    """
    own = next(iter(studies.values()))
    found = []
    for name, findings in studies.items():
        rows = list_conclusions(findings, own, question)
        found.append(pd.DataFrame(rows).assign(variant=name))
    table = pd.concat(found, ignore_index=True)
    verdicts = found[0].set_index(KEYS)["verdict"]
    before = pd.Series([verdicts.get(key) for key in zip(*(table[k] for k in KEYS), strict=True)])
    judged = table["verdict"].notna() & before.notna() & (table["variant"] != next(iter(studies)))
    opposite = before.map({"+": "-", "-": "+"}) == table["verdict"]
    table["stays"] = (table["verdict"] == before).astype("boolean").where(judged)
    table["reverses"] = opposite.astype("boolean").where(judged)
    return table[["variant", *KEYS, "value", "low", "high", "verdict", "stays", "reverses"]]


def list_conclusions(findings: Findings, own: Findings, question: Question) -> list[dict[str, Any]]:
    """Rows (checkpoint, conclusion) of one study; `own` is the study that it is held against."""
    return [
        *judge_indicators(findings.indicators, findings.runs, question),
        *judge_directions(findings.drift, own.drift, question),
        *judge_effects(findings.effects, own.effects, question),
        *judge_evocation(findings.evocation, question),
    ]


def judge_indicators(
    table: pd.DataFrame, runs: pd.DataFrame, question: Question
) -> list[dict[str, Any]]:
    """Each indicator's deviation from sound training at each run's end, whether it alarmed in the
    run, and the run's kind of failure.

    An indicator that raises no alarms has no verdict.
    """
    kinds = runs.set_index("run")["verdict"]
    rows = []
    for end in question.ends:
        now = table[table["checkpoint"] == end].set_index("indicator")
        run, numbers = now["run"].iloc[0], now.reindex(columns=["deviation", "threshold"])
        raised = set(table.loc[table["alarm"] & (table["run"] == run), "indicator"])
        for name in INDICATORS:
            value, threshold = numbers.loc[name].astype(float)
            bounds = (value - question.z, value + question.z)
            verdict = ALARM if name in raised else "none"
            judged = np.isfinite([value, threshold]).all()
            rows.append(_row(end, name, value, bounds, verdict if judged else None))
        rows.append(_row(end, "kind", verdict=kinds[run]))
    return rows


def judge_directions(
    table: pd.DataFrame, own: pd.DataFrame, question: Question
) -> list[dict[str, Any]]:
    """Mean corrected cosine with the reference at each run's end, and the order of the emotions.

    Bounds are means of the emotions' bounds: wide, for that takes their errors as one. The vectors
    turned if the interval of the plain cosine lies below the noise floor.
    """
    rows = []
    for end in question.ends:
        ours, theirs = (
            t[(t["checkpoint"] == end) & (t["kind"] == "emotion")].set_index("concept")
            for t in (table, own)
        )
        usable = ours.dropna(subset="corrected")
        mean = usable.select_dtypes("number").mean()
        verdict = "turned" if mean["high"] < mean["noise_floor"] else "within noise"
        bounds = (mean["corrected_low"], mean["corrected_high"])
        rows.append(
            _row(end, "direction", mean["corrected"], bounds, verdict if len(usable) else None)
        )
        both = pd.concat([ours["corrected"], theirs["corrected"]], axis=1, join="inner").dropna()
        ordered = len(both) > 2 and both.nunique().min() > 1
        order = spearmanr(*both.values.T).statistic if ordered else np.nan
        rows.append(_row(end, "drift_order", order))
    return rows


def judge_effects(
    table: pd.DataFrame, own: pd.DataFrame, question: Question
) -> list[dict[str, Any]]:
    """Caution's slope on refusal over that of isotropic null directions, and the effects' profile.

    The profile is every emotion's slope on every metric in the same unit; it is correlated with
    that of `own` (Pearson).
    """
    rows = []
    for number in (question.reference, *question.ends):
        now = table[table["checkpoint"] == number].set_index(["concept", "metric"])
        one = now.loc[(question.caution, question.refusal)]
        value, *bounds = one[["slope", "slope_low", "slope_high"]] / one["null_sd_isotropic"]
        rows.append(_row(number, "effect", value, bounds, _sign(bounds)))
        profiles = [
            t[(t["checkpoint"] == number) & ~t["bundle"]].set_index(["concept", "metric"])
            for t in (table, own)
        ]
        both = pd.concat(
            [p["slope"] / p["null_sd_isotropic"] for p in profiles], axis=1, join="inner"
        )
        rows.append(_row(number, "profile", np.corrcoef(both.values.T)[0, 1]))
    return rows


def judge_evocation(table: pd.DataFrame, question: Question) -> list[dict[str, Any]]:
    """How far harmful prompts raise caution over benign ones, in standard deviations."""
    caution = table[(table["concept"] == question.caution) & (table["split"] == "all")]
    rows = []
    for row in caution.itertuples():
        if row.checkpoint in (question.reference, *question.ends):
            bounds = (row.difference_low, row.difference_high)
            rows.append(_row(row.checkpoint, "evocation", row.difference, bounds, _sign(bounds)))
    return rows


def summarise_variants(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each variant: verdicts, how many stay, their share, how many signs reverse, and
    means of `drift_order` and `profile`.

    Parameters
    ----------
    table
        See :func:`compare_studies`.
    """
    varied = table[table["variant"] != table["variant"].iloc[0]]
    groups = varied.groupby("variant", sort=False)
    summary = pd.DataFrame(
        {
            "conclusions": groups["stays"].count(),
            "stay": groups["stays"].sum().astype(int),
            "share": groups["stays"].mean().astype(float),
            "reverse": groups["reverses"].sum().astype(int),
        }
    )
    for name in ("drift_order", "profile"):
        of_name = varied[varied["conclusion"] == name]
        summary[name] = of_name.groupby("variant")["value"].mean()
    return summary.reset_index()


def _row(
    checkpoint: int,
    conclusion: str,
    value: float = np.nan,
    bounds: Sequence[float] = (np.nan, np.nan),
    verdict: str | None = None,
) -> dict[str, Any]:
    low, high = map(float, bounds)
    return {"checkpoint": int(checkpoint), "conclusion": conclusion, "value": float(value)} | {
        "low": low,
        "high": high,
        "verdict": verdict,
    }


def _sign(bounds: Sequence[float]) -> str | None:
    """``+`` or ``-`` where the interval excludes 0, else ``0``; None without an interval."""
    low, high = bounds
    if np.isnan(low) or np.isnan(high):
        return None
    return SIGNS[int(low > 0) - int(high < 0)]
