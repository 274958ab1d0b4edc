"""The stage: evals read, joined to checkpoints, and held against the indicators."""

from __future__ import annotations

import glob
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from emodrift.config.evals import Evals, EvalSource
from emodrift.drift.table import read_table, write_table
from emodrift.errors import EmodriftError
from emodrift.evals.columns import read_csv
from emodrift.evals.inspect_logs import read_inspect
from emodrift.evals.joining import Place, join_checkpoint
from emodrift.evals.readers import keep_longest, read_every_eval_ever, read_lm_eval, read_trainer
from emodrift.evals.records import Reading
from emodrift.evals.relations import (
    EVAL,
    correlate_all,
    find_disagreements,
    find_leads,
    mark_worse,
    name_prompts,
)
from emodrift.evals.verdicts import compare_runs, tell_audit

READERS = {
    "lm-eval": read_lm_eval,
    "inspect": read_inspect,
    "every-eval-ever": read_every_eval_ever,
    "trainer": read_trainer,
}
ANSWER = ["checkpoint", *EVAL, "id", "prompt", "response", "value"]


def measure_evals(
    checkpoints: Sequence[Mapping[str, Any]],
    reference: int,
    evals: Mapping[str, Any],
    indicators: Path,
    out: Path,
) -> None:
    """Read external evals and write how they and the indicators go together.

    Writes ``evals.parquet``, ``correlations.parquet``, ``leads.parquet``,
    ``disagreements.parquet``, ``disagreement_prompts.parquet``, ``eval_runs.parquet``, and
    ``audit.json``: that of the indicators, with the evals beside its alarms and runs.

    Parameters
    ----------
    checkpoints
        Fields of :class:`emodrift.evals.joining.Place` for every checkpoint, in order.
    reference
        Number of the reference checkpoint.
    evals
        Config section.
    indicators
        Entry of the indicators.
    out
        Directory to write to.

    Raises
    ------
    EmodriftError
        A file is missing or not of its format, or its checkpoint is ambiguous.
    """
    section = Evals.model_validate(evals)
    places = [Place(**checkpoint) for checkpoint in checkpoints]
    scores, answers = gather_evals(section, places)
    judged = read_table(indicators, "indicators")
    tables = relate_evals(scores, answers, judged, reference, section)
    for name, table in tables.items():
        write_table(table, out, name)
    audit = json.loads((indicators / "audit.json").read_text(encoding="utf-8"))
    told_audit = tell_audit(audit, tables, reference)
    (out / "audit.json").write_text(json.dumps(told_audit, indent=1) + "\n", encoding="utf-8")


def relate_evals(
    scores: pd.DataFrame,
    answers: pd.DataFrame,
    judged: pd.DataFrame,
    reference: int,
    section: Evals,
) -> dict[str, pd.DataFrame]:
    """Tables of evals and of how they and the indicators go together, by name.

    Parameters
    ----------
    scores, answers
        See :func:`gather_evals`.
    judged
        checkpoint, run, step, stage, indicator, value, alarm.
    reference
        Number of the reference checkpoint.
    section
        Config section.
    """
    marked = mark_worse(scores, reference, section.worse_by)
    disagreements = find_disagreements(marked, judged)
    told = scores.join(marked[["change", "change_se", "worse"]]).astype({"worse": "boolean"})
    return {
        "evals": told,
        "correlations": correlate_all(scores, judged, section.level, section.lags),
        "leads": find_leads(marked, judged),
        "disagreements": disagreements,
        "disagreement_prompts": name_prompts(disagreements, answers, reference, section.prompts),
        "eval_runs": compare_runs(marked, judged, reference),
    }


