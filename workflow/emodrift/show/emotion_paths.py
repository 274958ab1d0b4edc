"""Figure: where each emotion moves on the reference's leading components, run by run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import Normalize

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import (
    hide_spare,
    label_points,
    list_runs,
    pick_ends,
    space_labels,
)

COLUMNS = 3
AXES = ["component_1", "component_2"]
UNRATED = "0.5"


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """Paths of the emotions over the checkpoints of every run, coloured by valence.

    A ring is the reference, a dot the run's last other checkpoint. All checkpoints are in the
    reference's frame, after the alignment by texts without emotion; axes are its first two
    components, with their share of the energy and correlations with valence and arousal there.
    """
    table = read_table(entries["drift"], "emotion_paths")
    components = read_table(entries["drift"], "emotion_components")
    number = pick_ends(table, reference)["reference"]
    start = table[table["checkpoint"] == number].set_index("emotion")
    runs = list_runs(table.loc[table["checkpoint"] != number, "run"]) or [reference["run"]]
    colours = plt.get_cmap(look.palette or "coolwarm_r")
    scale = Normalize(-1, 1)
    rows = int(np.ceil(len(runs) / COLUMNS))
    columns = min(COLUMNS, len(runs))
    size = (look.width - 1.2) / columns
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(look.width, 0.9 + rows * (0.25 + size)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    limits = {c: _widen(table[c]) for c in AXES}
    _, labelled = space_labels(list(start.index))
    for axes, run in zip(grid.flat, runs, strict=False):
        axes.set(xlim=limits[AXES[0]], ylim=limits[AXES[1]], title=run)
        axes.axhline(0, color="0.9", lw=0.6, zorder=0)
        axes.axvline(0, color="0.9", lw=0.6, zorder=0)
        ends = {}
        for emotion, origin in start.iterrows():
            path = _trace(table[table["emotion"] == emotion], run, number)
            valence = origin["valence"]
            colour = UNRATED if pd.isna(valence) else colours(scale(valence))
            axes.plot(*path[AXES].values.T, color=colour, lw=1)
            axes.plot(*origin[AXES], "o", mfc="white", mec=colour, markersize=3)
            others = path.loc[path["checkpoint"] != number, AXES]
            ends[emotion] = others.values[-1] if len(others) else origin[AXES].values
            if len(others):
                axes.plot(*ends[emotion], "o", color=colour, markersize=3)
        label_points(axes, {name: ends[name] for name in labelled}, size)
    hide_spare(grid, len(runs))
    at_reference = components[components["checkpoint"] == number].set_index("component")
    figure.supxlabel(_describe_axis(at_reference.loc[1], 1), fontsize=8)
    figure.supylabel(_describe_axis(at_reference.loc[2], 2), fontsize=8)
    colourbar = plt.cm.ScalarMappable(scale, colours)
    figure.colorbar(colourbar, ax=grid, label="valence", fraction=0.03, pad=0.01)
    return Drawing(figure, table)


def _trace(table: pd.DataFrame, run: str, reference: int) -> pd.DataFrame:
    """One emotion's places in a run in order of steps; the reference first where it is of another
    run."""
    own = table[table["run"] == run].sort_values("step")
    if (own["checkpoint"] == reference).any():
        return own
    return pd.concat([table[table["checkpoint"] == reference], own])


def _widen(values: pd.Series) -> tuple[float, float]:
    margin = 0.18 * (values.max() - values.min())
    return values.min() - margin, values.max() + margin


def _describe_axis(component: pd.Series, number: int) -> str:
    text = f"component {number}, residual norms ({100 * component['share']:.0f} % of energy"
    for rating in ("valence", "arousal"):
        if pd.notna(component[rating]):
            text += f"; {rating} r = {component[rating]:.2f}"
    return text + ")"
