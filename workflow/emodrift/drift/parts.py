"""What a stage finds at one checkpoint, which rests on nothing of the others.

It is kept as an entry of its own (:mod:`emodrift.store.parts`), so that a study with one checkpoint
more asks about that one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pandas as pd

from emodrift.drift.paired import GrowingPairs, Reading, load_reading, save_reading
from emodrift.drift.table import GrowingTables, Rows, read_table, write_table


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


def write_found(
    checkpoints: Sequence[Mapping[str, Any]],
    pairs: GrowingPairs,
    find: Callable[[int], Found],
    take: Take,
    out: Path,
) -> None:
    """Write the tables and paired draws of all checkpoints, one of which is held at a time.

    Parameters
    ----------
    checkpoints
        Run, step, stage and tokens of each.
    pairs
        Where paired draws go.
    find
        Finds something at the checkpoint of a number.
    take
        Gives what was found there before.
    out
        Directory to write tables to.
    """
    with GrowingTables(checkpoints, out) as tables, pairs:
        for number in range(len(checkpoints)):
            found = take(number, partial(find, number))
            tables.add(number, found.tables)
            pairs.add(found.reading)


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
