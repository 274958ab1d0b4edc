"""Reader of any CSV file by a mapping of its columns: HarmBench, XSTest, StrongREJECT, others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from emodrift.checkpoints.names import read_name
from emodrift.config.evals import EvalColumns, EvalSource
from emodrift.errors import EmodriftError
from emodrift.evals.records import Answer, Reading, Score, Told


def read_csv(path: Path, source: EvalSource) -> list[Reading]:
    """A CSV file: scores, or answers, whose means and standard errors are then the scores.

    Rows without a value are left out.

    Raises
    ------
    EmodriftError
        A column is not there, or a label has no number in ``values``.
    """
    columns = source.columns
    assert columns is not None
    frame = pd.read_csv(path, dtype=object)
    lacking = [c for c in columns.model_dump().values() if c and c not in frame]
    if lacking:
        raise EmodriftError(
            f"evals: {path} has no column {lacking[0]!r}; it has {', '.join(map(str, frame))}"
        )
    table = _name_columns(frame, source)
    table = table[table["value"].notna()]
    table["value"] = [_read_value(v, path, source) for v in table["value"]]
    told = ["model", "revision", "step"]
    if table[told].isna().all(axis=None):
        table["step"] = _find_step(path)
    return [
        Reading(path, _tell(group.iloc[0]), *_read_group(group, columns))
        for _, group in table.groupby(told, dropna=False, sort=False)
    ]


def _name_columns(frame: pd.DataFrame, source: EvalSource) -> pd.DataFrame:
    given = source.columns.model_dump() if source.columns else {}
    table = pd.DataFrame({k: frame[c] if c else None for k, c in given.items()}, index=frame.index)
    table["task"] = table["task"].fillna(source.task) if given["task"] else source.task
    table["metric"] = table["metric"].fillna(source.metric) if given["metric"] else source.metric
    return table


def _read_value(value: object, path: Path, source: EvalSource) -> float:
    text = str(value).strip()
    if text in source.values:
        return source.values[text]
    try:
        return float({"True": 1.0, "False": 0.0}.get(text, text))
    except ValueError:
        raise EmodriftError(
            f"evals: {path} has the value {text!r}, which is no number; give it one in `values`"
        ) from None


def _read_group(table: pd.DataFrame, columns: EvalColumns) -> tuple[list[Score], list[Answer]]:
    rows: list[dict[Any, Any]] = table.to_dict("records")
    if columns.id is None and columns.prompt is None:
        scores = [
            Score(r["task"], r["metric"], r["value"], _as_float(r["se"]), _as_int(r["n"]))
            for r in rows
        ]
        return scores, []
    answers = [
        Answer(
            task=row["task"],
            metric=row["metric"],
            id=_as_text(row["id"]) or str(number),
            prompt=_as_text(row["prompt"]),
            response=_as_text(row["response"]),
            value=row["value"],
        )
        for number, row in enumerate(rows)
    ]
    means = table.groupby(["task", "metric"], sort=False)["value"].agg(["mean", "sem", "count"])
    scores = [
        Score(r["task"], r["metric"], r["mean"], _as_float(r["sem"]), int(r["count"]))
        for r in means.reset_index().to_dict("records")
    ]
    return scores, answers


def _tell(row: Mapping[str, Any] | pd.Series) -> Told:
    model, revision = (_as_text(row[name]) or None for name in ("model", "revision"))
    return Told(model, revision, _as_int(row["step"]))


def _find_step(path: Path) -> int | None:
    names = [path.stem, *(parent.name for parent in path.parents)]
    return next((found.step for found in map(read_name, names) if found), None)


def _as_text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _as_float(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _as_int(value: Any) -> int | None:
    return None if pd.isna(value) else int(float(value))
