"""docs/scale.md between its marks, and its figure, from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from benchmarks.scale.processes import ROOT
from benchmarks.scale.stages import PART
from emodrift.show.figure import METADATA
from emodrift.show.style import (
    COLUMN_INCHES,
    FAINT,
    INK,
    RUN_COLOURS,
    RUN_MARKERS,
    SMALL,
    apply_style,
)
from validation.parts import fill_parts

PAGE, FIGURE = ROOT / "docs/scale.md", ROOT / "docs/figures/scale.svg"
TARGET = 1.5


def write_page(found: dict[str, Any]) -> None:
    """Write the tables between the page's marks, and the figure beside."""
    makers = {"machine": _head, "planning": _plan, "stages": _grow, "layers": _deepen}
    parts = {name: make(found) for name, make in makers.items()}
    PAGE.write_text(fill_parts(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")
    apply_style()
    draw(found).savefig(FIGURE, bbox_inches="tight", metadata=METADATA["svg"])


def _head(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return f"{machine['processor']}, {machine['cores']} cores, shared; {found['started']} UTC."


def _plan(found: dict[str, Any]) -> str:
    rows = [
        (
            f"{row['checkpoints']:,}",
            f"{row['jobs']:,}",
            f"{row['ours']['seconds'] / row['bare']['seconds']:.2f}",
            "yes" if row["ours"]["seconds"] <= TARGET * row["bare"]["seconds"] else "no",
            f"{row['ours']['memory']:.0f}",
            f"{row['bare']['memory']:.0f}",
        )
        for row in found["planning"]
    ]
    heads = ("checkpoints", "jobs", "processor time, × bare", f"≤ {TARGET}", "MB", "MB, bare")
    return _tabulate(heads, rows)


def _grow(found: dict[str, Any]) -> str:
    rows = []
    for stage, table in pd.DataFrame(found["stages"]).groupby("stage", sort=False):
        least = table.iloc[0]
        for _, row in table.iterrows():
            more = (
                (row["memory"] - least["memory"]) * 1000 / max(row["number"] - least["number"], 1)
            )
            rows.append(
                (
                    stage,
                    f"{row['number']:,}",
                    f"{row['memory']:.0f}",
                    f"{more:.0f}" if row["number"] > least["number"] else "",
                    f"{row['seconds'] / least['seconds']:.1f}",
                    f"{row['number'] / least['number']:.0f}",
                )
            )
    heads = ("stage", "checkpoints", "MB", "kB a checkpoint", "processor time, ×", "checkpoints, ×")
    return _tabulate(heads, rows)


def _deepen(found: dict[str, Any]) -> str:
    table = pd.DataFrame(found["layers"])
    rows = [
        (stage, *(f"{memory:.0f}" for memory in of_stage["memory"]))
        for stage, of_stage in table.groupby("stage", sort=False)
    ]
    layers = [f"{n} layers, MB" for n in sorted(set(table["number"]))]
    return _tabulate(("stage", *layers), rows)


def _tabulate(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    table = pd.DataFrame(rows, columns=list(heads))
    return table.to_markdown(index=False, disable_numparse=True)


def draw(found: dict[str, Any]) -> Figure:
    """Memory over checkpoints; processor time over checkpoints; memory over layers."""
    figure = Figure(figsize=(COLUMN_INCHES["two"], 2.4), layout="constrained")
    held, time, deep = figure.subplots(1, 3)
    plans = pd.json_normalize(found["planning"])
    stages = pd.DataFrame(found["stages"])
    for name, column, style in (("planning", "ours", "-"), ("bare Snakemake", "bare", ":")):
        options = {"color": INK, "linestyle": style, "label": name}
        held.plot(plans["checkpoints"], plans[f"{column}.memory"], **options)
        seconds = plans[f"{column}.seconds"]
        time.plot(plans["checkpoints"], seconds / plans["bare.seconds"][0], **options)
    names = list(dict.fromkeys(stages["stage"]))
    for stage, table in stages.groupby("stage", sort=False):
        options = _mark(names.index(stage), stage)
        held.plot(table["number"], table["memory"], **options)
        time.plot(table["number"], table["seconds"] / table["seconds"].iloc[0], **options)
    for stage, table in pd.DataFrame(found["layers"]).groupby("stage", sort=False):
        number = names.index(stage.removesuffix(PART))
        deep.plot(table["number"], table["memory"], **_mark(number, stage))
    ends = plans["checkpoints"].iloc[[0, -1]]
    time.plot(ends, ends / ends.iloc[0], color=FAINT, lw=3, zorder=0, label="as checkpoints")
    _label(held, "checkpoints", "peak memory, MB", "Memory")
    _label(time, "checkpoints", "processor time, × the first", "Time")
    _label(deep, "layers of the model", "peak memory, MB", "Memory for one checkpoint")
    for axes in (held, deep):
        axes.set_ylim(bottom=0)
    for axes in (held, time, deep):
        axes.legend(fontsize=SMALL)
    return figure


def _mark(number: int, stage: str) -> dict[str, str]:
    return {"color": RUN_COLOURS[number], "marker": RUN_MARKERS[number], "label": stage}


def _label(axes: Axes, below: str, beside: str, title: str) -> None:
    axes.set(xlabel=below, ylabel=beside, title=title, xscale="log")
    if "time" in beside:
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
