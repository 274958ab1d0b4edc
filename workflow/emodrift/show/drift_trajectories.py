"""Figure: how each vector turns away from the locked one, run by run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import draw_band, hide_spare, label_training, list_runs, place_checkpoints

COLUMNS = 4


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """Cosine with the reference over steps: a line for each emotion, controls dashed.

    The shaded band is the noise floor: split-half cosines inside the reference itself.
    """
    table = read_table(entries["drift"], "drift")
    runs = list_runs(table["run"])
    emotions = list_runs(table.loc[table["kind"] == "emotion", "concept"])
    colours = dict(
        zip(emotions, sns.color_palette(look.palette or "husl", len(emotions)), strict=True)
    )
    rows = int(np.ceil(len(runs) / COLUMNS))
    columns = min(COLUMNS, len(runs))
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(look.width, 0.3 + 2.0 * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    floor = table.loc[table["kind"] == "emotion"].groupby("concept")["noise_floor"].first()
    for axes, run in zip(grid.flat, runs, strict=False):
        of_run = table[table["run"] == run]
        of_run = of_run.assign(place=place_checkpoints(of_run))
        axes.axhspan(floor.min(), floor.max(), color="0.9", zorder=0)
        for concept, line in of_run.groupby("concept", sort=False):
            is_emotion = line["kind"].iloc[0] == "emotion"
            axes.plot(
                line["place"],
                line["cosine"],
                marker="o" if is_emotion else None,
                color=colours[concept] if is_emotion else "0.35",
                linestyle="-" if is_emotion else "--",
                label=concept,
            )
            if is_emotion:
                draw_band(axes, line["place"], line["low"], line["high"], colours[concept])
        axes.set_title(run)
        label_training(axes, of_run)
    hide_spare(grid, len(runs))
    for axes in grid[:, 0]:
        axes.set_ylabel("cosine with reference")
    handles, labels = grid.flat[0].get_legend_handles_labels()
    shown = {
        label if label in colours else "controls": handle
        for handle, label in zip(handles, labels, strict=True)
    }
    shown["noise floor"] = plt.Rectangle((0, 0), 1, 1, color="0.9")
    figure.legend(shown.values(), shown.keys(), loc="outside right center")
    return Drawing(figure, table)
