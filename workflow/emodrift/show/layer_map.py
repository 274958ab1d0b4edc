"""Figure: in which layers, and when, the emotion space turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import list_runs, name_checkpoints


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """Heat map of layer × checkpoint for each run: mean attenuation-corrected cosine with the
    reference over emotions. Cells without reliable vectors are grey."""
    table = read_table(entries["drift"], "layers")
    runs = list_runs(table["run"])
    columns = table.groupby("run")["checkpoint"].nunique()
    figure, grid = plt.subplots(
        1,
        len(runs),
        figsize=(look.width, 0.9 + 0.28 * table["layer"].nunique()),
        sharey=True,
        squeeze=False,
        layout="constrained",
        width_ratios=[columns[run] for run in runs],
    )
    colours = plt.get_cmap(look.palette or "viridis").with_extremes(bad="0.85")
    lowest = np.floor(10 * min(0.9, table["corrected"].min(skipna=True))) / 10
    for axes, run in zip(grid.flat, runs, strict=True):
        of_run = table[table["run"] == run]
        wide = of_run.pivot(index="layer", columns="checkpoint", values="corrected")
        labels = name_checkpoints(of_run)
        image = axes.imshow(
            wide.values, origin="lower", aspect="auto", cmap=colours, vmin=lowest, vmax=1
        )
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(wide.shape[0]), wide.index)
        axes.set_title(run)
        axes.set_xlabel("step")
        axes.spines[:].set_visible(False)
    grid[0, 0].set_ylabel("layer")
    figure.colorbar(image, ax=grid, label="cosine with reference", fraction=0.03, pad=0.01)
    return Drawing(figure, table)
