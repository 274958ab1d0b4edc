"""The common shape of drift tables: one row per checkpoint and measured thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

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
        self._waiting: dict[str, list[pd.DataFrame]] = {}
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
            waiting = self._waiting.setdefault(name, [])
            waiting.append(_label(frame, number, self._checkpoints[number]))
            if sum(map(len, waiting)) >= ROWS_TOGETHER:
                self._flush(name)

    def _flush(self, name: str) -> None:
        if not self._waiting[name]:
            return
        frame = pd.concat(self._waiting[name], ignore_index=True)
        self._waiting[name] = []
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
    """Read a table of an entry."""
    return pd.read_parquet(entry / f"{name}.parquet")


def _label(frame: pd.DataFrame, number: int, checkpoint: Mapping[str, Any]) -> pd.DataFrame:
    places = pd.DataFrame({"checkpoint": number, **checkpoint}, index=frame.index)
    single = dict.fromkeys(frame.columns[frame.dtypes == "float32"], "float64")
    return places.astype({"tokens": "Int64"}).join(frame.astype(single))
