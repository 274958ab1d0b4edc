"""Pieces that several figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emodrift.show.scene import Reference, Scene
from emodrift.show.style import COLUMN_INCHES, GREY, TEXT

AT_REFERENCE = "reference"
Name = TypeVar("Name")


def make_grid(
    scene: Scene,
    panels: int,
    columns: int,
    panel_height: float,
    fixed: bool = False,
    **options: Any,
) -> tuple[Figure, np.ndarray]:
    """A figure with a grid of panels that share their axes; spare ones are hidden.

    Parameters
    ----------
    panels
        How many are needed.
    columns
        Most at the width of two journal columns; at narrower widths as many as keep their size.
    panel_height
        Height of a row in inches, unless the scene says the figure's.
    fixed
        Whether there are as many columns at any width.
    options
        For :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    figure : Figure
    grid : np.ndarray
        (row, column) axes.
    """
    if not fixed:
        columns = max(1, min(panels, round(columns * scene.inches / COLUMN_INCHES["two"])))
        columns = -(-panels // -(-panels // columns))
    rows = -(-panels // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(scene.inches, scene.height or 0.35 + panel_height * rows),
        squeeze=False,
        layout="constrained",
        **{"sharex": True, "sharey": True} | options,
    )
    for place in range(panels, grid.size):
        grid.flat[place].set_visible(False)
        if place >= columns:
            grid.flat[place - columns].tick_params(labelbottom=True)
    return figure, grid


def list_unique(names: Iterable[Name]) -> list[Name]:
    """Names in order of appearance."""
    return list(dict.fromkeys(names))


def pick_ends(
    table: pd.DataFrame, reference: Reference, runs: Iterable[str] | None = None
) -> dict[str, int]:
    """Title -> number of the reference, and of the last checkpoint of every run that leaves it.

    Parameters
    ----------
    runs
        The runs whose ends are wanted; None: all.
    """
    number = reference.find(table)
    last = table.groupby("run", sort=False)["checkpoint"].max()
    wanted = last.index if runs is None else [run for run in runs if run in last.index]
    return {AT_REFERENCE: number} | {r: int(last[r]) for r in wanted if last[r] != number}


def draw_interval(axes: Axes, x: Any, low: Any, high: Any, colour: Any) -> None:
    """A thin line over an interval at each place."""
    axes.vlines(x, low, high, color=colour, lw=0.7, alpha=0.8)


def draw_band(
    axes: Axes, x: pd.Series, low: pd.Series, high: pd.Series, colour: Any, alpha: float = 0.18
) -> None:
    """Shade the interval around a line."""
    axes.fill_between(x, low, high, color=colour, alpha=alpha, lw=0)


def write_across(axes: Axes, words: str, width: int = 44) -> None:
    """Why a panel is empty, in its middle, in lines of so many characters."""
    axes.text(
        0.5, 0.5, fill(words, width), transform=axes.transAxes, ha="center", va="center", color=GREY
    )


def letter_panels(axes: Iterable[Axes]) -> None:
    """Letters a, b, c ... above the panels' left corners."""
    for number, one in enumerate(axes):
        one.annotate(
            chr(ord("a") + number),
            (0, 1),
            (-18, 8),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=TEXT + 1,
            fontweight="bold",
            va="bottom",
        )


def mark_bundles(table: pd.DataFrame, keys: list[str], bundles: Mapping[str, Any]) -> pd.DataFrame:
    """A table of concepts with ``bundle``: whether a row is of a bundle or of an emotion.

    An emotion and a bundle may share a name; the stages write emotions first.

    Parameters
    ----------
    keys
        Columns that, with ``concept`` and the kind, name a row.
    bundles
        Bundle -> its emotions.
    """
    groups = table.groupby([*keys, "concept"])["concept"]
    last = groups.cumcount() == groups.transform("size") - 1
    return table.assign(bundle=table["concept"].isin(list(bundles)) & last)
