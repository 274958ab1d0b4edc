"""The common shape of drift tables: one row per checkpoint and measured thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd


def label_rows(
    rows: list[dict[str, Any]] | pd.DataFrame, checkpoints: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
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
