"""Figure: where each emotion moves on the reference's leading components, run by run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.labels import label_points, space_labels
from emodrift.show.panels import make_grid
from emodrift.show.scene import Scene
from emodrift.show.style import BAND, FAINT, TEXT, darken
from emodrift.show.timeline import Timeline
from emodrift.show.wording import join

READS = {"drift": ("emotion_paths", "emotion_components")}
CHAPTER = "direction"
COLUMNS = 3
AXES = ["component_1", "component_2"]
MARGIN = 0.16


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Paths of the emotions over the checkpoints of every run that is watched.

    A ring is the reference, a dot the run's last checkpoint; pale lines are sound runs. All
    checkpoints are in the reference's frame, after the alignment by texts without emotion; axes
    are its first two components.
    """
    table = tables["emotion_paths"]
    timeline = Timeline(table, scene.reference)
    emotions = scene.choose_emotions(table["emotion"])
    table = table[table["emotion"].isin(emotions)]
    runs, sound = scene.watched(table["run"]), scene.banded(table["run"])
    columns = max(1, min(len(runs), round(COLUMNS * scene.inches / 6.9)))
    size = (scene.inches - 0.5) / columns
    figure, grid = make_grid(scene, len(runs), COLUMNS, size)
    limits = {c: _widen(table[c]) for c in AXES}
    ends: dict[str, dict[str, tuple[float, float]]] = {}
    for axes, run in zip(grid.flat, runs, strict=False):
        axes.set(xlim=limits[AXES[0]], ylim=limits[AXES[1]])
        axes.set_title(scene.name(run))
        axes.axhline(0, color=BAND, lw=0.8, zorder=0)
        axes.axvline(0, color=BAND, lw=0.8, zorder=0)
        ends[run] = {}
        for emotion in emotions:
            of_emotion = table[table["emotion"] == emotion]
            for other in sound:
                path = timeline.trace(of_emotion, other)
                axes.plot(*path[AXES].values.T, color=FAINT, lw=0.5, zorder=1)
            path = timeline.trace(of_emotion, run)
            colour = scene.colour(emotion)
            axes.plot(*path[AXES].values.T, color=colour, lw=1)
            origin = of_emotion[of_emotion["checkpoint"] == timeline.number].iloc[0]
            axes.plot(*origin[AXES], "o", mfc="white", mec=colour, ms=3)
            axes.plot(*path[AXES].values[-1], "o", color=colour, ms=3)
            ends[run][scene.name(emotion)] = tuple(path[AXES].values[-1])
    at_reference = tables["emotion_components"].query("checkpoint == @timeline.number")
    at_reference = at_reference.set_index("component")
    figure.supxlabel(_describe_axis(at_reference.loc[1], 1), fontsize=TEXT)
    figure.supylabel(_describe_axis(at_reference.loc[2], 2), fontsize=TEXT)
    figure.draw_without_rendering()
    labelled = {scene.name(e): scene.colour(e) for e in space_labels(emotions)[1]}
    for axes, run in zip(grid.flat, runs, strict=False):
        points = {name: place for name, place in ends[run].items() if name in labelled}
        label_points(axes, points, lambda name: darken(labelled[name]))
    shown = table[table["run"].isin([*runs, *sound, scene.reference.run])]
    caption = _describe(table, timeline, runs, scene)
    return Drawing(figure, shown, "Paths of the emotions", caption)


def _widen(values: pd.Series) -> tuple[float, float]:
    margin = MARGIN * (values.max() - values.min())
    return values.min() - margin, values.max() + margin


def _describe_axis(component: pd.Series, number: int) -> str:
    ratings = [
        f"{rating} r = {component[rating]:.2f}"
        for rating in ("valence", "arousal")
        if pd.notna(component[rating])
    ]
    rated = f"\n{', '.join(ratings)}" if ratings else ""
    return f"component {number} ({100 * component['share']:.0f} % of energy), residual norms{rated}"


def _describe(table: pd.DataFrame, timeline: Timeline, runs: list[str], scene: Scene) -> str:
    start = table[table["checkpoint"] == timeline.number].set_index("emotion")[AXES]
    extent = float(np.linalg.norm(start, axis=1).mean())
    moved = []
    for run in runs:
        own = table[table["run"] == run]
        end = own[own["checkpoint"] == own["checkpoint"].max()].set_index("emotion")[AXES]
        way = pd.Series(np.linalg.norm(end - start.loc[end.index], axis=1), index=end.index)
        moved.append(
            f"{scene.name(run)} {way.mean() / extent:.0%} of it (most: {scene.name(way.idxmax())})"
        )
    text = (
        f"{len(start)} emotions. From their mean they lie {extent:.2g} residual norms apart at the "
        f"reference (ring); to the end (dot) they move on average, {join(moved)}."
    )
    if scene.banded(table["run"]):
        text += " Pale lines: sound runs."
    return text
