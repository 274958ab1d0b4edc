"""Figure: how much each conclusion moves when the study's choices are made otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.drawing import Drawing
from emodrift.show.panels import AT_REFERENCE, list_unique, make_grid, pick_ends
from emodrift.show.scene import Scene
from emodrift.show.style import INK
from emodrift.warning.indicators import INDICATORS, TITLES

READS = {"sensitivity": ("sensitivity", "variants")}
CHAPTER = "robustness"
COLUMNS = 3
SPREAD = 0.76
FAR = 10
MARGIN = 0.3
PANELS = {
    **{name: (TITLES[name], "deviation from healthy, SD") for name in INDICATORS},
    "direction": ("Drift of direction", "mean corrected cosine"),
    "drift_order": ("Order of the emotions' drift", "Spearman with as configured"),
    "effect": ("Caution's effect on refusal", "slope over SD of null slopes"),
    "profile": ("Profile of all effects", "correlation with as configured"),
    "evocation": ("Evocation of caution", "harmful over benign, SD"),
}
AGREEMENTS = ("drift_order", "profile")


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """A panel for each conclusion, a row for the study as configured and each variant.

    Marker with interval: a run's end. Hollow: the verdict is not the study's own. Below a
    variant's name: the share of verdicts that stay.
    """
    table, summary = tables["sensitivity"], tables["variants"]
    shares = summary.set_index("variant")["share"]
    found = pick_ends(table, scene.reference, scene.runs or None)
    ends = {number: title for title, number in found.items()}
    marks = {AT_REFERENCE: (INK, "o")} | scene.mark_runs(table["run"])
    table = table[table["checkpoint"].isin(ends)].assign(at=lambda t: t["checkpoint"].map(ends))
    variants = list_unique(table["variant"])
    height = max(0.26, 0.04 * len(ends)) * len(variants)
    figure, grid = make_grid(scene, len(PANELS), COLUMNS, 0.6 + height, sharex=False)
    for axes, (conclusion, (title, label)) in zip(grid.flat, PANELS.items(), strict=False):
        rows = table[table["conclusion"] == conclusion]
        _draw_panel(axes, rows, variants, {title: marks[title] for title in found})
        if conclusion in INDICATORS:
            _widen_scale(axes)
        if conclusion in AGREEMENTS:
            axes.set_xlim(right=1.02)
        elif conclusion != "direction":
            axes.axvline(0, color="0.6", lw=0.8, zorder=0)
        axes.set_title(fill(title, 34))
        axes.set_xlabel(label)
    labels = [f"{v}\n{shares[v]:.0%} stay" if v in shares else v for v in variants]
    grid[0, 0].set_yticks(range(len(variants)), labels)
    grid[0, 0].set_ylim(len(variants) - 0.5, -0.5)
    handles = [
        plt.Line2D([], [], color=marks[at][0], marker=marks[at][1], ls="", label=scene.name(at))
        for at in found
    ]
    handles.append(
        plt.Line2D([], [], label="verdict changed", marker="o", ls="", color="0.4", mfc="white")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=min(5, len(handles)))
    caption = _describe(summary, scene)
    return Drawing(figure, table, "Conclusions under other choices", caption)


def _describe(summary: pd.DataFrame, scene: Scene) -> str:
    fewest, most = (summary.loc[i] for i in (summary["share"].idxmin(), summary["share"].idxmax()))
    reversed_signs = int(summary["reverse"].sum())
    return (
        f"Of {summary['conclusions'].iloc[0]} verdicts {fewest['share']:.0%} "
        f"({fewest['variant']}) to {most['share']:.0%} ({most['variant']}) stay in "
        f"{len(summary)} variants; {reversed_signs} signs reverse. Hollow: the verdict is not the "
        f"study's own. Whiskers: {scene.percent} intervals."
    )


def _draw_panel(
    axes: Axes, table: pd.DataFrame, variants: list[str], marks: Mapping[str, tuple[str, str]]
) -> None:
    for k in range(0, len(variants), 2):
        axes.axhspan(k - 0.5, k + 0.5, color="0.96", lw=0, zorder=0)
    for k, (at, (colour, marker)) in enumerate(marks.items()):
        rows = table[(table["at"] == at) & table["value"].notna()]
        if rows.empty:
            continue
        shift = SPREAD * ((k + 0.5) / len(marks) - 0.5)
        place = rows["variant"].map(variants.index).values + shift
        axes.hlines(place, rows["low"], rows["high"], color=colour, lw=0.9)
        changed = ~rows["stays"].astype("boolean").fillna(True).values.astype(bool)
        for which, inside in ((~changed, colour), (changed, "white")):
            axes.plot(rows["value"][which], place[which], marker, color=colour, mfc=inside)
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
