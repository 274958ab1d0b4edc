"""Figure: the verdict on each run against what it was trained into."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.scene import Scene
from emodrift.show.style import INK, SMALL
from emodrift.warning.verdicts import (
    CHANGED,
    COLLAPSE,
    EVALS_ALONE,
    LOCK_IN,
    NOT_JUDGED,
    REGRESSION,
    SOUND,
)

READS = {"comparison": ("confusion",)}
CHAPTER = "warning"
VERDICTS = (SOUND, EVALS_ALONE, LOCK_IN, COLLAPSE, REGRESSION, CHANGED, NOT_JUDGED)
ROW, MARGIN = 0.28, 1.1
DARK = 0.7
"""Share of a row from which numbers are written in white."""


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """A row for each regime, a column for each verdict; runs are counted, colours are shares."""
    table = tables["confusion"]
    wide = table.pivot_table(index="regime", columns="verdict", values="runs", aggfunc="sum")
    known = [v for v in VERDICTS if v in wide.columns]
    wide = wide.reindex(columns=[*known, *(v for v in wide.columns if v not in known)]).fillna(0)
    order = [r for r in (SOUND,) if r in wide.index]
    wide = wide.reindex([*order, *(r for r in wide.index if r not in order)])
    share = wide.div(wide.sum(axis=1), axis=0)
    figure, axes = plt.subplots(
        figsize=(scene.inches, scene.height or MARGIN + ROW * len(wide)), layout="constrained"
    )
    axes.imshow(share.to_numpy(), cmap=scene.palette or "Greys", vmin=0, vmax=1.4, aspect="auto")
    for i, j in ((i, j) for i in range(len(wide)) for j in range(wide.shape[1])):
        if count := int(wide.iat[i, j]):
            colour = "white" if share.iat[i, j] >= DARK else INK
            axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=SMALL)
    axes.set_xticks(range(wide.shape[1]), list(wide.columns))
    axes.set_yticks(range(len(wide)), list(wide.index))
    axes.set_xlabel("verdict")
    axes.set_ylabel("trained into")
    axes.spines[:].set_visible(False)
    sound = share.at[SOUND, SOUND] if {SOUND} <= {*wide.index} & {*wide.columns} else 0
    caption = (
        f"Verdicts on {int(wide.to_numpy().sum())} runs of scoring seeds; "
        f"{sound:.0%} of sound runs are called sound."
    )
    return Drawing(figure, table, "Kind of failure", caption)
