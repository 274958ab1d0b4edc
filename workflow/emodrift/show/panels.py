"""Pieces that several figures share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
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


def hide_spare(grid: np.ndarray, used: int) -> None:
    """Hide the panels of a grid that are not used."""
    for axes in grid.flat[used:]:
        axes.set_visible(False)
