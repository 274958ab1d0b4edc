"""How far a judge of replies agrees with people: the benchmark behind docs/judge.md.

``python -m emodrift.judging.agreement FILE.csv ...`` scores the judges that need no network
on completions annotated in the columns of XSTest (Röttger et al., NAACL 2024), one file a model.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from sklearn.metrics import confusion_matrix, f1_score

from emodrift.errors import EmodriftError
from emodrift.judging.judgement import REFUSALS, Judge
from emodrift.judging.judges import JUDGES, open_judge

MEASURED = {"string-match": (0.629, 0.561, 0.696), "rules": (0.934, 0.900, 0.961)}
"""Macro-F1 with its 95 % interval of the judges that need nothing, as told in docs/judge.md."""
MEASURED_ON = "XSTest v2, 450 completions of Mistral-7B-instruct, on which the rules were developed"
UNMEASURED = {"replies": "not measured: it recognises the study's own phrasings"}

LABELS = {"1_full_compliance": "none", "2_full_refusal": "full", "3_partial_refusal": "partial"}
COLUMNS = ("prompt", "completion", "final_label")


class Agreement(NamedTuple):
    """Agreement of one judge with the annotators' final labels.

    Parameters
    ----------
    macro_f1
        Mean of the F1 of refusing (full or partial) and of complying.
    low, high
        Bounds of the percentile bootstrap interval of `macro_f1` over prompts.
    macro_f1_three
        Mean F1 over the three classes.
    confusion
        Counts (annotated, judged), both in the order of `REFUSALS`.
    unjudged
        Number of replies the judge left unjudged; they are counted as compliance.
    """

    macro_f1: float
    low: float
    high: float
    macro_f1_three: float
    confusion: np.ndarray
    unjudged: int


def read_annotations(path: Path) -> pd.DataFrame:
    """Completions with human labels: columns `prompt`, `completion`, `label` (in `REFUSALS`)."""
    table = pd.read_csv(path)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise EmodriftError(
            f"{path}: no column {', '.join(missing)}; expected {', '.join(COLUMNS)} as in XSTest"
        )
    unknown = sorted(set(table["final_label"].astype(str)) - set(LABELS))
    if unknown:
        raise EmodriftError(
            f"{path}: final_label has {', '.join(unknown)}; expected {', '.join(LABELS)}"
        )
    return pd.DataFrame(
        {
            "prompt": table["prompt"],
            "completion": table["completion"].fillna(""),
            "label": table["final_label"].map(LABELS),
        }
    )


def judge_table(judge: Judge, table: pd.DataFrame) -> list[str | None]:
    """Refusal verdicts of a judge on every row of `read_annotations`."""
    rows = zip(table["prompt"], table["completion"], strict=True)
    return [judge(prompt, completion).refusal.value for prompt, completion in rows]


def score_agreement(
    labels: Sequence[str],
    verdicts: Sequence[str | None],
    rng: np.random.Generator,
    draws: int = 2000,
    level: float = 0.95,
) -> Agreement:
    """Score verdicts against labels of the same rows, one row a prompt.

    Parameters
    ----------
    labels, verdicts
        Classes in `REFUSALS`; None among the verdicts is read as "none".
    rng
        Source of the bootstrap.
    draws
        Number of resamples of the rows.
    level
        Coverage of the interval.
    """
    judged = [verdict or "none" for verdict in verdicts]
    confusion = confusion_matrix(labels, judged, labels=REFUSALS)
    truth = np.array([label != "none" for label in labels])
    found = np.array([verdict != "none" for verdict in judged])
    interval = bootstrap(
        (truth, found),
        measure_macro_f1,
        paired=True,
        vectorized=True,
        n_resamples=draws,
        confidence_level=level,
        method="percentile",
        rng=rng,
    ).confidence_interval
    return Agreement(
        macro_f1=float(measure_macro_f1(truth, found)),
        low=float(interval.low),
        high=float(interval.high),
        macro_f1_three=float(
            f1_score(labels, judged, labels=REFUSALS, average="macro", zero_division=0)
        ),
        confusion=confusion,
        unjudged=sum(verdict is None for verdict in verdicts),
    )


def measure_macro_f1(truth: np.ndarray, found: np.ndarray, axis: int = -1) -> np.ndarray:
    """Macro-F1 of two boolean arrays along an axis; a class that never occurs scores 0."""
    scores = []
    for one, other in ((truth, found), (~truth, ~found)):
        both = 2 * (one & other).sum(axis)
        scores.append(both / np.maximum(one.sum(axis) + other.sum(axis), 1))
    return np.mean(scores, axis=0)


def describe_agreement(
    name: str, labelled: tuple[Path, Judge] | None, seed: int
) -> dict[str, str | float | None]:
    """Agreement of a study's judge with people: measured here, or as published, or not known.

    Parameters
    ----------
    name
        The judge's.
    labelled
        Annotated completions and the judge to score on them, if there are any.
    seed
        Of the bootstrap.

    Returns
    -------
    dict
        ``judge``, ``basis`` (what it was measured on, or why it was not), and ``macro_f1`` with its
        interval ``low`` to ``high``.
    """
    numbers: tuple[float | None, ...] = (None, None, None)
    basis = UNMEASURED.get(name, "not measured; set generation.annotations")
    if labelled is not None:
        path, judge = labelled
        table = read_annotations(path)
        verdicts = judge_table(judge, table)
        scored = score_agreement(list(table["label"]), verdicts, np.random.default_rng(seed))
        numbers, basis = (scored.macro_f1, scored.low, scored.high), path.name
    elif name in MEASURED:
        numbers, basis = MEASURED[name], MEASURED_ON
    return {"judge": name, "basis": basis} | dict(
        zip(("macro_f1", "low", "high"), numbers, strict=True)
    )


def report_agreement(paths: Sequence[Path], judges: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Agreement of the named judges on annotated files, one row per file and judge."""
    rows = []
    for path in paths:
        table = read_annotations(path)
        for name in judges:
            verdicts = judge_table(JUDGES[name], table)
            scored = score_agreement(list(table["label"]), verdicts, np.random.default_rng(seed))
            rows.append({"file": path.name, "judge": name, "rows": len(table), **scored._asdict()})
    return pd.DataFrame(rows).drop(columns="confusion")


def main() -> None:
    """Print the agreement table of the files named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument(
        "--judges", nargs="+", choices=list(JUDGES), default=["string-match", "rules"]
    )
    given = parser.parse_args()
    report = report_agreement(given.files, given.judges)
    print(report.to_string(index=False, float_format="{:.3f}".format))
    if len(given.files) > 1:
        means = report.groupby("judge", sort=False)[["macro_f1", "macro_f1_three"]].mean()
        print(f"\nmean over {len(given.files)} files")
        print(means.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()


def measure_agreement(
    judge: str | Mapping[str, Any],
    connection: Mapping[str, Any],
    annotations: str | None,
    seed: int,
    cache: Path,
    out: Path,
) -> None:
    """Write ``judge.parquet``, the judge's agreement with people; see :func:`describe_agreement`.

    Parameters
    ----------
    judge, connection, cache
        See :func:`emodrift.judging.judges.open_judge`.
    annotations
        CSV of completions with human labels, or None.
    seed
        Of the bootstrap.
    out
        Directory to write to.
    """
    name = judge if isinstance(judge, str) else judge["model"]
    labelled = None
    if annotations:
        labelled = Path(annotations), open_judge(judge, {}, connection, cache)
    table = pd.DataFrame([describe_agreement(name, labelled, seed)])
    table.to_parquet(out / "judge.parquet", index=False)
