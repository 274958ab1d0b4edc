"""The common shape of drift tables: one row per checkpoint and measured thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Rows: TypeAlias = pd.DataFrame | Sequence[Mapping[str, Any]]
ROWS_TOGETHER = 1 << 16


class GrowingTables:
    """Tables over all checkpoints, written while checkpoints come; use it as a context manager.

    No more than `ROWS_TOGETHER` rows of a table, and those of one checkpoint, are held at a time.
    Each row carries the number, run, step, stage and tokens of its checkpoint.

    Parameters
    ----------
    checkpoints
        Run, step, stage and tokens of each.
    out
        Directory to write to.
    """

    def __init__(self, checkpoints: Sequence[Mapping[str, Any]], out: Path) -> None:
        self._checkpoints, self._out = checkpoints, out
        self._waiting: dict[str, list[tuple[int, pd.DataFrame]]] = {}
        self._rows: dict[str, int] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> GrowingTables:
        return self

    def __exit__(self, *_error: object) -> None:
        for name in self._waiting:
            self._flush(name)
        for writer in self._writers.values():
            writer.close()

    def add(self, number: int, tables: Mapping[str, Rows]) -> None:
        """Add the rows of one checkpoint to each table.

        Parameters
        ----------
        number
            Of the checkpoint.
        tables
            Name -> rows, of the same columns at every checkpoint.
        """
        for name, rows in tables.items():
            frame = pd.DataFrame(rows)
            if frame.empty:
                continue
            self._waiting.setdefault(name, []).append((number, frame))
            self._rows[name] = self._rows.get(name, 0) + len(frame)
            if self._rows[name] >= ROWS_TOGETHER:
                self._flush(name)

    def _flush(self, name: str) -> None:
        if not self._waiting[name]:
            return
        numbers, frames = zip(*self._waiting[name], strict=True)
        self._waiting[name], self._rows[name] = [], 0
        each = np.repeat(numbers, list(map(len, frames)))
        frame = _label(pd.concat(frames, ignore_index=True), each, self._checkpoints)
        writer = self._writers.get(name)
        schema = writer.schema if writer else None
        table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
        if writer is None:
            path = self._out / f"{name}.parquet"
            writer = self._writers[name] = pq.ParquetWriter(path, table.schema)
        writer.write_table(table)


def label_rows(rows: Rows, checkpoints: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with a ``checkpoint`` number as a table that carries run, step, stage and tokens."""
    places = pd.DataFrame(checkpoints).rename_axis("checkpoint").reset_index()
    places["tokens"] = places["tokens"].astype("Int64")
    return places.merge(pd.DataFrame(rows), on="checkpoint", how="right", validate="1:m")


def write_table(table: pd.DataFrame, out: Path, name: str) -> None:
    """Write a table as Parquet."""
    table.to_parquet(out / f"{name}.parquet", index=False)


def read_table(entry: Path, name: str) -> pd.DataFrame:
    """Read a table of an entry. Most are small: more threads would take longer."""
    with pq.ParquetFile(entry / f"{name}.parquet") as file:
        return file.read(use_threads=False).to_pandas(use_threads=False)


def _label(
    rows: pd.DataFrame, numbers: np.ndarray, checkpoints: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Rows with their checkpoints, whose numbers are given row by row, in front."""
    places = pd.DataFrame(checkpoints).rename_axis("checkpoint").reset_index()
    places = places.astype({"tokens": "Int64"}).iloc[numbers].reset_index(drop=True)
    single = dict.fromkeys(rows.columns[rows.dtypes == "float32"], "float64")
    return places.join(rows.astype(single))
