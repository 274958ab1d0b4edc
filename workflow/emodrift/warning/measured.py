"""What indicators read: components of all checkpoints with paired draws, nulls and prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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

    draws: Mapping[str, np.ndarray]
    nulls: Mapping[str, np.ndarray]
    null_kinds: np.ndarray
    values: Mapping[str, np.ndarray]
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
    """As :func:`read_measured`, of datasets of :class:`emodrift.drift.paired.GrowingPairs`."""
    first = datasets[0]
    for other in datasets[1:]:
        if list(other["id"].values) != list(first["id"].values):
            raise EmodriftError(
                "evocation and coupling were asked different prompts: run both anew"
            )
    draws, nulls, values, components = {}, {}, {}, {}
    for dataset in datasets:
        for i, component in enumerate(list_components(dataset)):
            draws[component.name] = _Place(dataset["draw"], i)
            nulls[component.name] = _Place(dataset["null"], i)
            components[component.name] = component
        for i, quantity in enumerate(dataset["quantity"].values):
            values[str(quantity)] = _Place(dataset["value"], i)
    labels = {name: read_texts(first[name]) for name in LABELS}
    return Measured(
        Lazy(draws),
        Lazy(nulls),
        read_texts(first["null_kind"]),
        Lazy(values),
        components,
        labels,
        reference,
    )


class _Place(NamedTuple):
    """An array (checkpoint, thing, ...) on disk, and the number of the thing."""

    array: xr.DataArray
    number: int


class Lazy(Mapping[str, np.ndarray]):
    """Arrays (checkpoint, ...) by name, float64, each read when it is first asked for."""

    def __init__(self, places: Mapping[str, _Place]) -> None:
        self._places = places
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            array, number = self._places[name]
            self._read[name] = array[:, number].values.astype(np.float64)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
