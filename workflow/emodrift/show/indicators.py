"""Figure: indicators with their alarms, over the behaviour evals of the same checkpoints."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import draw_band, label_training, list_runs, place_checkpoints, prettify
from emodrift.warning.indicators import INDICATORS, TITLES


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """A column for each run. Above, the indicators: value, the healthy runs' value at that step
    dashed, alarms as red diamonds. Below, the behaviour evals on prompts unlike training."""
    table = read_table(entries["indicators"], "indicators")
    behaviour = read_table(entries["coupling"], "behaviour")
    behaviour = behaviour[behaviour["safety"]]
    evals = (
        behaviour[behaviour["split"] == _pick_split(behaviour)]
        .copy()
        .rename(columns={"metric": "name", "probability": "value"})
    )
    runs = list_runs(table["run"])
    metrics = list_runs(evals["name"])
    colours = dict(
        zip(metrics, sns.color_palette(look.palette or "colorblind", len(metrics)), strict=True)
    )
    figure, grid = plt.subplots(
        len(INDICATORS) + 1,
        len(runs),
        figsize=(max(look.width, 1.35 * len(runs)), 1.25 * (len(INDICATORS) + 1) + 0.6),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for column, run in enumerate(runs):
        judged, answers = (_place_run(t, run) for t in (table, evals))
        for row, indicator in enumerate(INDICATORS):
            axes = grid[row, column]
            line = judged[judged["indicator"] == indicator]
            axes.axhline(0, color="0.85", lw=0.8, zorder=0)
            axes.plot(line["place"], line["expected"], color="0.5", linestyle="--", lw=1)
            axes.plot(line["place"], line["value"], color="black", marker="o")
            alarms = line[line["alarm"]]
            axes.plot(alarms["place"], alarms["value"], "D", color="crimson", markersize=5)
        axes = grid[-1, column]
        for metric in metrics:
            line = answers[answers["name"] == metric]
            axes.plot(line["place"], line["value"], color=colours[metric], label=prettify(metric))
            draw_band(axes, line["place"], line["low"], line["high"], colours[metric])
        axes.set_ylim(-0.03, 1.03)
        label_training(axes, answers)
        grid[0, column].set_title(run)
    for row, indicator in enumerate(INDICATORS):
        grid[row, 0].set_ylabel(fill(TITLES[indicator], 16), fontsize=7)
    grid[-1, 0].set_ylabel("behaviour evals\n(probability)", fontsize=7)
    handles = [
        plt.Line2D([], [], color="black", marker="o", label="indicator"),
        plt.Line2D([], [], color="0.5", linestyle="--", label="healthy at that step"),
        plt.Line2D([], [], color="crimson", marker="D", linestyle="", label="alarm"),
        *grid[-1, 0].get_legend_handles_labels()[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)))
    figure.align_ylabels(grid[:, 0])
    indicators = table.rename(columns={"indicator": "name"}).assign(panel="indicator")
    return Drawing(figure, pd.concat([indicators, evals.assign(panel="behaviour")]))


def _place_run(table: pd.DataFrame, run: str) -> pd.DataFrame:
    of_run = table[table["run"] == run]
    return of_run.assign(place=place_checkpoints(of_run))


def _pick_split(behaviour: pd.DataFrame) -> str:
    present = set(behaviour["split"])
    return next(split for split in ("ood", "heldout", "train_like") if split in present)
