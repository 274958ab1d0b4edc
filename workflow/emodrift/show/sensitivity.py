"""Figure: how much each conclusion moves when the study's choices are made otherwise."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import hide_spare, list_runs, pick_ends
from emodrift.warning.indicators import INDICATORS, TITLES

COLUMNS = 3
SPREAD = 0.76
FAR = 10
MARGIN = 0.3
PANELS = {
    **{name: (TITLES[name], "deviation from healthy, SD") for name in INDICATORS},
    "turned": ("Drift of direction", "mean corrected cosine"),
    "drift_order": ("Order of the emotions' drift", "Spearman with as configured"),
    "effect": ("Caution's effect on refusal", "slope over SD of null slopes"),
    "profile": ("Profile of all effects", "correlation with as configured"),
    "evocation": ("Evocation of caution", "harmful over benign, SD"),
}
AGREEMENTS = ("drift_order", "profile")


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """A panel for each conclusion: a row for the study as configured and each variant, a dot with
    interval for each run's end. Hollow: the verdict is not the study's own. Below a variant's
    name: the share of verdicts that stay."""
    table = read_table(entries["sensitivity"], "sensitivity")
    shares = read_table(entries["sensitivity"], "variants").set_index("variant")["share"]
    ends = {number: title for title, number in pick_ends(table, reference).items()}
    table = table[table["checkpoint"].isin(ends)].assign(at=lambda t: t["checkpoint"].map(ends))
    variants = list_runs(table["variant"])
    colours = dict(
        zip(
            ends.values(),
            ["black", *sns.color_palette(look.palette or "colorblind", len(ends) - 1)],
            strict=True,
        )
    )
    rows = int(np.ceil(len(PANELS) / COLUMNS))
    height = max(0.3, 0.045 * len(ends)) * len(variants)
    figure, grid = plt.subplots(
        rows,
        COLUMNS,
        figsize=(look.width, 0.6 + rows * (0.7 + height)),
        sharey=True,
        layout="constrained",
    )
    for axes, (conclusion, (title, label)) in zip(grid.flat, PANELS.items(), strict=False):
        _draw_panel(axes, table[table["conclusion"] == conclusion], variants, colours)
        if conclusion in INDICATORS:
            _widen_scale(axes)
        if conclusion in AGREEMENTS:
            axes.set_xlim(right=1.02)
        elif conclusion != "turned":
            axes.axvline(0, color="0.6", lw=0.8, zorder=0)
        axes.set_title(fill(title, 32))
        axes.set_xlabel(label)
    hide_spare(grid, len(PANELS))
    labels = [f"{v}\n{shares[v]:.0%} stay" if v in shares else v for v in variants]
    grid[0, 0].set_yticks(range(len(variants)), labels)
    grid[0, 0].set_ylim(len(variants) - 0.5, -0.5)
    handles = [
        plt.Line2D([], [], color=colour, marker="o", linestyle="", label=at)
        for at, colour in colours.items()
    ]
    changed = {"marker": "o", "linestyle": "", "color": "0.4", "markerfacecolor": "white"}
    handles.append(plt.Line2D([], [], label="verdict changed", **changed))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    return Drawing(figure, table)


def _draw_panel(
    axes: Axes, table: pd.DataFrame, variants: list[str], colours: dict[str, Any]
) -> None:
    for k in range(0, len(variants), 2):
        axes.axhspan(k - 0.5, k + 0.5, color="0.96", lw=0, zorder=0)
    for k, (at, colour) in enumerate(colours.items()):
        rows = table[(table["at"] == at) & table["value"].notna()]
        if rows.empty:
            continue
        shift = SPREAD * ((k + 0.5) / len(colours) - 0.5)
        place = rows["variant"].map(variants.index).values + shift
        axes.hlines(place, rows["low"], rows["high"], color=colour, lw=0.9)
        changed = ~rows["stays"].astype("boolean").fillna(True).values.astype(bool)
        for which, inside in ((~changed, colour), (changed, "white")):
            axes.plot(rows["value"][which], place[which], "o", color=colour, markerfacecolor=inside)
    axes.tick_params(axis="y", length=0)


def _widen_scale(axes: Axes) -> None:
    """Make the axis of deviations logarithmic beyond 3 where they reach far."""
    low, high = axes.get_xlim()
    if max(-low, high) < FAR:
        return
    low, high = (x * (1 + MARGIN) for x in (low, high))
    decades = 10.0 ** np.arange(1, 1 + np.floor(np.log10(max(-low, high))))
    ticks = [x for x in (*-decades[::-1], 0, *decades) if low <= x <= high]
    axes.set_xscale("symlog", linthresh=3)
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.set_xlim(low, high)
