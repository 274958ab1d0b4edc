"""What a stage finds at one checkpoint, which rests on nothing of the others.

It is kept as an entry of its own (:mod:`emodrift.store.parts`), so that a study with one checkpoint
more asks about that one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pandas as pd

from emodrift.drift.paired import Reading, load_reading, save_reading
from emodrift.drift.table import Rows, read_table, write_table


class Found(NamedTuple):
    """What is found at one checkpoint: tables, name -> rows; and its part of the paired draws."""

    tables: Mapping[str, Rows]
    reading: Reading


Take: TypeAlias = Callable[[int, Callable[[], Found]], Found]
"""Given the number of a checkpoint and what finds something there: what was found before, or is
found now.
"""


def find_anew(_number: int, find: Callable[[], Found]) -> Found:
    """Find it, and keep nothing."""
    return find()


def save_found(found: Found, out: Path) -> None:
    """Write each table that has rows, and the paired draws."""
    for name, rows in found.tables.items():
        if not (table := pd.DataFrame(rows)).empty:
            write_table(table, out, name)
    save_reading(found.reading, out)


def load_found(entry: Path) -> Found:
    """Read what :func:`save_found` wrote."""
    names = [path.stem for path in sorted(entry.glob("*.parquet"))]
    return Found({name: read_table(entry, name) for name in names}, load_reading(entry))
