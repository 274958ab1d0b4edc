"""Figure: how narrow and how steady the bundles' effects are, and where training takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.drawing import Drawing
from emodrift.show.labels import label_points
from emodrift.show.panels import list_unique, make_grid, mark_bundles
from emodrift.show.scene import Scene
from emodrift.show.style import FAINT, GREY, INK, TEXT, darken
from emodrift.show.timeline import Timeline
from emodrift.show.wording import interval

READS = {"coupling": ("modularity", "effects")}
CHAPTER = "effect"
COLUMNS, HEIGHT = 3, 2.4
MEASURES = ("modularity", "stability")


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Modularity × stability, a panel for each bundle, a path for each run from the reference.

    A ring is the reference, a marker a run's last checkpoint, with intervals of both measures;
    dots are sound runs. Dotted: mean modularity of directions matched to the activations.
    """
    profiles = gather_profiles(tables["modularity"], tables["effects"], scene)
    timeline = Timeline(tables["effects"], scene.reference)
    bundles = list_unique(profiles["concept"])
    runs, sound = scene.watched(profiles["run"]), scene.banded(profiles["run"])
    marks = scene.mark_runs(tables["effects"]["run"])
    figure, grid = make_grid(scene, len(bundles), COLUMNS, HEIGHT)
    names: dict[Axes, dict[str, Any]] = {}
    for axes, bundle in zip(grid.flat, bundles, strict=False):
        own = profiles[profiles["concept"] == bundle]
        axes.set_title(scene.name(bundle), color=darken(scene.colour(bundle)))
        axes.axvline(own["null"].mean(), color=GREY, lw=0.8, ls=":", zorder=0)
        for run in sound:
            line = timeline.trace(own, run)
            axes.plot(*line[list(MEASURES)].values.T, ".-", color=FAINT, lw=0.6, ms=3, zorder=1)
        names[axes] = {}
        for run in runs:
            last = _draw_path(axes, timeline.trace(own, run), *marks[run])
            names[axes][scene.name(run)] = tuple(last[list(MEASURES)])
        start = own[own["checkpoint"] == timeline.number].iloc[0]
        axes.plot(
            start["modularity"], start["stability"], "o", mfc="white", mec=INK, ms=5, zorder=5
        )
        names[axes]["reference"] = start["modularity"], start["stability"]
    grid.flat[0].set_xlim(left=0)
    grid.flat[0].set_ylim(min(0, profiles["stability"].min() - 0.05), 1.04)
    figure.supxlabel("modularity: share of the effect on the metrics named", fontsize=TEXT)
    figure.supylabel("stability over families of prompts", fontsize=TEXT)
    figure.draw_without_rendering()
    colours = {scene.name(run): darken(marks[run][0]) for run in runs} | {"reference": INK}
    for axes, points in names.items():
        label_points(axes, points, colours.__getitem__)
    caption = _describe(profiles, runs, scene)
    return Drawing(figure, profiles, "Modularity and stability of the bundles' effects", caption)


def gather_profiles(modularity: pd.DataFrame, effects: pd.DataFrame, scene: Scene) -> pd.DataFrame:
    """Tidy table (checkpoint, bundle): modularity with interval and matched null, and the mean
    stability, with bounds, of its effects on the metrics named for it.

    Bundles for which no metric is named are left out.
    """
    modularity = mark_bundles(modularity, ["checkpoint"], scene.bundles)
    effects = mark_bundles(effects, ["checkpoint", "metric"], scene.bundles)
    own = modularity[modularity["bundle"] & modularity["modularity"].notna()]
    own = own.rename(columns={"modularity_matched": "null"})
    named = effects[effects["bundle"] & effects["named"]]
    columns = ["stability", "stability_low", "stability_high"]
    means = named.groupby(["checkpoint", "concept"], as_index=False)[columns].mean()
    kept = ["checkpoint", "run", "stage", "step", "concept", "modularity", "modularity_low"]
    kept += ["modularity_high", "null"]
    return own[kept].merge(means, on=["checkpoint", "concept"])


def _draw_path(axes: Axes, line: pd.DataFrame, colour: str, marker: str) -> pd.Series:
    axes.plot(line["modularity"], line["stability"], color=colour, lw=0.9, alpha=0.8)
    last = line.iloc[-1]
    axes.hlines(last["stability"], last["modularity_low"], last["modularity_high"], colour, lw=0.6)
    axes.vlines(last["modularity"], last["stability_low"], last["stability_high"], colour, lw=0.6)
    axes.plot(last["modularity"], last["stability"], marker, color=colour, ms=4, zorder=4)
    return last


def _describe(profiles: pd.DataFrame, runs: list[str], scene: Scene) -> str:
    number = scene.reference.find(profiles)
    sentences = []
    for bundle, own in profiles.groupby("concept", sort=False):
        values = []
        places = [("at the reference", number)]
        places += [
            (f"in {scene.name(r)}", own.loc[own["run"] == r, "checkpoint"].max()) for r in runs
        ]
        for title, at in places:
            row = own[own["checkpoint"] == at].iloc[0]
            text = interval(row["modularity"], row["modularity_low"], row["modularity_high"])
            values.append(f"{text} {title}")
        sentences.append(f"Modularity of {scene.name(bundle)}: {'; '.join(values)}.")
    sentences.append(
        f"Whiskers: {scene.percent} intervals over prompt families. Dotted: mean of directions "
        "with the covariance of activations."
    )
    if scene.banded(profiles["run"]):
        sentences.append("Pale: sound runs.")
    return " ".join(sentences)
