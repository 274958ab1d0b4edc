"""Figure: in which layers, and when, the emotion space turns."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.panels import list_unique, make_grid
from emodrift.show.scene import Scene
from emodrift.show.style import INK, SEQUENTIAL, SMALL
from emodrift.show.timeline import Timeline

READS = {"drift": ("layers", "drift")}
CHAPTER = "direction"
COLUMNS = 7
NARROWEST = 0.98
"""Cosine at the lower end of the colours, at most."""


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Heat maps of layer × checkpoint: mean corrected cosine with the reference over emotions.

    All runs but the reference's own, sound ones first. The locked layer is framed; cells without
    reliable vectors are hatched.
    """
    table = tables["layers"]
    timeline = Timeline(table, scene.reference)
    runs = scene.watched(table["run"])
    runs = [*scene.banded(table["run"]), *runs] if not scene.runs else runs
    layers = list_unique(table["layer"])
    locked = int(tables["drift"]["layer"].iloc[0])
    figure, grid = make_grid(
        scene, len(runs), COLUMNS, 0.75 + min(0.17 * len(layers), 4), sharex=False
    )
    colours = plt.get_cmap(scene.palette or SEQUENTIAL)
    shown = table[table["run"].isin(runs)]
    lowest = min(NARROWEST, np.floor(50 * shown["corrected"].min(skipna=True)) / 50)
    image = None
    for axes, run in zip(grid.flat, runs, strict=False):
        trace = timeline.trace(table, run)
        order = list_unique(trace["checkpoint"])
        wide = trace.pivot(index="layer", columns="checkpoint", values="corrected")
        wide = wide.reindex(index=layers, columns=order)
        axes.set_facecolor("0.85")
        image = axes.imshow(
            wide.values, origin="lower", aspect="auto", cmap=colours, vmin=lowest, vmax=1
        )
        axes.set_xticks(range(len(order)), _name_columns(trace, timeline), rotation=90)
        every = max(1, len(layers) // 12)
        axes.set_yticks(range(0, len(layers), every), layers[::every])
        place = layers.index(locked)
        axes.add_patch(plt.Rectangle((-0.5, place - 0.5), len(order), 1, fill=False, ec=INK, lw=1))
        axes.set_title(scene.name(run), fontsize=SMALL + 0.3)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("layer")
    figure.supxlabel("training step (ref: the reference)", fontsize="medium")
    if image is not None:
        figure.colorbar(
            image,
            ax=grid,
            label="mean corrected cosine\nwith the reference",
            fraction=0.03,
            pad=0.01,
        )
    return Drawing(figure, shown, "Drift by layer", _describe(shown, runs, locked, scene))


def _name_columns(trace: pd.DataFrame, timeline: Timeline) -> list[str]:
    rows = trace.drop_duplicates("checkpoint")
    several = rows.loc[rows["checkpoint"] != timeline.number, "stage"].nunique() > 1
    names = []
    for number, stage, step in zip(rows["checkpoint"], rows["stage"], rows["step"], strict=True):
        plain = f"{stage} {step}" if several else str(step)
        names.append("ref" if number == timeline.number else plain)
    return names


def _describe(shown: pd.DataFrame, runs: list[str], locked: int, scene: Scene) -> str:
    ends = shown[shown["checkpoint"] == shown.groupby("run")["checkpoint"].transform("max")]
    ends = ends.dropna(subset="corrected")
    sentences = []
    if len(ends):
        worst = ends.loc[ends["corrected"].idxmin()]
        at = ends[ends["layer"] == locked].set_index("run")["corrected"]
        values = "; ".join(f"{scene.name(run)} {at[run]:.3f}" for run in runs if run in at)
        sentences.append(f"At the locked layer {locked} (framed) runs end at: {values}.")
        sentences.append(
            f"The emotions turned most in {scene.name(worst['run'])} at layer {worst['layer']}, "
            f"to a mean corrected cosine of {worst['corrected']:.3f}."
        )
    sentences.append("Grey: no reliable vectors at either checkpoint.")
    return " ".join(sentences)
