"""What several stages over all checkpoints are asked alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from emodrift.stats.settings import Statistics


class MetricParams(NamedTuple):
    """What a stage that follows behaviour metrics is asked.

    checkpoints: run, step, stage, tokens of each. statistics, seed: config. metrics: behaviour
    metrics by name.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    statistics: Statistics
    seed: int
    metrics: Mapping[str, Mapping[str, Any]]
