"""Paired draws: one bootstrap of prompt families for all checkpoints.

Every checkpoint is asked the same prompts, so a difference between two of them is known far better
than either value: the draws of all checkpoints share their weights, and draw k of one is subtracted
from draw k of another. docs/warning.md, "Paired draws".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
import zarr

from emodrift.stats.bootstrap import draw_weights

LABELS = ("id", "suite", "split", "family")
ALL = "all"
NULLS_KEPT = 200
PAIRED = "paired.zarr"
ARRAYS = ("draw", "value", "null")
CHECKPOINTS_TOGETHER = 64
COMPONENTS_TOGETHER = 16
_CHUNKS: Mapping[Hashable, int] = {
    "checkpoint": CHECKPOINTS_TOGETHER,
    "component": COMPONENTS_TOGETHER,
    "quantity": COMPONENTS_TOGETHER,
}


class Component(NamedTuple):
    """A mean over prompts, or the difference of two.

    quantity: what is averaged; empty where the component is no mean. split: which prompts, or
    ``all``. upper, lower: suites whose means are subtracted; no lower one: a plain mean.
    """

    name: str
    quantity: str = ""
    split: str = ALL
    upper: str = ""
    lower: str = ""


class Reading(NamedTuple):
    """What one checkpoint gives.

    values: quantity -> (prompt,), NaN where a prompt has none. draws: component -> (draw,), the
    estimate first. nulls: component -> (null,), the same along null directions.
    """

    values: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    nulls: dict[str, np.ndarray]


def name_arrays(reading: Reading) -> dict[str, np.ndarray]:
    """What one checkpoint gives, as it is stored: ``<field>/<name>`` -> array in float32."""
    return {
        f"{field}/{name}": np.ascontiguousarray(array, np.float32)
        for field, named in reading._asdict().items()
        for name, array in named.items()
    }


def gather_reading(arrays: Mapping[str, np.ndarray]) -> Reading:
    """Undo :func:`name_arrays`."""
    found: dict[str, dict[str, np.ndarray]] = {field: {} for field in Reading._fields}
    for path, array in arrays.items():
        field, _, name = path.partition("/")
        found[field][name] = array
    return Reading(**found)


@dataclass(frozen=True)
class PromptDraws:
    """Prompts (labels by name, each (prompt,)) and their weights (draw, prompt), ones first."""

    labels: Mapping[str, np.ndarray]
    weights: np.ndarray

    def list_splits(self, suite: str) -> list[str]:
        """``all``, then the splits of a suite."""
        return [ALL, *sorted(set(self.labels["split"][self.labels["suite"] == suite]))]

    def pick(self, suite: str, split: str) -> np.ndarray:
        """(prompt,) which prompts are of a suite and split."""
        of_suite = self.labels["suite"] == suite
        return of_suite & ((self.labels["split"] == split) | (split == ALL))

    def average(self, values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Means (..., draw) of values (..., prompt) over chosen prompts."""
        part = self.weights[:, chosen]
        return values[..., chosen] @ (part / part.sum(1, keepdims=True)).T

    def draw(self, component: Component, values: np.ndarray) -> np.ndarray:
        """A component (..., draw) of values (..., prompt)."""
        upper = self.average(values, self.pick(component.upper, component.split))
        if not component.lower:
            return upper
        return upper - self.average(values, self.pick(component.lower, component.split))

    def contrast(self, component: Component) -> np.ndarray:
        """(prompt,) what each prompt weighs in the estimate of a component."""
        upper = self.pick(component.upper, component.split)
        share = upper / upper.sum()
        if not component.lower:
            return share
        lower = self.pick(component.lower, component.split)
        return share - lower / lower.sum()


def draw_prompts(prompts: xr.DataArray, draws: int, seed: int) -> PromptDraws:
    """Bootstrap of prompt families within suites and splits, the same for equal prompts and seed.

    Parameters
    ----------
    prompts
        Any array over ``prompt`` with the labels id, suite, split and family.
    draws, seed
        How many, and their seed.
    """
    labels = {name: read_texts(prompts[name]) for name in LABELS}
    cells = [f"{a}/{b}" for a, b in zip(labels["suite"], labels["split"], strict=True)]
    drawn = draw_weights(labels["family"], draws, np.random.default_rng(seed), cells)
    return PromptDraws(labels, np.concatenate([np.ones_like(drawn[:1]), drawn]))


class NullDirections(NamedTuple):
    """Directions (null, member, hidden) that stand for no emotion, and the kind (null,) of each."""

    values: np.ndarray
    kinds: np.ndarray


