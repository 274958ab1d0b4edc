"""One style for all figures: sizes for journal columns, colours safe for colour-blind readers."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_rgb

COLUMN_INCHES = {"one": 3.35, "two": 6.9}
"""Widths of one and of two journal columns."""
BUNDLE_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Wong (2011), Nature Methods 8, 441: one for each bundle, in the order of the study."""
RUN_COLOURS = ("#882255", "#332288", "#117733", "#AA4499", "#44AA99", "#999933", "#88CCEE")
"""Tol (2021), *muted*: one for each run that is watched, beside a marker of its own."""
INDICATOR_COLOURS = ("#0077BB", "#EE7733", "#009988", "#EE3377", "#33BBEE", "#CC3311")
"""Tol (2021), *vibrant*: one for each indicator where indicators share a panel."""
RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GREY, FAINT, BAND = "#1a1a1a", "#6e6e6e", "#c8c8c8", "#ececec"
ALARM = "#b2182b"
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
TEXT, SMALL = 7.0, 6.2
"""Sizes of letters in points, as printed: axes and titles; ticks and labels beside data."""

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": TEXT,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "emodrift",
    "savefig.dpi": 300,
}


def apply_style() -> None:
    """Make the style that of every figure drawn from now on, whatever was set before."""
    mpl.use("Agg")
    mpl.rcdefaults()
    mpl.rcParams.update(RC)  # type: ignore[arg-type]  # the stubs allow literal names alone


def darken(colour: Any, share: float = 0.3) -> tuple[float, float, float]:
    """A colour mixed with black, for letters beside a line of that colour."""
    red, green, blue = (c * (1 - share) for c in to_rgb(colour))
    return red, green, blue
