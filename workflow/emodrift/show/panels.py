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
    """Hide the panels of a grid that are not used."""
    for axes in grid.flat[used:]:
        axes.set_visible(False)