def gather_evals(section: Evals, places: Sequence[Place]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All scores and answers of a study's checkpoints.

    Parameters
    ----------
    section
        Config section.
    places
        All checkpoints.

    Returns
    -------
    scores : pd.DataFrame
        run, step, stage, checkpoint, source, task, metric, value, se, n, higher_is_better.
    answers : pd.DataFrame
        checkpoint, source, task, metric, id, prompt, response, value.

    Raises
    ------
    EmodriftError
        See :func:`measure_evals`; or two files give one checkpoint the same score.
    """
    scores: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    origins: dict[tuple[Any, ...], Path] = {}
    for number, source in enumerate(section.sources):
        readings = read_source(source, f"evals.sources.{number}")
        joined = [(r, join_checkpoint(r, places, source.run, source.stage)) for r in readings]
        if not any(numbers for _, numbers in joined):
            raise EmodriftError(
                f"evals.sources.{number}: no checkpoint of the study fits any of its files; "
                f"{readings[0].file} tells {readings[0].told}"
            )
        _note_strangers(joined, source)
        for reading, numbers in joined:
            for checkpoint in numbers:
                _refuse_twins(reading, checkpoint, source, origins)
                scores += _list_scores(reading, checkpoint, places[checkpoint], source)
                answers += [
                    {"checkpoint": checkpoint, "source": source.format, **a._asdict()}
                    for a in reading.answers
                ]
    order = ["run", "step", "stage", "checkpoint", *EVAL, "value", "se", "n", "higher_is_better"]
    table = pd.DataFrame(scores)[order].astype({"se": float, "n": "Int64"})
    table["higher_is_better"] = table["higher_is_better"].astype("boolean")
    table = table.sort_values("checkpoint", kind="stable", ignore_index=True)
    return table, pd.DataFrame(answers, columns=ANSWER)


def read_source(source: EvalSource, key: str) -> list[Reading]:
    """All that a source's files say, of the metrics that are wanted.

    Raises
    ------
    EmodriftError
        No file matches, or a file is not of the format.
    """
    paths = [
        Path(p) for p in sorted(glob.glob(str(Path(source.path).expanduser()), recursive=True))
    ]
    if not paths:
        raise EmodriftError(f"{key}: no file matches {source.path!r} (seen from {Path.cwd()})")
    if source.format == "csv":
        readings = [reading for path in paths for reading in read_csv(path, source)]
    else:
        paths = keep_longest(paths) if source.format == "trainer" else paths
        readings = [reading for path in paths for reading in READERS[source.format](path)]
    wanted = [
        Reading(
            r.file,
            r.told,
            [s for s in r.scores if not source.metrics or s.metric in source.metrics],
            r.answers,
        )
        for r in readings
    ]
    if not any(r.scores for r in wanted):
        there = sorted({s.metric for r in readings for s in r.scores})
        raise EmodriftError(f"{key}: no score in its files; metrics there: {', '.join(there)}")
    return wanted


def _note_strangers(joined: Sequence[tuple[Reading, list[int]]], source: EvalSource) -> None:
    strangers = [reading for reading, numbers in joined if not numbers]
    if strangers and source.format != "trainer":
        logging.warning(
            "evals: %d of %d results are of no checkpoint of the study, such as %s, which tells %s",
            *(len(strangers), len(joined), strangers[0].file, strangers[0].told),
        )


def _refuse_twins(
    reading: Reading, checkpoint: int, source: EvalSource, origins: dict[tuple[Any, ...], Path]
) -> None:
    for score in reading.scores:
        cell = (checkpoint, source.format, score.task, score.metric)
        if cell in origins:
            raise EmodriftError(
                f"evals: {origins[cell]} and {reading.file} both give {score.task} {score.metric} "
                "of one checkpoint; narrow the source's `path` to one of them"
            )
        origins[cell] = reading.file


def _list_scores(
    reading: Reading, checkpoint: int, place: Place, source: EvalSource
) -> list[dict[str, Any]]:
    where = {"run": place.run, "step": place.step, "stage": place.stage, "checkpoint": checkpoint}
    return [
        {
            **where,
            "source": source.format,
            **score._asdict(),
            "higher_is_better": source.higher_is_better.get(score.metric, score.higher_is_better),
        }
        for score in reading.scores
    ]
