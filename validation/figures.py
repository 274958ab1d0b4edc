"""Figures of docs/validation.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from emodrift.show.figure import METADATA
from emodrift.show.style import apply_style

WIDTH = 7.0
REQUIRED = (0.90, 0.98)


def save_figures(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write every figure as ``validation_<name>.svg``.

    Parameters
    ----------
    tables
        intervals, coverage, p_values, power, smallest.
    folder
        Where to.
    """
    mpl.use("Agg")
    apply_style()
    drawn = {
        "recovery": draw_recovery(tables["intervals"]),
        "coverage": draw_coverage(tables["coverage"]),
        "null_p": draw_null_p(tables["p_values"]),
        "power": draw_power(tables["power"], tables["smallest"]),
    }
    for name, figure in drawn.items():
        place = folder / f"validation_{name}.svg"
        figure.savefig(place, bbox_inches="tight", metadata=METADATA["svg"])


def draw_recovery(rows: pd.DataFrame) -> Figure:
    """Estimates against planted values: middle and central nine tenths of repetitions."""
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    turned, merged, scaled = figure.subplots(1, 3)
    angles = np.linspace(0, 90, 91)
    turned.plot(angles, np.cos(np.deg2rad(angles)), color="0.75", lw=3, zorder=0)
    numbers = rows[rows["experiment"] == "directions, 8 topics"]
    _mark(turned, numbers[numbers["quantity"] == "plain cosine"], "plain cosine", "C1", -1.5)
    _mark(turned, numbers[numbers["quantity"] == "corrected cosine"], "corrected", "C0", 0)
    model = rows[rows["quantity"] == "model: corrected cosine"]
    _mark(turned, model, "corrected, in a model", "C2", 1.5)
    turned.set(xlabel="turn planted, degrees", ylabel="cosine with the reference")
    turned.legend(loc="lower left")
    apart = np.linspace(0, 45, 46)
    merged.plot(apart, np.cos(np.deg2rad(90 - 2 * apart)), color="0.75", lw=3, zorder=0)
    for name, label, colour, shift in (
        ("merged cosine", "numbers", "C0", -0.5),
        ("model: merged cosine", "in a model", "C2", 0.5),
    ):
        _mark(merged, rows[rows["quantity"] == name], label, colour, shift)
    merged.set(xlabel="turn of both to each other, degrees", ylabel="cosine of two emotions")
    merged.legend(loc="lower right")
    scaled.plot([0.4, 2.5], [0.4, 2.5], color="0.75", lw=3, zorder=0)
    lengths = rows[rows["quantity"] == "length"]
    slopes = rows[rows["quantity"] == "slope"]
    model = rows[rows["quantity"] == "model: scaled slope"]
    unscaled = model["truth"] / model["planted"]
    model = model.assign(estimate=model["estimate"] / unscaled)
    _mark(scaled, lengths, "length written", "C0", -0.04, log=True)
    _mark(scaled, slopes, "slope of the read-out", "C3", 0, log=True)
    _mark(scaled, model, "slope, in a model", "C2", 0.04, log=True)
    scaled.set(xlabel="factor planted", ylabel="factor found", xscale="log", yscale="log")
    for axis in (scaled.xaxis, scaled.yaxis):
        axis.set_ticks([0.5, 1, 2])
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    scaled.legend(loc="lower right")
    return figure


