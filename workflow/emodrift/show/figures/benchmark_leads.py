"""Figure: how many steps before a practical change detectors tell a failing run."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.figures.benchmark_roc import DASHES, SHOWN
from emodrift.show.scene import Scene
from emodrift.show.style import FAINT

READS = {"comparison": ("lead_curves", "lead_figures")}
CHAPTER = "warning"
HEIGHT = 2.6


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Share of failing runs that a detector has told by so many steps before the evals' practical
    change, by Kaplan and Meier."""
    curves = tables["lead_curves"]
    figure, axes = plt.subplots(
        figsize=(scene.inches, scene.height or HEIGHT), layout="constrained"
    )
    axes.axvline(0, color=FAINT, lw=0.6, zorder=0)
    for (detector, colour), dash in zip(SHOWN.items(), DASHES, strict=True):
        curve = curves[curves["detector"] == detector].sort_values("lead", ascending=False)
        if len(curve):
            axes.step(
                curve["lead"], curve["share"], dash, where="post", color=colour, label=detector
            )
    axes.invert_xaxis()
    axes.set(ylim=(-0.02, 1.02))
    axes.set_xlabel("steps before the practical change (negative: after it)")
    axes.set_ylabel("share of failing runs told")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return Drawing(figure, curves, "Lead of the warning", _describe(tables["lead_figures"]))


def _describe(figures: pd.DataFrame) -> str:
    ahead = figures[figures["figure"] == "ahead"].set_index("detector")
    if "emodrift" not in ahead.index:
        return "No failing run changed in practice."
    own = ahead.loc["emodrift"]
    best = ahead["value"].idxmax()
    return (
        f"Emodrift tells {own['value']:.0%} of {own['runs']} failing runs before refusal or "
        f"over-refusal has changed by .2; the most, {ahead['value'].max():.0%}, {best}. Runs "
        "without an alarm are censored at their end."
    )
