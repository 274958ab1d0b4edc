"""What indicators read: components of all checkpoints with paired draws, nulls and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from emodrift.drift.paired import LABELS, Component, list_components, open_paired, read_texts
from emodrift.errors import EmodriftError


@dataclass(frozen=True)
class Measured:
    """Components of every checkpoint.

    draws: component -> (checkpoint, draw), draw 0 the estimate. nulls: component -> (checkpoint,
    null). null_kinds: (null,). values: quantity -> (checkpoint, prompt). components: by name.
    labels: id, suite, split and family, (prompt,) each. reference: its number.
    """

    draws: dict[str, np.ndarray]
    nulls: dict[str, np.ndarray]
    null_kinds: np.ndarray
    values: dict[str, np.ndarray]
    components: dict[str, Component]
    labels: dict[str, np.ndarray]
    reference: int

    @property
    def checkpoints(self) -> int:
        """How many."""
        return len(next(iter(self.draws.values())))

    def get_scale(self, names: Sequence[str]) -> float:
        """Size of the mean of components at the reference; 1 where none are named."""
        if not names:
            return 1.0
        return abs(float(np.mean([self.draws[n][self.reference, 0] for n in names])))

    def pick(self, suite: str, split: str) -> np.ndarray:
        """(prompt,) which prompts are of a suite and split."""
        of_suite = self.labels["suite"] == suite
        return of_suite & ((self.labels["split"] == split) | (split == "all"))


def read_measured(entries: Sequence[Path], reference: int) -> Measured:
    """Join the paired draws of several entries.

    Raises
    ------
    EmodriftError
        They were asked different prompts.
    """
    return join_measured([open_paired(entry) for entry in entries], reference)


def join_measured(datasets: Sequence[xr.Dataset], reference: int) -> Measured:
    """As :func:`read_measured`, of datasets of :func:`emodrift.drift.paired.save_paired`."""
    first = datasets[0]
    for other in datasets[1:]:
        if list(other["id"].values) != list(first["id"].values):
            raise EmodriftError(
                "evocation and coupling were asked different prompts: run both anew"
            )
    draws, nulls, values, components = {}, {}, {}, {}
    for dataset in datasets:
        for i, component in enumerate(list_components(dataset)):
            draws[component.name] = dataset["draw"].values[:, i].astype(np.float64)
            nulls[component.name] = dataset["null"].values[:, i].astype(np.float64)
            components[component.name] = component
        for i, quantity in enumerate(dataset["quantity"].values):
            values[str(quantity)] = dataset["value"].values[:, i]
    labels = {name: read_texts(first[name]) for name in LABELS}
    return Measured(
        draws, nulls, read_texts(first["null_kind"]), values, components, labels, reference
    )
