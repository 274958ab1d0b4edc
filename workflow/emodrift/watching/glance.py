"""A glance at the model in memory: few prompts and stories, held against where training began."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from emodrift.models.memory import TokenBudget
from emodrift.watching.indicators import LIMITS, compare_snapshots, find_alarms
from emodrift.watching.instrument import Found, Training
from emodrift.watching.probe import (
    Probe,
    Snapshot,
    find_bare,
    pause_training,
    take_snapshot,
    wrap_network,
)


@dataclass
class Glance:
    """Asks a model in training the same few prompts and stories each time.

    Parameters
    ----------
    probe
        What is asked.
    limits
        Indicator -> value above which it alarms.
    consecutive
        Measurements in a row that must be above it.
    batch_tokens
        Tokens per batch.
    """

    probe: Probe
    limits: Mapping[str, float] = field(default_factory=lambda: LIMITS)
    consecutive: int = 2
    batch_tokens: int = 4096
    reads_saves: bool = field(default=False, init=False)
    rows: list[dict[str, float]] = field(default_factory=list, init=False)
    _start: Snapshot = field(init=False)
    _seconds: float = field(default=0.0, init=False)

    def begin(self, training: Training) -> None:
        """Measure where the training begins."""
        self._start = self._snap(training)

    def predict_seconds(self, training: Training) -> float:
        """What the last measurement took."""
        return self._seconds

    def measure(self, training: Training) -> Found:
        """Measure, and compare with the start."""
        values = compare_snapshots(self._snap(training), self._start, self.probe)
        self.rows.append(values)
        alarms = find_alarms(self.rows, self.limits, self.consecutive)
        named = [f"{n} {value:.3g} (limit {self.limits[n]:g})" for n, value in alarms.items()]
        return Found(values, alarms, ", ".join(named))

    def _snap(self, training: Training) -> Snapshot:
        began = time.monotonic()
        network = find_bare(training.network)
        with pause_training(network):
            model = wrap_network(network, training.tokenizer)
            found = take_snapshot(model, self.probe, TokenBudget(self.batch_tokens))
        self._seconds = time.monotonic() - began
        return found
