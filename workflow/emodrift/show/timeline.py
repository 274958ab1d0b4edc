"""The axis of training that all runs share: stages one after another, steps within each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from emodrift.show.scene import Reference
from emodrift.show.style import BAND, GREY, INK, SMALL

POINT = 0.35
"""Length of a stage that has one checkpoint; others have length 1."""
UNEVEN = 30
"""Steps whose range is so many times their median are placed by their logarithm."""
FEWEST_APART = 0.13


class Stage(NamedTuple):
    """A stage of training on the axis: where it starts, its length, and its steps in order."""

    start: float
    length: float
    steps: np.ndarray

    def place(self, step: float) -> float:
        """Where a step lies on the axis."""
        if len(self.steps) == 1:
            return self.start + self.length / 2
        steps = self.steps.astype(float)
        if steps[-1] > UNEVEN * max(1.0, float(np.median(steps))):
            steps, step = np.log1p(steps), np.log1p(step)
        return self.start + self.length * float((step - steps[0]) / (steps[-1] - steps[0]))


class Timeline:
    """Where checkpoints lie on one axis.

    A run whose first step is after 0 of a stage of its own starts from the reference, which is
    drawn at step 0 of that stage.

    Parameters
    ----------
    table
        Rows with checkpoint, run, stage and step, of all runs of the study.
    reference
        Where the vectors were locked.
    """

    def __init__(self, table: pd.DataFrame, reference: Reference) -> None:
        self.reference = reference
        self.number = reference.find(table)
        rows = table.drop_duplicates("checkpoint").sort_values("checkpoint")
        self.rows = rows[["checkpoint", "run", "stage", "step"]]
        self.stages: dict[str, Stage] = {}
        start = 0.0
        for stage, of_stage in self.rows.groupby("stage", sort=False):
            steps = set(of_stage["step"])
            if any(self._continues(run, str(stage)) for run in of_stage["run"]):
                steps |= {0}
            length = POINT if len(steps) == 1 else 1.0
            self.stages[str(stage)] = Stage(start, length, np.array(sorted(steps)))
            start += length

    def trace(self, table: pd.DataFrame, run: str) -> pd.DataFrame:
        """A run's rows in order with their ``place``; the reference's rows first where the run
        starts from it.

        Parameters
        ----------
        table
            Rows of all runs, of one measured thing or of many.
        """
        own = table[table["run"] == run].sort_values("checkpoint", kind="stable")
        place = [self.stages[a].place(b) for a, b in zip(own["stage"], own["step"], strict=True)]
        own = own.assign(place=place)
        if own.empty or (own["checkpoint"] == self.number).any() or run == self.reference.run:
            return own
        first = own.iloc[0]
        before = table[table["checkpoint"] == self.number]
        if self._continues(run, first["stage"]):
            at = self.stages[first["stage"]].place(0)
        else:
            at = self.stages[self.reference.stage].place(self.reference.step)
        if at > first["place"]:
            return own
        return pd.concat([before.assign(place=at), own])

    def dress(self, axes: Axes, runs: Iterable[str] | None = None, name: bool = True) -> None:
        """Bands of the stages behind an axis, their names above, ticks at the steps.

        Parameters
        ----------
        runs
            Runs that the panel shows; their stages alone are on the axis. None: all.
        name
            Whether stages are named above the panel.
        """
        rows = self.rows if runs is None else self.rows[self.rows["run"].isin(list(runs))]
        stages = {k: v for k, v in self.stages.items() if k in set(rows["stage"])}
        low = min(s.start for s in stages.values())
        high = max(s.start + s.length for s in stages.values())
        margin = 0.06 * (high - low)
        places: list[float] = []
        labels: list[str] = []
        for number, (title, stage) in enumerate(stages.items()):
            left = low - margin if stage.start == low else stage.start
            right = stage.start + stage.length
            right = high + margin if right == high else right
            if number % 2 and len(stages) > 1:
                axes.axvspan(left, right, color=BAND, alpha=0.6, lw=0, zorder=-3)
            if name and len(stages) > 1:
                axes.annotate(
                    title,
                    ((left + right) / 2, 1),
                    (0, 1),
                    xycoords=axes.get_xaxis_transform(),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=SMALL,
                    color=GREY,
                )
            for step in _thin(stage, (high - low) * FEWEST_APART):
                label = title if len(stage.steps) == 1 else f"{step:g}"
                if places and stage.place(step) == places[-1]:
                    labels[-1] += f" | {label}"
                else:
                    places.append(stage.place(step))
                    labels.append(label)
        axes.set_xticks(places, labels)
        axes.set_xlim(low - margin, high + margin)
        alone = len(stages) == 1
        axes.set_xlabel("training step" if alone else "training step within stage", color=INK)

    def _continues(self, run: str, stage: str) -> bool:
        """Whether a run's first checkpoint is after step 0 of a stage that is not the
        reference's."""
        if run == self.reference.run or stage == self.reference.stage:
            return False
        first = self.rows[self.rows["run"] == run].iloc[0]
        return bool(first["stage"] == stage and first["step"] > 0)


def _thin(stage: Stage, apart: float) -> list[float]:
    """Steps of a stage that can be labelled without touching: the first, the last and others."""
    first, *others = stage.steps
    kept: list[float] = []
    for step in others[::-1]:
        room = min(abs(stage.place(other) - stage.place(step)) for other in (first, *kept))
        if room >= apart or not kept:
            kept.append(step)
    return [first, *kept[::-1]]


def spread_runs(
    timeline: Timeline, table: pd.DataFrame, runs: list[str], value: str
) -> pd.DataFrame:
    """Least and greatest of several runs along the axis, interpolated to all their steps.

    Parameters
    ----------
    table
        Rows of all runs; several rows of a run at one checkpoint are several curves,
        distinguished by the column ``curve`` where there is one.
    value
        Column that is spread.

    Returns
    -------
    pd.DataFrame
        place, low, high; empty without runs.
    """
    traces = []
    for run in runs:
        trace = timeline.trace(table, run)
        curves = trace.groupby("curve") if "curve" in trace else [(run, trace)]
        traces += [curve[["place", value]].dropna() for _, curve in curves]
    traces = [trace for trace in traces if len(trace)]
    if not traces:
        return pd.DataFrame({"place": [], "low": [], "high": []})
    places = np.unique(np.concatenate([t["place"] for t in traces]))
    curves = np.array(
        [np.interp(places, t["place"], t[value], left=np.nan, right=np.nan) for t in traces]
    )
    return pd.DataFrame(
        {"place": places, "low": np.nanmin(curves, axis=0), "high": np.nanmax(curves, axis=0)}
    )
