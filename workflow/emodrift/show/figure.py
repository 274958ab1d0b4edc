"""Drawing one figure: the module of its name draws, this one sets the style and saves."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

STYLE = {
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "emodrift",
    "savefig.dpi": 200,
}
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


class Drawing(NamedTuple):
    """A figure, and the exact numbers in it as a tidy table."""

    figure: Figure
    data: pd.DataFrame


class Look(NamedTuple):
    """What a figure module is told about appearance: width in inches, seaborn palette or None."""

    width: float
    palette: str | None


def draw_figure(
    figure: str,
    width: float,
    palette: str | None,
    reference: dict[str, Any],
    tables: Mapping[str, Path],
    out: Path,
) -> None:
    """Draw a figure as ``figure.pdf``, ``.svg`` and ``.png``, with its numbers in ``figure.csv``.

    Parameters
    ----------
    figure
        Name of the figure, a module of this room with ``draw(entries, reference, look)``.
    width, palette
        See :class:`Look`.
    reference
        Run, stage and step of the reference.
    tables
        Stage -> entry whose tables are drawn.
    out
        Directory to write to.
    """
    mpl.use("Agg")
    sns.set_theme(context="paper", style="ticks", rc=STYLE)
    module = importlib.import_module(f"emodrift.show.{figure}")
    drawing = module.draw(tables, reference, Look(width, palette))
    for suffix, metadata in METADATA.items():
        drawing.figure.savefig(out / f"figure.{suffix}", bbox_inches="tight", metadata=metadata)
    drawing.data.to_csv(out / "figure.csv", index=False, float_format="%.6g")
