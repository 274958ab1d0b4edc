"""Pieces that several figures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

MOST_LABELS = 40
LABEL_SIZE = 6
GAP = 4


def prettify(name: str) -> str:
    """A config name as words."""
    return name.replace("_", " ")


def label_steps(axes: Axes, steps: Iterable[int]) -> None:
    """Tick a step axis at few round places."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    first, last = min(steps), max(steps)
    margin = 0.05 * (last - first) or 1
    axes.set_xlim(first - margin, last + margin)


def draw_band(axes: Axes, x: pd.Series, low: pd.Series, high: pd.Series, colour: Any) -> None:
    """Shade the interval around a line."""
    axes.fill_between(x, low, high, color=colour, alpha=0.12, lw=0)


def place_checkpoints(table: pd.DataFrame) -> pd.Series:
    """Where a run's rows go along the axis of training: at their step.

    Where the run has several stages, whose steps do not compare, at the number of their checkpoint
    in order.

    Parameters
    ----------
    table
        Rows of one run: checkpoint, stage, step.
    """
    if table["stage"].nunique() == 1:
        return table["step"]
    return table["checkpoint"].rank(method="dense").sub(1).astype(int)


def name_checkpoints(table: pd.DataFrame) -> list[str]:
    """Ticks of a run's checkpoints in order: steps, or stages with their steps."""
    rows = table.drop_duplicates("checkpoint").sort_values("checkpoint")
    if rows["stage"].nunique() == 1:
        return [str(step) for step in rows["step"]]
    alone = rows["stage"].map(rows["stage"].value_counts()) == 1
    return [
        stage if single else f"{stage} {step}"
        for stage, step, single in zip(rows["stage"], rows["step"], alone, strict=True)
    ]


def label_training(axes: Axes, table: pd.DataFrame) -> None:
    """Ticks and label of an axis on which a run's rows lie as :func:`place_checkpoints` says."""
    if table["stage"].nunique() == 1:
        label_steps(axes, table["step"])
        axes.set_xlabel("training step")
        return
    names = name_checkpoints(table)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_xlim(-0.3, len(names) - 0.7)
    axes.set_xlabel("stage of training")


def list_runs(names: Iterable[str]) -> list[str]:
    """Runs in order of appearance."""
    return list(dict.fromkeys(names))


def pick_ends(table: pd.DataFrame, reference: Mapping[str, Any]) -> dict[str, int]:
    """Title -> number of the reference, and of the last checkpoint of every run that leaves it."""
    at_reference = (table[list(reference)] == pd.Series(reference)).all(axis=1)
    number = int(table.loc[at_reference, "checkpoint"].iloc[0])
    last = {
        run: table.loc[table["run"] == run, "checkpoint"].max() for run in list_runs(table["run"])
    }
    return {"reference": number} | {r: int(n) for r, n in last.items() if n != number}


def hide_spare(grid: np.ndarray, used: int) -> None:
    """Hide the panels of a grid that are not used; those above them get their tick labels."""
    for place in range(used, grid.size):
        grid.flat[place].set_visible(False)
        if place >= grid.shape[1]:
            grid.flat[place - grid.shape[1]].tick_params(labelbottom=True)


def space_labels(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Places and names of at most forty labels of an axis, evenly spaced."""
    step = -(-len(names) // MOST_LABELS)
    places = list(range(0, len(names), step))
    return places, [names[place] for place in places]


def label_points(axes: Axes, points: Mapping[str, np.ndarray], size: float) -> None:
    """Write names beside points, each where it covers least of other names and points.

    Parameters
    ----------
    axes
        A square panel whose limits are set.
    points
        Name -> place in data units.
    size
        Width of the panel, inches.
    """
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    places = {
        name: (np.asarray(p, float) - low) / (high - low) * size * 72 for name, p in points.items()
    }
    taken = [(*place - 1.5, *place + 1.5) for place in places.values()]
    for name, place in places.items():
        width, height = 0.6 * LABEL_SIZE * len(name), 1.3 * LABEL_SIZE
        best = min(
            (
                (side * GAP - (side < 0) * width, shift - height / 2)
                for side in (1, -1)
                for shift in (0, height, -height)
            ),
            key=lambda corner: sum(
                _overlap((*place + corner, *place + corner + (width, height)), other)
                for other in taken
            ),
        )
        taken.append((*place + best, *place + best + (width, height)))
        axes.annotate(
            name, points[name], best, textcoords="offset points", fontsize=LABEL_SIZE, va="bottom"
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Area that two boxes (left, bottom, right, top) share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)
