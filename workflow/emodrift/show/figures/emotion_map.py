"""Figure: which emotions lie near which, at the reference and at the end of every run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.labels import space_labels
from emodrift.show.panels import AT_REFERENCE, make_grid, pick_ends
from emodrift.show.scene import Scene
from emodrift.show.style import DIVERGING, INK, SMALL, darken

READS = {"drift": ("emotion_cosines", "emotion_clusters", "emotion_space")}
CHAPTER = "direction"
COLUMNS = 5
FEW = 16


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Cosines between emotion vectors as small multiples: the reference, then each run's end.

    All panels have the order of the reference's cluster tree; lines part its clusters. The title
    gives the adjusted Rand index (ARI) of the checkpoint's clusters with the reference's.
    """
    pairs, clusters = tables["emotion_cosines"], tables["emotion_clusters"]
    space = tables["emotion_space"].set_index("checkpoint")
    panels = pick_ends(space.reset_index(), scene.reference, scene.watched(pairs["run"]))
    first = clusters[clusters["checkpoint"] == panels[AT_REFERENCE]].sort_values("place")
    kept = set(scene.choose_emotions(first["emotion"]))
    first = first[first["emotion"].isin(kept)]
    order = list(first["emotion"])
    borders = np.flatnonzero(np.diff(first["cluster"])) + 0.5
    most = COLUMNS if len(order) <= FEW else COLUMNS // 2
    figure, grid = make_grid(
        scene, len(panels), most, 0.55 + (scene.inches - 1.2) / min(most, len(panels)), sharex=False
    )
    shown = pairs[pairs["checkpoint"].isin(panels.values())]
    image = None
    for axes, (title, checkpoint) in zip(grid.flat, panels.items(), strict=False):
        part = shown[shown["checkpoint"] == checkpoint]
        wide = part.pivot(index="emotion", columns="other", values="cosine")
        wide = wide.reindex(index=order, columns=order).values
        cosines = np.fmax(wide, wide.T)
        np.fill_diagonal(cosines, 1)
        image = axes.imshow(cosines, cmap=scene.palette or DIVERGING, vmin=-1, vmax=1)
        for border in borders:
            axes.axhline(border, color=INK, lw=0.6)
            axes.axvline(border, color=INK, lw=0.6)
        agreement = f"\nARI {space.at[checkpoint, 'rand']:.2f}" if title != AT_REFERENCE else ""
        axes.set_title(scene.name(title) + agreement)
        places, labels = space_labels(order)
        words = [scene.name(label) for label in labels]
        axes.set_xticks(places, words, rotation=90, fontsize=SMALL - 0.4)
        axes.set_yticks(places, words, fontsize=SMALL - 0.4)
        for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
            for tick, emotion in zip(ticks, labels, strict=False):
                tick.set_color(darken(scene.colour(emotion)))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    if image is not None:
        figure.colorbar(
            image, ax=grid, label="cosine between emotion vectors", fraction=0.025, pad=0.01
        )
    return Drawing(figure, shown, "Map of the emotions", _describe(space, panels, order, scene))


def _describe(
    space: pd.DataFrame, panels: Mapping[str, int], order: list[str], scene: Scene
) -> str:
    clusters = int(space.at[panels[AT_REFERENCE], "clusters"])
    floor = space.at[panels[AT_REFERENCE], "rand_floor"]
    ends = "; ".join(
        f"{scene.name(run)} {space.at[at, 'rand']:.2f}"
        for run, at in panels.items()
        if run != AT_REFERENCE
    )
    text = f"At the reference {len(order)} emotions fall into {clusters} clusters, parted by lines."
    if ends:
        text += (
            f" Agreement of the clusters at each run's end with them (adjusted Rand index; halves "
            f"of the reference's own topics reach {floor:.2f}): {ends}."
        )
    return text + " Names have the colour of their bundle."
