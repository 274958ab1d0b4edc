"""Names written beside the data they belong to, instead of a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from adjustText import adjust_text
from matplotlib.axes import Axes

from emodrift.show.style import SMALL, darken

MOST_LABELS = 40
STEPS = 80
LINE = 1.2
"""Distance of labels one above the other, in heights of their letters."""


class End(NamedTuple):
    """The end of a line: where it is in data units, and its colour."""

    x: float
    y: float
    colour: Any


def measure_labels(number: int) -> float:
    """Height of so many labels one above the other, inches."""
    return number * LINE * SMALL / 72


def label_ends(axes: Axes, ends: Mapping[str, End], height: float) -> None:
    """Write each line's name to the right of its end, in its colour; those that would touch are
    moved apart, with a thin leader to their line.

    Parameters
    ----------
    axes
        A panel whose limits are set.
    height
        Height of the panel, inches, near enough.
    """
    ends = {name: end for name, end in ends.items() if np.isfinite(end.y)}
    if not ends:
        return
    low, high = axes.get_ylim()
    unit = (high - low) / (height * 72)
    names = sorted(ends, key=lambda name: ends[name].y)
    wanted = [ends[name].y for name in names]
    placed = move_apart(wanted, LINE * SMALL * unit, low, high)
    right = max(end.x for end in ends.values())
    span = axes.get_xlim()[1] - axes.get_xlim()[0]
    for name, y in zip(names, placed, strict=True):
        end = ends[name]
        axes.annotate(
            name,
            (end.x, end.y),
            (right + 0.05 * span, y),
            va="center",
            fontsize=SMALL,
            color=darken(end.colour),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": end.colour,
                "lw": 0.4,
                "alpha": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )


def move_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Places at least ``gap`` apart, in the order of ``wanted`` and as near to it as may be.

    Labels that touch are joined to blocks which are centred on what their members want, as in
    isotonic regression; all are kept between ``low`` and ``high`` where there is room.

    Parameters
    ----------
    wanted
        Ascending.
    """
    blocks: list[list[float]] = []
    for place in wanted:
        blocks.append([place])
        while len(blocks) > 1 and _start(blocks[-1], gap) < _start(blocks[-2], gap) + gap * len(
            blocks[-2]
        ):
            last = blocks.pop()
            blocks[-1] += last
    placed = np.concatenate([_start(b, gap) + gap * np.arange(len(b)) for b in blocks])
    excess = max(placed[-1] - high, 0) - max(low - placed[0], 0)
    return placed - excess if placed[-1] - placed[0] <= high - low else placed


def label_points(axes: Axes, points: Mapping[str, tuple[float, float]], colours: Any) -> None:
    """Write names beside points where they cover no other name or point.

    Parameters
    ----------
    axes
        A panel whose limits are set; its figure is laid out.
    points
        Name -> place in data units.
    colours
        Name -> colour of its letters.
    """
    texts = [
        axes.text(x, y, name, fontsize=SMALL, color=colours(name), ha="center", va="center")
        for name, (x, y) in points.items()
    ]
    places = np.array(list(points.values()), dtype=float)
    adjust_text(
        texts,
        x=places[:, 0],
        y=places[:, 1],
        ax=axes,
        iter_lim=STEPS,
        expand=(1.25, 1.6),
        ensure_inside_axes=True,
        arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.4},
        min_arrow_len=8,
    )


def space_labels(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Places and names of at most forty labels of an axis, evenly spaced."""
    step = -(-len(names) // MOST_LABELS)
    places = list(range(0, len(names), step))
    return places, [names[place] for place in places]


def _start(block: Sequence[float], gap: float) -> float:
    return float(np.mean(block)) - gap * (len(block) - 1) / 2
