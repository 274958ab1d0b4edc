"""Figure: how indicators and the evals of other tools go together, and which moves first."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.drawing import Drawing
from emodrift.show.external import mark_indicators, name_evals, rank_evals
from emodrift.show.panels import draw_interval, list_unique
from emodrift.show.scene import Scene
from emodrift.show.style import COLUMN_INCHES, FAINT, GREY, INK
from emodrift.show.timeline import Timeline
from emodrift.show.wording import interval, join, spell
from emodrift.warning.indicators import TITLES

READS = {"evals": ("evals", "correlations", "leads"), "indicators": ("indicators",)}
CHAPTER = "evals"
MOST = 4
HEIGHT = 1.45
RATIOS = (1.0, 1.1, 1.5)
HEADINGS = ("lead and lag", "first alarms; × eval first worse")


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """A row of three panels for each eval.

    Left: correlation of its levels with each indicator's, within runs, with intervals. Middle:
    correlation of changes from checkpoint to checkpoint, the eval's taken some checkpoints later:
    a peak on the right means that the indicator moves first. Right: run by run, when each indicator
    first alarms (its marker) and when the eval is first worse than at the reference (a cross).
    At one column's width the three are below one another.
    """
    named = {
        name: tables[name].assign(eval=name_evals(tables[name], scene.name))
        for name in ("evals", "correlations", "leads")
    }
    evals = rank_evals(named["evals"])[:MOST]
    timeline = Timeline(tables["indicators"], scene.reference)
    runs = scene.watched(tables["indicators"]["run"])
    columns = 3 if scene.inches > COLUMN_INCHES["one"] else 1
    figure, grid = plt.subplots(
        len(evals) * 3 // columns,
        columns,
        figsize=(scene.inches, scene.height or 0.4 + HEIGHT * len(evals) * 3 / columns),
        squeeze=False,
        width_ratios=RATIOS[:columns],
        layout="constrained",
    )
    for row, name in enumerate(evals):
        left, middle, right = grid.flat[3 * row : 3 * row + 3]
        own = {key: table[table["eval"] == name] for key, table in named.items()}
        _draw_levels(left, own["correlations"])
        _draw_lags(middle, own["correlations"])
        _draw_firsts(right, own["leads"], tables["indicators"], timeline, runs, scene)
        left.set_title(fill(name, 44))
        if columns == 1 or not row:
            for axes, words in zip((middle, right), HEADINGS, strict=True):
                axes.set_title(words, fontweight="normal")
    data = named["correlations"][named["correlations"]["eval"].isin(evals)]
    title = "Indicators beside the evals of other tools"
    return Drawing(figure, data, title, _describe(named, evals, runs, scene))


def _draw_levels(axes: Axes, table: pd.DataFrame) -> None:
    """A dot for each indicator at its correlation, with its interval."""
    levels = table[table["of"] == "level"].set_index("indicator")
    marks = mark_indicators()
    axes.axvline(0, color=FAINT, lw=0.6, zorder=0)
    for place, (indicator, row) in enumerate(levels.iterrows()):
        colour, marker = marks[str(indicator)]
        axes.hlines(place, row["low"], row["high"], color=colour, lw=0.9)
        axes.plot(row["r"], place, marker, color=colour, ms=4)
    axes.set_yticks(range(len(levels)), [TITLES[str(name)] for name in levels.index])
    axes.set_ylim(len(levels) - 0.5, -0.5)
    axes.set_xlim(-1.08, 1.08)
    axes.set_xlabel("correlation within runs")


def _draw_lags(axes: Axes, table: pd.DataFrame) -> None:
    """A line for each indicator over lags, in the colour and marker that it has on the left."""
    changes = table[(table["of"] == "change") & table["r"].notna()]
    marks = mark_indicators()
    names = list_unique(table["indicator"])
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    axes.axvline(0, color=FAINT, lw=0.6, zorder=0)
    for number, name in enumerate(names):
        own = changes[changes["indicator"] == name].sort_values("lag")
        if own.empty:
            continue
        colour, marker = marks[name]
        aside = 0.06 * (number - (len(names) - 1) / 2)
        axes.plot(own["lag"] + aside, own["r"], color=colour, marker=marker, ms=2.8)
        draw_interval(axes, own["lag"] + aside, own["low"], own["high"], colour)
    axes.set_ylim(-1.08, 1.08)
    if len(changes):
        most = max(1, table["lag"].abs().max())
        axes.set_xlim(-most - 0.3, most + 0.3)
        axes.set_xticks(range(-most, most + 1))
        axes.set_xlabel("eval later by (checkpoints)")
        axes.set_ylabel("correlation of changes")
    else:
        _say_nothing(axes, "too few checkpoints")


def _draw_firsts(
    axes: Axes,
    leads: pd.DataFrame,
    indicators: pd.DataFrame,
    timeline: Timeline,
    runs: list[str],
    scene: Scene,
) -> None:
    """Run by run, first alarms and the first checkpoint at which the eval is worse."""
    if leads.empty:
        _say_nothing(axes, "no known direction, or not measured at the reference")
        return
    marks = mark_indicators()
    for line, run in enumerate(runs):
        trace = timeline.trace(indicators.drop_duplicates("checkpoint"), run)
        places = dict(zip(trace["step"], trace["place"], strict=True))
        axes.plot(trace["place"], [line] * len(trace), color=FAINT, lw=0.8, marker="|", ms=4)
        own = leads[leads["run"] == run]
        alarms = own.dropna(subset=["alarm_step"])
        for number, (name, step) in enumerate(
            zip(alarms["indicator"], alarms["alarm_step"], strict=True)
        ):
            colour, marker = marks[name]
            aside = 0.16 * (number - (len(alarms) - 1) / 2)
            axes.plot(places[step], line + aside, marker, color=colour, ms=3.6, clip_on=False)
        worse = own["worse_step"].dropna()
        if len(worse):
            axes.plot(places[worse.iloc[0]], line, "x", color=INK, ms=7, mew=1.4, zorder=1.9)
    axes.set_yticks(range(len(runs)), [scene.name(run) for run in runs])
    axes.set_ylim(len(runs) - 0.5, -0.5)
    timeline.dress(axes, runs, name=False)


def _say_nothing(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, fill(why, 24), transform=axes.transAxes, ha="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])


def _describe(
    tables: Mapping[str, pd.DataFrame], evals: list[str], runs: list[str], scene: Scene
) -> str:
    table = tables["correlations"]
    sentences = []
    for name in evals:
        own = table[(table["eval"] == name) & (table["of"] == "level") & table["r"].notna()]
        if own.empty:
            sentences.append(f"{name} has too few checkpoints for a correlation.")
            continue
        best = own.loc[own["r"].abs().idxmax()]
        sentences.append(
            f"{name} goes most with {TITLES[best['indicator']].lower()}: "
            f"r = {interval(best['r'], best['low'], best['high'])} over {best['n']} checkpoints of "
            f"{spell(int(best['runs']))} runs."
        )
        sentences += _say_leads(tables["leads"].query("eval == @name and run in @runs"), scene)
    sentences.append(
        "Intervals count the autocorrelation of both series; where they are missing, too few "
        "checkpoints are left. Crosses: the eval is first worse than at the reference."
    )
    return " ".join(sentences)


def _say_leads(leads: pd.DataFrame, scene: Scene) -> list[str]:
    if leads.empty:
        return []
    known = leads.dropna(subset=["lead_checkpoints"])
    ahead = known[known["lead_checkpoints"] > 0]
    behind = known[known["lead_checkpoints"] < 0]
    same = known[known["lead_checkpoints"] == 0]
    found = {"before it was worse": ahead, "at that checkpoint": same, "after": behind}
    words = [f"{spell(len(rows))} came {when}" for when, rows in found.items() if len(rows)]
    if not words:
        return ["In no run did an indicator alarm and this eval become worse."]
    first = (
        f"Of indicators' first alarms in runs where it became worse ({len(known)}), {join(words)}."
    )
    return [first]
