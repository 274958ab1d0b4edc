"""Figure: which emotions lie near which, at the reference and at the end of every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import hide_spare, pick_ends, space_labels

COLUMNS = 3


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """Cosines between emotion vectors as small multiples: the reference, then each run's last
    checkpoint.

    All panels have the order of the reference's cluster tree; lines part its clusters. The title
    gives the adjusted Rand index of the checkpoint's clusters with the reference's.
    """
    pairs = read_table(entries["drift"], "emotion_cosines")
    spaces = read_table(entries["drift"], "spaces").set_index("checkpoint")
    clusters = read_table(entries["drift"], "emotion_clusters")
    panels = pick_ends(spaces.reset_index(), reference)
    first = clusters[clusters["checkpoint"] == panels["reference"]].sort_values("place")
    order = list(first["emotion"])
    borders = np.flatnonzero(np.diff(first["cluster"])) + 0.5
    rows = int(np.ceil(len(panels) / COLUMNS))
    columns = min(COLUMNS, len(panels))
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(look.width, 0.9 + rows * (0.25 + (look.width - 1.6) / columns)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    shown = pairs[pairs["checkpoint"].isin(panels.values())]
    for axes, (title, checkpoint) in zip(grid.flat, panels.items(), strict=False):
        part = shown[shown["checkpoint"] == checkpoint]
        wide = part.pivot(index="emotion", columns="other", values="cosine")
        wide = wide.reindex(index=order, columns=order).values
        cosines = np.fmax(wide, wide.T)
        np.fill_diagonal(cosines, 1)
        image = axes.imshow(cosines, cmap=look.palette or "RdBu_r", vmin=-1, vmax=1)
        for border in borders:
            axes.axhline(border, color="black", lw=0.6)
            axes.axvline(border, color="black", lw=0.6)
        agreement = spaces.at[checkpoint, "rand"]
        axes.set_title(title if title == "reference" else f"{title} (ARI {agreement:.2f})")
        places, labels = space_labels(order)
        axes.set_xticks(places, labels, rotation=90)
        axes.set_yticks(places, labels)
        axes.tick_params(length=0, labelsize=6)
        axes.spines[:].set_visible(False)
    hide_spare(grid, len(panels))
    figure.colorbar(image, ax=grid, label="cosine between emotion vectors", fraction=0.03, pad=0.01)
    return Drawing(figure, shown)
