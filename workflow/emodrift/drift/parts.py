"""What a stage finds at one checkpoint, which rests on nothing of the others.

It is kept as an entry of its own (:mod:`emodrift.store.parts`), so that a study with one checkpoint
more asks about that one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from emodrift.drift.paired import GrowingPairs, gather_reading
from emodrift.drift.table import GrowingTables, Rows, read_table, write_table

ARRAYS = "arrays.safetensors"


class Found(NamedTuple):
    """What is found at one checkpoint: tables, name -> rows; and arrays by name."""

    tables: Mapping[str, Rows]
    arrays: Mapping[str, np.ndarray] = {}


Take: TypeAlias = Callable[[int, Callable[[], Found]], Found]
"""Given the number of a checkpoint and what finds something there: what was found before, or is
found now.
"""


def find_anew(_number: int, find: Callable[[], Found]) -> Found:
    """Find it, and keep nothing."""
    return find()


def take_all(number: int, find: Callable[[int], Found], take: Take) -> Iterator[Found]:
    """What is found at each of so many checkpoints, one of which is held at a time.

    Parameters
    ----------
    number
        Of checkpoints.
    find
        Finds something at the checkpoint of a number.
    take
        Gives what was found there before.
    """
    return (take(k, partial(find, k)) for k in range(number))


def write_found(
    checkpoints: Sequence[Mapping[str, Any]],
    find: Callable[[int], Found],
    take: Take,
    out: Path,
    pairs: GrowingPairs | None = None,
) -> None:
    """Write the tables of all checkpoints, and the paired draws, if arrays are those.

    Parameters
    ----------
    checkpoints
        Run, step, stage and tokens of each.
    find, take
        As in :func:`take_all`.
    out
        Directory to write tables to.
    pairs
        Where paired draws go.
    """
    with GrowingTables(checkpoints, out) as tables:
        for number, found in enumerate(take_all(len(checkpoints), find, take)):
            tables.add(number, found.tables)
            if pairs is not None:
                pairs.add(gather_reading(found.arrays))


def save_found(found: Found, out: Path) -> None:
    """Write each table that has rows, and the arrays."""
    for name, rows in found.tables.items():
        if not (table := pd.DataFrame(rows)).empty:
            write_table(table, out, name)
    save_file({n: np.ascontiguousarray(a) for n, a in found.arrays.items()}, out / ARRAYS)


def load_found(entry: Path) -> Found:
    """Read what :func:`save_found` wrote."""
    names = [path.stem for path in sorted(entry.glob("*.parquet"))]
    return Found({name: read_table(entry, name) for name in names}, load_file(entry / ARRAYS))