def gather_nulls(locked: xr.Dataset, size: int, seed: int) -> NullDirections:
    """Null counterparts of a group of emotions: groups of as many null directions.

    Parameters
    ----------
    locked
        The lock.
    size
        Members of a group.
    seed
        Of the choice.
    """
    rng = np.random.default_rng(seed)
    directions, kinds = locked["null_direction"].values, read_texts(locked["null_kind"])
    picked, of_kind = [], []
    for kind in dict.fromkeys(kinds):
        rows = np.flatnonzero(kinds == kind)
        number = min(NULLS_KEPT, len(rows))
        picked.append(rng.choice(rows, (number, size)))
        of_kind += [kind] * number
    return NullDirections(directions[np.concatenate(picked)], np.array(of_kind, dtype=object))


@dataclass
class GrowingPairs:
    """``paired.zarr``, written while checkpoints come; use it as a context manager.

    Holds ``draw`` (checkpoint, component, draw), draw 0 the estimate; ``value`` (checkpoint,
    quantity, prompt); ``null`` (checkpoint, component, null), NaN where a component has none. On
    ``component`` lie quantity, split, upper and lower suite; on ``prompt`` its labels.

    Parameters
    ----------
    components, prompts
        What every checkpoint is asked, alike.
    null_kinds
        (null,).
    out
        Directory to write to.
    """

    components: Sequence[Component]
    prompts: PromptDraws
    null_kinds: np.ndarray
    out: Path
    _waiting: list[Reading] = field(default_factory=list)

    def __enter__(self) -> GrowingPairs:
        return self

    def __exit__(self, *_error: object) -> None:
        self._flush()

    def add(self, reading: Reading) -> None:
        """Add the next checkpoint."""
        self._waiting.append(reading)
        if len(self._waiting) == CHECKPOINTS_TOGETHER:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        path = self.out / PAIRED
        dataset = _join_readings(self._waiting, self.components, self.prompts, self.null_kinds)
        arrays = {name: dataset[name] for name in ARRAYS}
        if path.exists():
            group = zarr.open_group(path)
            for name, array in arrays.items():
                group[name].append(array.values, axis=0)
        else:
            chunks = {
                name: {
                    "chunks": tuple(min(_CHUNKS.get(d, n), n) or 1 for d, n in array.sizes.items())
                }
                for name, array in arrays.items()
            }
            dataset.to_zarr(path, zarr_format=3, consolidated=False, encoding=chunks)
        self._waiting = []


def _join_readings(
    readings: Sequence[Reading],
    components: Sequence[Component],
    prompts: PromptDraws,
    null_kinds: np.ndarray,
) -> xr.Dataset:
    names = [c.name for c in components]
    quantities = list(readings[0].values)
    missing = np.full(len(null_kinds), np.nan, np.float32)
    return xr.Dataset(
        {
            "draw": (
                ("checkpoint", "component", "draw"),
                np.array([[r.draws[n] for n in names] for r in readings], np.float32),
            ),
            "value": (
                ("checkpoint", "quantity", "prompt"),
                np.array([[r.values[q] for q in quantities] for r in readings], np.float32),
            ),
            "null": (
                ("checkpoint", "component", "null"),
                np.array([[r.nulls.get(n, missing) for n in names] for r in readings], np.float32),
            ),
        },
        coords={
            "component": np.array(names, dtype=object),
            "quantity": np.array(quantities, dtype=object),
            "null_kind": ("null", null_kinds),
            **{
                f"of_{field}": ("component", np.array([getattr(c, field) for c in components], "O"))
                for field in ("quantity", "split", "upper", "lower")
            },
            **{n: ("prompt", v.astype(object)) for n, v in prompts.labels.items()},
        },
    )


def open_paired(entry: Path) -> xr.Dataset:
    """Dataset of an entry's paired draws, of which only labels are read; see
    :class:`GrowingPairs`."""
    opened = xr.open_dataset(entry / PAIRED, engine="zarr", consolidated=False, chunks=None)
    return opened.assign_coords({n: c.load() for n, c in opened.coords.items()})


def read_texts(labels: xr.DataArray) -> np.ndarray:
    """Labels as an array of str, however they were stored."""
    return np.array([str(label) for label in labels.values], dtype=str)


def list_components(paired: xr.Dataset) -> Iterator[Component]:
    """Components of a dataset of :class:`GrowingPairs`."""
    fields = ("component", "of_quantity", "of_split", "of_upper", "of_lower")
    for row in zip(*(paired[name].values for name in fields), strict=True):
        yield Component(*map(str, row))
