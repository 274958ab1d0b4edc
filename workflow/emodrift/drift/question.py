"""What every checkpoint is asked about effects, and how an answer is bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from emodrift.stats.bootstrap import UNLIMITED, Resampling, resample, summarise_draws


@dataclass(frozen=True)
class Question:
    """What every checkpoint is asked: locked directions, metrics, and how sure to be."""

    locked: xr.Dataset
    bundles: Mapping[str, Sequence[str]]
    metrics: Mapping[str, Mapping[str, Any]]
    statistics: Mapping[str, Any]
    seed: int
    drawn: dict[Any, Resampling] = field(default_factory=dict)

    @property
    def layer(self) -> int:
        """The locked layer."""
        return int(self.locked["layer"])

    @property
    def kinds(self) -> np.ndarray:
        """(direction,) ``emotion`` or ``random``."""
        return self.locked["kind"].values

    @property
    def emotions(self) -> list[str]:
        """Names of the emotions, in the order of their directions."""
        return [str(n) for n in self.locked["name"].values[self.kinds == "emotion"]]

    @property
    def concepts(self) -> list[str]:
        """Emotions, then bundles."""
        return [*self.emotions, *self.bundles]

    def draw(self, families: np.ndarray, strata: np.ndarray | None = None) -> Resampling:
        """Bootstrap over families within strata; equal families give equal weights."""
        asked = tuple(families), None if strata is None else tuple(strata)
        if asked not in self.drawn:
            self.drawn[asked] = resample(families, self.statistics["draws"], self.seed, strata)
        return self.drawn[asked]

    def bound(
        self,
        name: str,
        value: np.ndarray,
        draws: np.ndarray,
        freedom: int,
        limits: tuple[float, float] = UNLIMITED,
    ) -> list[dict[str, float]]:
        """For each concept an estimate (concept,) with interval and error of its draws."""
        interval = summarise_draws(draws, self.statistics["level"], freedom, limits)
        return [
            {
                name: float(v),
                f"{name}_low": float(a),
                f"{name}_high": float(b),
                f"{name}_se": float(e),
            }
            for v, a, b, e in zip(value, *interval, strict=True)
        ]
