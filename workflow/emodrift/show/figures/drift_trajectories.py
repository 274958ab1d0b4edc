"""Figure: how far each vector turned from the locked one, beside what turns for no such reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from emodrift.show.drawing import Drawing
from emodrift.show.labels import End, label_ends, measure_labels
from emodrift.show.panels import draw_band, draw_interval, make_grid
from emodrift.show.scene import Scene
from emodrift.show.style import FAINT, GREY, INK
from emodrift.show.timeline import Timeline, spread_runs
from emodrift.show.wording import count, join, span

READS = {"drift": ("drift", "direction_nulls")}
CHAPTER = "direction"
COLUMNS, HEIGHT, AROUND = 3, 2.45, 0.75
"""Of a row, inches: at the least, and what is around its axes."""
SIGNIFICANT = 0.05


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Corrected cosine with the reference along training, a panel for each run that is watched.

    A line for each emotion in its bundle's colour, with its interval at the last checkpoint. Dark
    band: noise floor, where the intervals would reach if nothing had turned. Hatched: quantiles
    .05 to .95 of contrasts of shuffled labels. Grey: sound runs. Dashed: mean of the controls.
    """
    drift = tables["drift"]
    timeline = Timeline(drift, scene.reference)
    runs = scene.watched(drift["run"])
    emotions = scene.choose_emotions(drift.loc[drift["kind"] == "emotion", "concept"])
    drift = drift[drift["concept"].isin(emotions) | (drift["kind"] == "control")]
    own = drift[drift["kind"] == "emotion"]
    sound = spread_runs(
        timeline, own.assign(curve=own["concept"]), scene.banded(own["run"]), "corrected"
    )
    height = max(HEIGHT, AROUND + measure_labels(len(emotions) + 1))
    figure, grid = make_grid(scene, len(runs), COLUMNS, height, sharex=False)
    lines = own[own["run"].isin(runs)]
    nulls = tables["direction_nulls"].query("null == 'shuffled_labels' and run in @runs")
    lowest = min(lines["corrected"].min(), lines["corrected_low"].median(), nulls["low"].min())
    limits = (max(lowest - 0.02, -1), 1.03)
    for axes, run in zip(grid.flat, runs, strict=False):
        axes.set_ylim(limits)
        timeline.dress(axes, [run])
        axes.set_title(scene.name(run), pad=9)
        _draw_backdrop(axes, timeline, tables["direction_nulls"], own, run)
        if len(sound):
            draw_band(axes, sound["place"], sound["low"], sound["high"], "0.45", 0.35)
        ends = _draw_lines(axes, timeline, drift, run, emotions, scene)
        label_ends(axes, ends, height - AROUND)
    for axes in grid[:, 0]:
        axes.set_ylabel("cosine with the reference,\ncorrected for sampling noise")
    _explain(figure, bool(len(sound)))
    shown = pd.concat(
        [drift[drift["run"].isin([*runs, *scene.banded(drift["run"])])], nulls.assign(kind="null")]
    )
    return Drawing(figure, shown, "Drift of direction", _describe(drift, nulls, runs, scene))


def _draw_backdrop(
    axes: Axes, timeline: Timeline, nulls: pd.DataFrame, own: pd.DataFrame, run: str
) -> None:
    shuffled = timeline.trace(nulls[nulls["null"] == "shuffled_labels"], run)
    axes.fill_between(
        shuffled["place"],
        shuffled["low"],
        shuffled["high"],
        facecolor="none",
        edgecolor=FAINT,
        hatch="/////",
        lw=0,
        zorder=-1,
    )
    half = (own["corrected_high"] - own["corrected_low"]) / 2
    floor = half.groupby(own["checkpoint"]).median().rename("half").reset_index()
    floor = timeline.trace(own.drop_duplicates("checkpoint").merge(floor), run)
    axes.fill_between(floor["place"], 1 - floor["half"], 1, color="0.2", alpha=0.35, lw=0)


def _draw_lines(
    axes: Axes,
    timeline: Timeline,
    drift: pd.DataFrame,
    run: str,
    emotions: list[str],
    scene: Scene,
) -> dict[str, End]:
    ends = {}
    step = 0.012 * np.ptp(axes.get_xlim())
    for number, emotion in enumerate(emotions):
        line = timeline.trace(drift[drift["concept"] == emotion], run)
        colour = scene.colour(emotion)
        axes.plot(line["place"], line["corrected"], ".-", color=colour, lw=0.9)
        last = line.iloc[-1]
        shift = step * (number - (len(emotions) - 1) / 2) / max(1, len(emotions) / 4)
        draw_interval(
            axes, last["place"] + shift, last["corrected_low"], last["corrected_high"], colour
        )
        start = line[line["checkpoint"] == timeline.number]
        axes.plot(start["place"], start["corrected"], "o", mfc="white", mec=INK, ms=3, zorder=4)
        ends[scene.name(emotion)] = End(last["place"], last["corrected"], colour)
    controls = drift[drift["kind"] == "control"]
    controls = controls.groupby(["checkpoint", "run", "stage", "step"], as_index=False)
    line = timeline.trace(controls["corrected"].mean(), run)
    axes.plot(line["place"], line["corrected"], "--", color=INK, lw=1.1)
    ends["controls"] = End(line["place"].iloc[-1], line["corrected"].iloc[-1], INK)
    return ends


def _explain(figure: Figure, sound: bool) -> None:
    """Name the bands, below all panels."""
    rows: list[tuple[str, dict[str, Any]]] = [("noise floor", {"color": "0.2", "alpha": 0.35})]
    if sound:
        rows.append(("sound runs", {"color": "0.45", "alpha": 0.35}))
    rows.append(
        ("shuffled labels", {"facecolor": "none", "edgecolor": FAINT, "hatch": "/////", "lw": 0})
    )
    handles = [Patch(label=label, **look) for label, look in rows]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, handleheight=0.8, labelcolor=GREY
    )


def _describe(drift: pd.DataFrame, nulls: pd.DataFrame, runs: list[str], scene: Scene) -> str:
    sentences = []
    for run in runs:
        last = drift[drift["run"] == run]
        last = last[last["checkpoint"] == last["checkpoint"].max()]
        emotions = last[last["kind"] == "emotion"]
        controls = last.loc[last["kind"] == "control", "corrected"].mean()
        beyond = int((emotions["beyond_controls_by"] < SIGNIFICANT).sum())
        least = emotions.loc[emotions["corrected"].idxmin()]
        sentences.append(
            f"At the end of {scene.name(run)} (step {last['step'].iloc[0]}) the "
            f"{len(emotions)} emotions' cosines are {span(emotions['corrected'])}, lowest for "
            f"{scene.name(least['concept'])}; controls average {controls:.2f}, and "
            f"{count(beyond, len(emotions))} turned more than they did."
        )
    null = nulls["directions"].iloc[0] if len(nulls) else 0
    sentences.append(
        f"Whiskers: {scene.percent} jackknife intervals over topics, which may leave the axes. "
        "Noise floor: where those intervals would reach if nothing had turned. Hatched: 5th to "
        f"95th percentile of {null} contrasts of shuffled labels in the same texts."
    )
    banded = scene.banded(drift["run"])
    if banded:
        sentences.append(f"Sound runs: {join(map(scene.name, banded))}, all emotions.")
    return " ".join(sentences)