def draw_coverage(coverage: pd.DataFrame) -> Figure:
    """Coverage of every quantity: each planted value a dot, required range and binomial band."""
    coverage = coverage[coverage["promised"] & (coverage["repetitions"] > 0)]
    names = list(dict.fromkeys(coverage["label"]))
    figure = Figure(figsize=(WIDTH, 0.23 * len(names) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(*REQUIRED, color="0.92", lw=0, zorder=0)
    axes.axvline(0.95, color="0.6", lw=0.8, zorder=0)
    place = coverage["label"].map({name: i for i, name in enumerate(names)})
    order = coverage.groupby("label").cumcount()
    count = coverage.groupby("label")["coverage"].transform("size")
    place = place + (order - (count - 1) / 2) * 0.1
    below = np.minimum(0.95 - coverage["lowest"], coverage["coverage"])
    above = np.minimum(coverage["highest"] - 0.95, 1 - coverage["coverage"])
    axes.errorbar(
        coverage["coverage"], place, xerr=[below, above], fmt="none", ecolor="C0", alpha=0.35
    )
    axes.scatter(coverage["coverage"], place, s=9, color="C0", zorder=3)
    axes.set(yticks=range(len(names)), yticklabels=names, xlim=(0.8, 1.005))
    axes.set(xlabel="share of 95 % intervals that hold the planted value")
    axes.set_xticks([0.8, 0.85, 0.9, 0.95, 1.0])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return figure


def draw_null_p(rows: pd.DataFrame) -> Figure:
    """Share of p-values up to p less p, for each test, with the band of a uniform one."""
    groups = list(dict.fromkeys(rows["group"]))
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True)
    grid = np.linspace(0, 1, 201)
    for axes, group in zip(panels, groups, strict=True):
        of_group = rows[rows["group"] == group]
        number = of_group.groupby("test").size().min()
        band = 1.63 / np.sqrt(number)
        axes.axhspan(-band, band, color="0.92", lw=0, zorder=0)
        axes.axhline(0, color="0.6", lw=0.8, zorder=0)
        colours = sns.color_palette("husl", of_group["test"].nunique())
        for colour, (test, of_test) in zip(
            colours, of_group.groupby("test", sort=False), strict=True
        ):
            share = np.searchsorted(np.sort(of_test["spread"]), grid) / len(of_test)
            axes.plot(grid, share - grid, lw=0.8, color=colour, label=test)
        axes.set(title=group, xlabel="p", xlim=(0, 1))
        axes.legend(fontsize=5.5, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=1)
    panels[0].set_ylabel("share of p-values up to p, less p")
    return figure


def draw_power(power: pd.DataFrame, smallest: pd.DataFrame) -> Figure:
    """Power against the turn, and the smallest turn that is found at 80 %, against topics."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    panels = figure.subplots(1, 3)
    kinds = list(dict.fromkeys(power["checkpoints"]))
    colours = sns.color_palette("viridis", power["topics"].nunique())
    for axes, kind in zip(panels, kinds, strict=False):
        shown = power[(power["checkpoints"] == kind) & (power["stories"] == 2)]
        for colour, (topics, curve) in zip(colours, shown.groupby("topics"), strict=True):
            axes.plot(curve["turn"], curve["power"], "o-", color=colour, label=topics)
        axes.axhline(0.8, color="0.6", lw=0.8, zorder=0)
        axes.axhline(0.05, color="0.6", lw=0.8, ls=":", zorder=0)
        axes.set(title=kind, xlabel="turn planted, degrees", ylim=(0, 1.02), xlim=(0, 32))
        axes.set_ylabel("share found at p ≤ .05")
    panels[1].legend(title="topics", title_fontsize=7, loc="lower right")
    styles = dict(zip(kinds, ("-", "--"), strict=True))
    marks = dict(zip(sorted(smallest["stories"].unique()), "ovs", strict=False))
    for (kind, stories), curve in smallest.groupby(["checkpoints", "stories"], sort=False):
        label = f"{stories} {'story' if stories == 1 else 'stories'}"
        panels[2].plot(
            curve["topics"],
            curve["smallest_turn"],
            marks[stories] + styles[kind],
            color="C0" if kind == kinds[0] else "C1",
            label=label if kind == kinds[0] else None,
        )
    near, far = kinds
    places = {far: ("C1", (0.97, 0.9)), near: ("C0", (0.97, 0.08))}
    for kind, (colour, place) in places.items():
        style = {"color": colour, "fontsize": 7, "ha": "right"}
        panels[2].text(*place, kind, transform=panels[2].transAxes, **style)
    panels[2].set(xscale="log", yscale="log", xlabel="topics")
    panels[2].set(ylabel="turn found at 80 %, degrees", ylim=(0.9, 32))
    _label_plainly(panels[2], sorted(smallest["topics"].unique()), [1, 2, 5, 10, 20])
    panels[2].legend(title="a topic", title_fontsize=7, loc="lower left")
    return figure


def _mark(
    axes: Axes, rows: pd.DataFrame, label: str, colour: str, shift: float, log: bool = False
) -> None:
    cells = rows.groupby("planted")["estimate"]
    low, middle, high = (cells.quantile(q) for q in (0.05, 0.5, 0.95))
    place = middle.index * np.exp(shift) if log else middle.index + shift
    axes.errorbar(
        place, middle, yerr=[middle - low, high - middle], fmt="o", color=colour, label=label
    )


def _label_plainly(axes: Axes, across: list[int], along: list[int]) -> None:
    for axis, ticks in ((axes.xaxis, across), (axes.yaxis, along)):
        axis.set_ticks(ticks)
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
