"""Output that is right in a terminal, a pipe and a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000
"""Columns of a pipe: nothing in it is wrapped or cut."""


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()
) -> None:
    """Print a table: in a terminal with rich, elsewhere as aligned plain text, a row a line.

    Parameters
    ----------
    columns
        Headings.
    rows
        Cells; None is shown as ``-``.
    right
        Columns of numbers.
    """
    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=not terminal)
    for row in rows:
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    Console(soft_wrap=False, width=None if terminal else UNLIMITED).print(table)


def count(number: int, noun: str) -> str:
    """A number with its noun, such as ``1 alarm`` and ``2 alarms``."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def format_seconds(seconds: float) -> str:
    """A duration as a person says it, such as ``2 h 05 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
