"""Figure: how replies follow the strength of steering, at the reference and each run's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import draw_band, hide_spare, pick_ends, prettify

COLUMNS = 3
PANELS = 12


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """A panel for each bundle and metric that is named for it: change of the metric's probability
    over strength, with interval; of all pairs where no metric is named for a bundle."""
    dose, effects = (read_table(entries["coupling"], name) for name in ("dose", "effects"))
    ends = pick_ends(dose, reference)
    pairs = effects[effects["bundle"] & (effects["named"] | ~effects["named"].any())]
    pairs = pairs[["concept", "metric"]].drop_duplicates().head(PANELS)
    shown = dose[dose["checkpoint"].isin(ends.values())].merge(pairs, on=["concept", "metric"])
    palette = ["black", *sns.color_palette(look.palette or "colorblind", len(ends) - 1)]
    colours = dict(zip(ends, palette, strict=True))
    rows, columns = int(np.ceil(len(pairs) / COLUMNS)), min(COLUMNS, len(pairs))
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(look.width, 0.4 + 1.7 * rows),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (concept, metric) in zip(grid.flat, pairs.values, strict=False):
        panel = shown[(shown["concept"] == concept) & (shown["metric"] == metric)]
        axes.axhline(0, color="0.85", lw=0.8, zorder=0)
        for title, number in ends.items():
            line = panel[panel["checkpoint"] == number]
            axes.plot(
                line["strength"], line["probability"], "o-", color=colours[title], label=title
            )
            low, high = line["probability_low"], line["probability_high"]
            draw_band(axes, line["strength"], low, high, colours[title])
        axes.set_title(f"{concept} → {prettify(metric)}")
    hide_spare(grid, len(pairs))
    figure.supxlabel("strength, residual norms", fontsize=8)
    figure.supylabel("change of probability", fontsize=8)
    figure.legend(*grid.flat[0].get_legend_handles_labels(), loc="outside right center")
    return Drawing(figure, shown)
