"""Figure: how well detectors tell failing runs of fresh seeds from sound ones."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.drawing import Drawing
from emodrift.show.panels import letter_panels
from emodrift.show.scene import Scene
from emodrift.show.style import BUNDLE_COLOURS, FAINT, GREY, INK
from emodrift.show.wording import interval

READS = {"comparison": ("rocs", "detectors")}
CHAPTER = "warning"
SHOWN = {
    "emodrift": BUNDLE_COLOURS[0],
    "emodrift, failure named": BUNDLE_COLOURS[4],
    "evals, exact": INK,
    "evals, 50 sampled": GREY,
    "KL of replies": BUNDLE_COLOURS[1],
    "CKA": BUNDLE_COLOURS[2],
    "supervised monitor": BUNDLE_COLOURS[3],
}
"""Detectors whose curves are drawn; all have their area beside them."""
DASHES = ("-", "-.", "-", "--", "-", "--", "-.")
HEIGHT = 3.6


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Left: share of failing runs told against share of sound runs told, at every line. Right: the
    area under that curve, of all detectors, with its interval over seeds."""
    rocs = tables["rocs"]
    areas = tables["detectors"]
    areas = areas[areas["figure"] == "auroc"].dropna(subset="value")
    areas = areas.sort_values("value", kind="stable")
    figure, axes = plt.subplots(
        1,
        2,
        figsize=(scene.inches, scene.height or HEIGHT),
        layout="constrained",
        width_ratios=[1.1, 1],
    )
    _draw_curves(axes[0], rocs)
    _draw_areas(axes[1], areas)
    letter_panels(axes)
    best = areas.iloc[-1]
    own = areas.set_index("detector").loc["emodrift"]
    caption = (
        f"AUROC of emodrift {interval(own['value'], own['low'], own['high'])}; the largest is that "
        f"of {best['detector']}, {interval(best['value'], best['low'], best['high'])}. Runs of "
        f"scoring seeds; a run's score is its largest. {scene.percent} intervals over seeds."
    )
    shown = pd.concat([rocs.assign(panel="curve"), areas.assign(panel="area")])
    return Drawing(figure, shown, "Failing runs told from sound ones", caption)


def _draw_curves(axes: Axes, rocs: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, lw=0.6, zorder=0)
    for (detector, colour), dash in zip(SHOWN.items(), DASHES, strict=True):
        curve = rocs[rocs["detector"] == detector]
        if len(curve):
            axes.plot(curve["false_alarms"], curve["recall"], dash, color=colour, label=detector)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_xlabel("share of sound runs told")
    axes.set_ylabel("share of failing runs told")
    axes.legend(loc="lower right")


def _draw_areas(axes: Axes, areas: pd.DataFrame) -> None:
    places = range(len(areas))
    axes.axvline(0.5, color=FAINT, lw=0.6, zorder=0)
    for place, row in zip(places, areas.to_dict("records"), strict=True):
        colour = SHOWN.get(row["detector"], GREY)
        axes.hlines(place, row["low"], row["high"], color=colour, lw=0.8)
        axes.plot(row["value"], place, "o", color=colour)
    axes.set_yticks(list(places), areas["detector"])
    axes.set_xlabel("AUROC of runs")
