"""Pieces that several figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator


def prettify(name: str) -> str:
    """A config name as words."""
    return name.replace("_", " ")


def label_steps(axes: Axes, steps: Iterable[int]) -> None:
    """Tick a step axis at few round places."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    first, last = min(steps), max(steps)
    margin = 0.05 * (last - first) or 1
    axes.set_xlim(first - margin, last + margin)


def list_runs(names: Iterable[str]) -> list[str]:
    """Runs in order of appearance."""
    return list(dict.fromkeys(names))


def pick_ends(table: pd.DataFrame, reference: Mapping[str, Any]) -> dict[str, int]:
    """Title -> number of the reference, and of the last checkpoint of every run that leaves it."""
    of_run = table["run"] == reference["run"]
    number = int(table.loc[of_run & (table["step"] == reference["step"]), "checkpoint"].iloc[0])
    last = {
        run: table.loc[table["run"] == run, "checkpoint"].max() for run in list_runs(table["run"])
    }
    return {"reference": number} | {r: int(n) for r, n in last.items() if n != number}


def hide_spare(grid: np.ndarray, used: int) -> None:
    """Hide the panels of a grid that are not used."""
    for axes in grid.flat[used:]:
        axes.set_visible(False)
