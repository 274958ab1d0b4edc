"""Figure: all runs at one glance, indicators with alarms beside evals, own and of other tools."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from emodrift.config.names import say
from emodrift.show.drawing import Drawing
from emodrift.show.external import bound_evals, name_evals, rank_evals
from emodrift.show.labels import End, label_ends
from emodrift.show.panels import draw_band, draw_interval, list_unique, write_across
from emodrift.show.scene import Scene
from emodrift.show.style import ALARM, FAINT, INK
from emodrift.show.timeline import Timeline, spread_runs
from emodrift.show.wording import join, span, spell
from emodrift.warning.indicators import TITLES

READS = {"indicators": ("indicators",), "coupling": ("behaviour",), "evals?": ("evals",)}
CHAPTER = "warning"
HEIGHT = 1.3
UNSEEN = ("ood", "heldout", "train_like")
WIDE = 5.0
MOST_EXTERNAL = 4
FEWEST_OWN = 2


class Panel(NamedTuple):
    """A panel of evals: its title, its rows (checkpoint, run, value, low, high, alarm), and the
    limits of its axis where they are known."""

    title: str
    rows: pd.DataFrame
    limits: tuple[float, float] | None = None


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Every run on one axis of training, in bands of its stages.

    Left: the indicators, a line for each run that is watched, alarms as red diamonds, the sound
    runs as a band. Right: evals of other tools, where there are some, with a diamond where one is
    worse than at the reference; then the own evals that moved most, on prompts unlike the training
    data; with intervals at each run's end. At one column's width the evals are below the
    indicators.
    """
    table = tables["indicators"]
    timeline = Timeline(table, scene.reference)
    runs, sound = scene.watched(table["run"]), scene.banded(table["run"])
    marks = scene.mark_runs(table["run"])
    names = list_unique(table["indicator"])
    external = list_external(tables["evals"], scene) if "evals" in tables else []
    behaviour = _pick_evals(tables["behaviour"])
    most = max(FEWEST_OWN, len(names) - len(external))
    metrics = _rank_evals(behaviour, runs, timeline.number)[:most]
    panels = external + [_show_metric(behaviour, name, scene) for name in metrics]
    wide = scene.inches >= WIDE
    rows = max(len(names), len(panels)) if wide else len(names) + len(panels)
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
    for axes in right[len(panels) :] + (places[len(names) : rows] if wide else []):
        axes.set_visible(False)
    ends = {}
    for axes, name in zip(left, names, strict=True):
        own = table[table["indicator"] == name].assign(low=np.nan, high=np.nan)
        ends[axes] = _draw_curves(axes, timeline, own, runs, sound, marks, scene)
        axes.set_title(TITLES[name])
    for axes, panel in zip(right, panels, strict=False):
        ends[axes] = _draw_curves(axes, timeline, panel.rows, runs, sound, marks, scene)
        if panel.limits:
            axes.set_ylim(*panel.limits)
        axes.set_title(panel.title)
    for axes in ends:
        timeline.dress(axes, name=axes in (left[0], right[0]))
        axes.set_xlabel("")
        if axes in (left[0], right[0]) and len(timeline.stages) > 1:
            axes.set_title(axes.get_title(loc="left"), pad=10)
        label_ends(axes, {scene.name(k): v for k, v in ends[axes].items()}, HEIGHT - 0.45)
    for axes in (left[-1], right[len(panels) - 1]):
        axes.tick_params(labelbottom=True)
        axes.set_xlabel(
            "training step within stage" if len(timeline.stages) > 1 else "training step"
        )
    evals = behaviour[behaviour["metric"].isin(metrics)]
    data = [table.assign(panel="indicator"), evals.assign(panel="eval")]
    data += [panel.rows.assign(panel="external eval") for panel in external]
    title = "Indicators and behaviour evals along training"
    caption = _describe(table, evals, runs, scene) + _describe_external(external, runs, scene)
    return Drawing(figure, pd.concat(data), title, caption)


def list_external(evals: pd.DataFrame, scene: Scene) -> list[Panel]:
    """Evals of other tools, at most four, with what is worse than at the reference as an alarm.

    Parameters
    ----------
    evals
        Table of :func:`emodrift.evals.measuring.measure_evals`.
    """
    table = bound_evals(evals.assign(eval=name_evals(evals, scene.name)), scene.level)
    table = table.assign(alarm=table["worse"].fillna(False).astype(bool))
    return [
        Panel(fill(name, 46), table[table["eval"] == name])
        for name in rank_evals(table)[:MOST_EXTERNAL]
    ]


def _show_metric(behaviour: pd.DataFrame, name: str, scene: Scene) -> Panel:
    rows = behaviour[behaviour["metric"] == name].assign(alarm=False)
    return Panel(f"{scene.name(name)} (probability)", rows, (-0.05, 1.05))


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
    if (table["value"].min() <= 0) or "indicator" in table:
        axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    if not np.isfinite(table["value"]).any():
        reason = table["reason"].dropna().iloc[0] if "reason" in table else ""
        write_across(axes, f"not applicable: {reason}" if reason else "not applicable")
        return {}
    before = timeline.trace(table, scene.reference.run)
    if scene.reference.run not in runs:
        axes.plot(before["place"], before["value"], color=INK, lw=0.9)
    ends = {}
    for run in runs:
        line = timeline.trace(table, run)
        if line.empty:
            continue
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


def _describe_external(panels: list[Panel], runs: list[str], scene: Scene) -> str:
    """Which of the evals of other tools are worse in which runs, and since when."""
    sentences = []
    for panel in panels:
        rows = panel.rows[panel.rows["run"].isin(runs) & panel.rows["alarm"]]
        first = rows.drop_duplicates("run")
        name = panel.title.replace("\n", " ")
        if len(first):
            worse = join(
                f"{scene.name(run)} from step {step}"
                for run, step in zip(first["run"], first["step"], strict=True)
            )
            sentences.append(f"{name} is worse than at the reference in {worse}.")
        elif panel.rows["worse"].notna().any():
            sentences.append(f"{name} is nowhere worse than at the reference.")
    return "".join(f" {sentence}" for sentence in sentences)


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
        f"{say(evals['split'].iloc[0])} each, {scene.percent} intervals at each run's "
        "end."
    )
    if scene.banded(table["run"]):
        sentences.append(f"Grey band: {join(map(scene.name, scene.banded(table['run'])))}.")
    return " ".join(sentences)
