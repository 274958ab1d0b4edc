"""Figure: all runs at one glance, indicators with alarms beside the behaviour evals."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.drawing import Drawing
from emodrift.show.labels import End, label_ends
from emodrift.show.panels import draw_band, draw_interval, list_unique
from emodrift.show.scene import Scene
from emodrift.show.style import ALARM, FAINT, GREY, INK
from emodrift.show.timeline import Timeline, spread_runs
from emodrift.show.wording import join, span, spell
from emodrift.warning.indicators import TITLES

READS = {"indicators": ("indicators",), "coupling": ("behaviour",)}
CHAPTER = "warning"
HEIGHT = 1.3
UNSEEN = ("ood", "heldout", "train_like")
WIDE = 5.0


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Every run on one axis of training, in bands of its stages.

    Left: the indicators, a line for each run that is watched, alarms as red diamonds, the sound
    runs as a band. Right: the evals that moved most, on prompts unlike the training data, with
    intervals at each run's end. At one column's width the evals are below the indicators.
    """
    table = tables["indicators"]
    evals = _pick_evals(tables["behaviour"])
    timeline = Timeline(table, scene.reference)
    runs, sound = scene.watched(table["run"]), scene.banded(table["run"])
    marks = scene.mark_runs(table["run"])
    names = list_unique(table["indicator"])
    metrics = _rank_evals(evals, runs, timeline.number)[: len(names)]
    wide = scene.inches >= WIDE
    rows = max(len(names), len(metrics)) if wide else len(names) + len(metrics)
    figure, grid = plt.subplots(
        rows,
        2 if wide else 1,
        figsize=(scene.inches, scene.height or 0.45 + HEIGHT * rows * (1 if wide else 0.8)),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    places = list(grid.T.flat)
    left, right = places[: len(names)], places[rows if wide else len(names) :]
    for axes in right[len(metrics) :] + (places[len(names) : rows] if wide else []):
        axes.set_visible(False)
    ends = {}
    for axes, name in zip(left, names, strict=True):
        own = table[table["indicator"] == name].assign(low=np.nan, high=np.nan)
        ends[axes] = _draw_curves(axes, timeline, own, runs, sound, marks, scene)
        axes.set_title(TITLES[name])
    for axes, name in zip(right, metrics, strict=False):
        own = evals[evals["metric"] == name].assign(alarm=False)
        ends[axes] = _draw_curves(axes, timeline, own, runs, sound, marks, scene)
        axes.set_ylim(-0.05, 1.05)
        axes.set_title(f"{scene.name(name)} (probability)")
    for axes in ends:
        timeline.dress(axes, name=axes in (left[0], right[0]))
        axes.set_xlabel("")
        if axes in (left[0], right[0]) and len(timeline.stages) > 1:
            axes.set_title(axes.get_title(loc="left"), pad=10)
        label_ends(axes, {scene.name(k): v for k, v in ends[axes].items()}, HEIGHT - 0.45)
    for axes in (left[-1], right[len(metrics) - 1]):
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(
            "training step within stage" if len(timeline.stages) > 1 else "training step"
        )
    evals = evals[evals["metric"].isin(metrics)]
    data = pd.concat([table.assign(panel="indicator"), evals.assign(panel="eval")])
    title = "Indicators and behaviour evals along training"
    return Drawing(figure, data, title, _describe(table, evals, runs, scene))


def _pick_evals(behaviour: pd.DataFrame) -> pd.DataFrame:
    """Safety metrics on the split that is least like the training data."""
    split = next(s for s in UNSEEN if s in set(behaviour["split"]))
    chosen = behaviour["safety"] & (behaviour["split"] == split)
    return behaviour[chosen].rename(columns={"probability": "value"})


def _rank_evals(evals: pd.DataFrame, runs: list[str], reference: int) -> list[str]:
    """Metrics by how far any run that is watched moved from the reference, most first."""
    start = evals[evals["checkpoint"] == reference].set_index("metric")["value"]
    moved = evals[evals["run"].isin(runs)]
    far = (moved["value"] - moved["metric"].map(start)).abs()
    return list(far.groupby(moved["metric"]).max().sort_values(ascending=False).index)


def _draw_curves(
    axes: Axes,
    timeline: Timeline,
    table: pd.DataFrame,
    runs: list[str],
    sound: list[str],
    marks: Mapping[str, tuple[str, str]],
    scene: Scene,
) -> dict[str, End]:
    band = spread_runs(timeline, table, sound, "value")
    if len(band):
        draw_band(axes, band["place"], band["low"], band["high"], "0.45", 0.35)
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    if not np.isfinite(table["value"]).any():
        reason = table["reason"].dropna().iloc[0] if "reason" in table else ""
        words = fill(f"not applicable: {reason}" if reason else "not applicable", 44)
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=GREY)
        return {}
    before = timeline.trace(table, scene.reference.run)
    if scene.reference.run not in runs:
        axes.plot(before["place"], before["value"], color=INK, lw=0.9)
    ends = {}
    for run in runs:
        line = timeline.trace(table, run)
        colour, marker = marks[run]
        axes.plot(line["place"], line["value"], color=colour, marker=marker, ms=2.8)
        last = line.iloc[-1]
        draw_interval(axes, last["place"], last["low"], last["high"], colour)
        alarms = line[line["alarm"].astype(bool)]
        if len(alarms):
            ring: dict[str, Any] = {"mfc": "none", "mec": ALARM, "mew": 1.1, "ms": 6.5}
            axes.plot(alarms["place"], alarms["value"], "D", **ring, clip_on=False, zorder=5)
        ends[run] = End(last["place"], last["value"], colour)
    start = table[table["checkpoint"] == timeline.number]
    at = timeline.stages[scene.reference.stage].place(scene.reference.step)
    axes.plot([at], start["value"], "o", mfc="white", mec=INK, ms=4, zorder=4)
    return ends


def _describe(table: pd.DataFrame, evals: pd.DataFrame, runs: list[str], scene: Scene) -> str:
    alarms = table[table["alarm"] & table["run"].isin(runs)]
    sentences = []
    for run in runs:
        first = alarms[alarms["run"] == run].drop_duplicates("indicator")
        if len(first):
            raised = join(
                f"{TITLES[i].lower()} from step {s}"
                for i, s in zip(first["indicator"], first["step"], strict=True)
            )
            sentences.append(f"{scene.name(run).capitalize()} raises {raised}.")
    silent = [scene.name(run) for run in runs if run not in set(alarms["run"])]
    if silent:
        sentences.append(f"No alarm in {join(silent)}.")
    prompts = evals.groupby("metric")["prompts"].first()
    sentences.append(
        f"Red diamonds: alarms; ring: the reference. Evals: the {spell(len(prompts))} that moved "
        f"most, on {span(prompts, '.0f')} prompts of the split "
        f"{evals['split'].iloc[0].replace('_', ' ')} each, {scene.percent} intervals at each run's "
        "end."
    )
    if scene.banded(table["run"]):
        sentences.append(f"Grey band: {join(map(scene.name, scene.banded(table['run'])))}.")
    return " ".join(sentences)
