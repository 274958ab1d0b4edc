"""Figure: what each locked direction does to each behaviour metric, and how that changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.drawing import Drawing
from emodrift.show.panels import AT_REFERENCE, list_unique, make_grid, mark_bundles, pick_ends
from emodrift.show.scene import Scene
from emodrift.show.style import DIVERGING, GREY, INK, darken
from emodrift.show.wording import join

READS = {"coupling": ("effects",)}
CHAPTER = "effect"
COLUMNS = 5
LEAST = 2.0
NULL_DEVIATIONS = 1.96


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """The effect matrix at the reference, then its change at each run's end, in one colour scale.

    Rows: bundles, then emotions by bundle. Colour: slope in log-odds per residual norm. Dots: at
    the reference within 1.96 standard deviations of matched null directions; of a change, within
    both checkpoints' intervals. A frame: the metric is named for the bundle.
    """
    table = mark_bundles(tables["effects"], ["checkpoint", "metric"], scene.bundles)
    panels = pick_ends(table, scene.reference, scene.watched(table["run"]))
    order = _order_rows(table, scene)
    metrics = list_unique(table["metric"])
    matrices = {title: _spread(table, number, order, metrics) for title, number in panels.items()}
    base = matrices[AT_REFERENCE]
    figure, grid = make_grid(scene, len(panels), COLUMNS, max(LEAST, 0.85 + 0.125 * len(order)))
    limit = max(np.nanmax(np.abs(m["slope"].values)) for m in matrices.values())
    limit = max(limit, 1e-9)
    image = None
    for axes, (title, now) in zip(grid.flat, matrices.items(), strict=False):
        value = now["slope"].values
        if title == AT_REFERENCE:
            small = np.abs(value) < NULL_DEVIATIONS * now["null_sd_matched"].values
        else:
            small = _agree(now, base)
            value = value - base["slope"].values
        image = axes.imshow(
            value, cmap=scene.palette or DIVERGING, vmin=-limit, vmax=limit, aspect="auto"
        )
        row, column = np.nonzero(small)
        axes.plot(column, row, ".", color=GREY, ms=1.6, mew=0)
        title = scene.name(title) if title == AT_REFERENCE else f"Δ {scene.name(title)}"
        axes.set_title(title)
        _label(axes, order, metrics, now["named"].values, scene)
    if image is not None:
        figure.colorbar(
            image,
            ax=grid,
            label="log-odds per residual norm",
            fraction=0.025,
            pad=0.01,
        )
    shown = table[table["checkpoint"].isin(panels.values())]
    caption = _describe(matrices, scene)
    return Drawing(figure, shown, "Effect of each direction on each behaviour", caption)


def _order_rows(table: pd.DataFrame, scene: Scene) -> list[tuple[bool, str]]:
    """Rows as (is a bundle, name): bundles, then emotions."""
    emotions = scene.choose_emotions(table.loc[~table["bundle"], "concept"])
    bundles = list_unique(table.loc[table["bundle"], "concept"])
    return [(True, b) for b in bundles] + [(False, e) for e in emotions]


def _spread(
    table: pd.DataFrame, number: int, order: list[tuple[bool, str]], metrics: list[str]
) -> pd.DataFrame:
    """Columns (value, metric) of the rows asked for."""
    wide = table[table["checkpoint"] == number].pivot(
        index=["bundle", "concept"],
        columns="metric",
        values=["slope", "slope_low", "slope_high", "null_sd_matched", "named"],
    )
    return wide.astype(float).reindex(order).reindex(columns=metrics, level=1)


def _agree(now: pd.DataFrame, base: pd.DataFrame) -> np.ndarray:
    """Whether the intervals at both checkpoints overlap."""
    low = np.maximum(now["slope_low"].values, base["slope_low"].values)
    return low <= np.minimum(now["slope_high"].values, base["slope_high"].values)


def _label(
    axes: Axes,
    order: list[tuple[bool, str]],
    metrics: list[str],
    named: np.ndarray,
    scene: Scene,
) -> None:
    axes.set_xticks(range(len(metrics)), map(scene.name, metrics), rotation=90)
    axes.set_yticks(range(len(order)), [scene.name(name) for _, name in order])
    for label, (is_bundle, name) in zip(axes.get_yticklabels(), order, strict=False):
        label.set_color(darken(scene.colour(name)))
        label.set_fontweight("bold" if is_bundle else "normal")
    bundles = sum(is_bundle for is_bundle, _ in order)
    if bundles:
        axes.axhline(bundles - 0.5, color="white", lw=2)
    for row, column in zip(*np.nonzero(named.astype(bool)), strict=True):
        if order[row][0]:
            corners = [column - 0.5, column + 0.5], [row - 0.5, row + 0.5]
            (left, right), (top, bottom) = corners
            axes.plot(
                [left, right, right, left, left], [top, top, bottom, bottom, top], color=INK, lw=0.7
            )
    axes.set_xlim(-0.5, len(metrics) - 0.5)
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _describe(matrices: Mapping[str, pd.DataFrame], scene: Scene) -> str:
    base = matrices[AT_REFERENCE]["slope"]
    row, column = np.unravel_index(np.nanargmax(np.abs(base.values)), base.shape)
    is_bundle, concept = base.index[row]
    kind = "bundle " if is_bundle else ""
    sentences = [
        f"At the reference the largest of {base.size} effects is that of {kind}"
        f"{scene.name(concept)} on {scene.name(base.columns[column])} "
        f"({base.values[row, column]:+.2f} log-odds per residual norm)."
    ]
    moved = []
    for title, now in matrices.items():
        if title != AT_REFERENCE:
            apart = int((~_agree(now, matrices[AT_REFERENCE])).sum())
            moved.append(f"{apart} in {scene.name(title)}")
    if moved:
        sentences.append(
            f"Effects whose {scene.percent} interval leaves that at the reference: {join(moved)}."
        )
    sentences.append(
        "Colour: slope, or its change from the reference (Δ). Dots: at the reference, less than "
        "1.96 standard deviations of null directions with the covariance of activations; of a "
        "change, overlapping intervals. Frames: metrics named for the bundle."
    )
    return " ".join(sentences)
