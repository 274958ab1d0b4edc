"""Figure: what each locked direction does to each behaviour metric, at the end of every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import hide_spare, list_runs, pick_ends, prettify

COLUMNS = 4
NULL_DEVIATIONS = 1.96


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """Effect matrices as small multiples: the reference, then each run's last checkpoint.

    Colour is the slope in probability per residual norm; a dot marks effects inside 1.96 standard
    deviations of the random directions' effects.
    """
    table = read_table(entries["coupling"], "coupling")
    table = table[table["split"] == "all"]
    panels = pick_ends(table, reference)
    shown = table[table["checkpoint"].isin(panels.values())]
    concepts, metrics = list_runs(table["concept"]), list_runs(table["metric"])
    rows = int(np.ceil(len(panels) / COLUMNS))
    figure, grid = plt.subplots(
        rows,
        min(COLUMNS, len(panels)),
        figsize=(look.width, 0.8 + rows * (0.3 + 0.145 * len(concepts))),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    limit = shown["probability"].abs().max()
    for axes, (title, checkpoint) in zip(grid.flat, panels.items(), strict=False):
        part = shown[shown["checkpoint"] == checkpoint]
        wide = part.pivot(index="concept", columns="metric").reindex(concepts)
        value = wide["probability"][metrics].values
        null = NULL_DEVIATIONS * wide["probability_null_sd"][metrics].values
        image = axes.imshow(
            value, cmap=look.palette or "RdBu_r", vmin=-limit, vmax=limit, aspect="auto"
        )
        row, column = np.nonzero(np.abs(value) < null)
        axes.plot(column, row, ".", color="0.35", markersize=2)
        axes.set_title(title)
        axes.set_xticks(range(len(metrics)), map(prettify, metrics), rotation=90)
        axes.set_yticks(range(len(concepts)), concepts)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    hide_spare(grid, len(panels))
    figure.colorbar(
        image, ax=grid, label="change of probability per residual norm", fraction=0.03, pad=0.01
    )
    return Drawing(figure, shown)
