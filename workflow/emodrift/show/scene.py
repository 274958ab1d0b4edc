"""What a figure is told about the study and about its own looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pandas as pd

from emodrift.config.names import say
from emodrift.show.style import BUNDLE_COLOURS, COLUMN_INCHES, GREY, RUN_COLOURS, RUN_MARKERS


class Reference(NamedTuple):
    """Where the reference checkpoint stands: run, stage and step."""

    run: str
    stage: str
    step: int

    def find(self, table: pd.DataFrame) -> int:
        """Number of the reference among the checkpoints of a table."""
        same = (table[list(self._fields)] == pd.Series(self._asdict())).all(axis=1)
        return int(table.loc[same, "checkpoint"].iloc[0])


@dataclass(frozen=True)
class Scene:
    """The study that a figure shows, and how it is to look.

    Parameters
    ----------
    reference
        Where the vectors were locked.
    bundles
        Bundle -> its emotions; each has one colour in all figures.
    sound
        Runs that are declared healthy. They are drawn as a band, not as panels of their own.
    goes_on
        Whether the reference's run has checkpoints after the reference.
    caution, harmful, benign
        The bundle whose use is watched, and the suites of prompts that it is to separate.
    level
        Level of the intervals in the tables.
    width
        ``one`` or ``two`` journal columns, or inches.
    height
        Inches; None: as the panels need.
    runs, emotions
        Those to be shown, in this order; empty: all.
    names
        Name in the study -> words shown in its place.
    palette
        Colour map of a figure that shows values as colours; None: its own.
    """

    reference: Reference
    bundles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sound: Sequence[str] = ()
    goes_on: bool = False
    caution: str = "caution"
    harmful: str = "harmful"
    benign: str = "benign"
    level: float = 0.95
    width: str | float = "two"
    height: float | None = None
    runs: Sequence[str] = ()
    emotions: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    palette: str | None = None

    @property
    def inches(self) -> float:
        """Width of the figure in inches."""
        return COLUMN_INCHES[self.width] if isinstance(self.width, str) else self.width

    @property
    def percent(self) -> str:
        """Level of the intervals in words, such as ``95 %``."""
        return f"{100 * self.level:g} %"

    def name(self, name: str) -> str:
        """A run, emotion, bundle or metric in words."""
        return self.names.get(name, say(name))

    def bundle_of(self, concept: str) -> str | None:
        """Bundle of an emotion, or of itself if it is one."""
        if concept in self.bundles:
            return concept
        return next((b for b, members in self.bundles.items() if concept in members), None)

    def colour(self, concept: str) -> str:
        """Colour of an emotion or bundle: that of its bundle, grey in none."""
        bundle = self.bundle_of(concept)
        if bundle is None:
            return GREY
        return BUNDLE_COLOURS[list(self.bundles).index(bundle) % len(BUNDLE_COLOURS)]

    def watched(self, runs: Iterable[str]) -> list[str]:
        """Runs that have panels or lines of their own, in order.

        Those asked for; else all but the sound ones and the reference's own, unless that goes on
        from the reference or there is no other.
        """
        there = list(dict.fromkeys(runs))
        if self.runs:
            return [run for run in self.runs if run in there]
        left_out = {*self.sound, *(() if self.goes_on else [self.reference.run])}
        return [run for run in there if run not in left_out] or there

    def banded(self, runs: Iterable[str]) -> list[str]:
        """Sound runs that are drawn as a band: those without a line of their own."""
        there = list(dict.fromkeys(runs))
        lines = self.watched(there)
        return [r for r in there if r in self.sound and r not in lines and r != self.reference.run]

    def mark_runs(self, runs: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Run -> its colour and marker, the same in every figure of a study.

        Parameters
        ----------
        runs
            All runs of the study, in order.
        """
        own = replace(self, runs=()).watched(runs)
        own += [run for run in dict.fromkeys(runs) if run not in own]
        return {
            run: (RUN_COLOURS[k % len(RUN_COLOURS)], RUN_MARKERS[k % len(RUN_MARKERS)])
            for k, run in enumerate(own)
        }

    def choose_emotions(self, emotions: Iterable[str]) -> list[str]:
        """Emotions that are shown, bundles together unless an order is asked for."""
        there = list(dict.fromkeys(emotions))
        if self.emotions:
            return [e for e in self.emotions if e in there]
        order = [e for members in self.bundles.values() for e in members]
        return [e for e in dict.fromkeys([*order, *there]) if e in there]
