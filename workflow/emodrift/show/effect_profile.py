"""Figure: how narrow, how tangled and how steady the bundles' effects are, run by run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from emodrift.drift.table import read_table
from emodrift.show.figure import Drawing, Look
from emodrift.show.panels import list_runs, pick_ends

MEASURES = {
    "modularity": "share of effect on\nthe metrics named",
    "entanglement": "effective number of\nmetrics moved",
    "stability": "stability over families\nof the metrics named",
}


def draw(entries: dict[str, Path], reference: dict[str, Any], look: Look) -> Drawing:
    """Modularity, entanglement and stability of each bundle at the reference and each run's end,
    with intervals; crosses: the mean of directions matched to the activations' covariance."""
    shown = gather_profiles(entries["coupling"], reference)
    ends, bundles = list_runs(shown["at"]), list_runs(shown["concept"])
    colours = sns.color_palette(look.palette or "colorblind", len(bundles))
    figure, grid = plt.subplots(
        1,
        len(MEASURES),
        figsize=(look.width, 0.9 + 0.34 * len(ends)),
        sharey=True,
        layout="constrained",
    )
    for axes, (measure, label) in zip(grid, MEASURES.items(), strict=True):
        for k, (bundle, colour) in enumerate(zip(bundles, colours, strict=True)):
            rows = shown[(shown["measure"] == measure) & (shown["concept"] == bundle)]
            place = [ends.index(at) + 0.6 * ((k + 0.5) / len(bundles) - 0.5) for at in rows["at"]]
            axes.hlines(place, rows["low"], rows["high"], color=colour, lw=1)
            axes.plot(rows["value"], place, "o", color=colour, label=bundle)
            axes.plot(rows["null"], place, "x", color=colour, markersize=4, alpha=0.7)
        axes.set_xlabel(label)
        axes.set_xlim(left=0, right=1.02 if measure != "entanglement" else None)
    grid[0].set_yticks(range(len(ends)), ends)
    grid[0].invert_yaxis()
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right center")
    return Drawing(figure, shown)


def gather_profiles(coupling: Path, reference: dict[str, Any]) -> pd.DataFrame:
    """Tidy table: at (reference or run), concept, measure, value, low, high, null."""
    modularity, effects = (read_table(coupling, name) for name in ("modularity", "effects"))
    ends = {number: title for title, number in pick_ends(modularity, reference).items()}
    parts = []
    for name in ("modularity", "entanglement"):
        columns = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
        part = modularity[modularity["bundle"]].rename(columns=columns)
        parts.append(part.assign(measure=name, null=part[f"{name}_matched"]))
    named = effects[effects["bundle"] & effects["named"]]
    columns = {"stability": "value", "stability_low": "low", "stability_high": "high"}
    means = named.groupby(["checkpoint", "concept"], as_index=False)[list(columns)].mean()
    parts.append(means.rename(columns=columns).assign(measure="stability", null=float("nan")))
    table = pd.concat(parts, ignore_index=True)
    table = table[table["checkpoint"].isin(ends)].assign(at=lambda t: t["checkpoint"].map(ends))
    order = list(ends)
    table = table.sort_values("checkpoint", key=lambda c: c.map(order.index), kind="stable")
    return table[["at", "checkpoint", "concept", "measure", "value", "low", "high", "null"]]
