"""Measured arrays on disk: Zarr v3 through xarray, one unconsolidated store per job."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from emodrift.corpus.records import Record

Readings = Mapping[str, Sequence[Path]]
"""What was read off one checkpoint: entries of activations by the kind of their part (``stories``,
``neutral``, ``controls``, ``prompts``), and ``gradients``.
"""

ACTIVATIONS, GRADIENTS, RESPONSES = "activations.zarr", "gradients.zarr", "responses.zarr"
PROMPT_LABELS = ("id", "suite", "split", "family")
LABELS = ("id", "set", "label", "topic", "split", "pair", "suite", "family")
SMALLEST_PEAK = 1e-3
CHUNK_PROMPTS = 4096


def save_array(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset; arrays over layers in chunks of one layer, so that one is read alone."""
    chunks: Mapping[Hashable, int] = {"layer": 1, "prompt": CHUNK_PROMPTS}
    encoding = {
        name: {"chunks": tuple(min(chunks.get(d, n), n) for d, n in array.sizes.items())}
        for name, array in dataset.data_vars.items()
        if "layer" in array.dims
    }
    dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def load_arrays(path: Path) -> xr.Dataset:
    """Read a dataset into memory."""
    return _open(path).load()


def open_responses(entry: Path) -> xr.Dataset:
    """Dataset of a responses entry; see :func:`emodrift.measure.responses.measure_responses`."""
    return load_arrays(entry / RESPONSES)


def label_prompts(
    dim: str, records: Sequence[Record], names: Sequence[str], prefix: str = ""
) -> dict[str, Any]:
    """Coordinates of a dimension from the records' fields."""
    return {
        prefix + name: (dim, np.array([str(r.get(name, "")) for r in records], dtype=object))
        for name in names
    }


def label_activations(pooled: np.ndarray, records: Sequence[Record]) -> xr.DataArray:
    """Array (prompt, layer, hidden) with the records' labels as coordinates of ``prompt``."""
    present = [name for name in LABELS if any(name in r for r in records)]
    coords = {"layer": np.arange(pooled.shape[1])} | label_prompts("prompt", records, present)
    return xr.DataArray(
        pooled, dims=("prompt", "layer", "hidden"), coords=coords, name="activation"
    )


def compress(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """One array as float16, or as it is where float16 would overflow or be too coarse."""
    largest = float(np.abs(dataset[name]).max())
    fits = SMALLEST_PEAK < largest < float(np.finfo(np.float16).max)
    stored = dataset.assign({name: dataset[name].astype(np.float16)}) if fits else dataset
    return stored.assign_attrs(layer_convention="0 = embeddings, k = output of block k")


def open_activations(readings: Readings, kind: str) -> xr.DataArray | None:
    """Activations of all parts of one kind, float32.

    Parameters
    ----------
    readings
        What was read off a checkpoint.
    kind
        ``stories``, ``neutral``, ``controls`` or ``prompts``.

    Returns
    -------
    xr.DataArray or None
        (prompt, layer, hidden); None where the data set has no such part.
    """
    return join_parts([part["activation"] for part in open_parts(readings, kind)])


def read_layer(readings: Readings, kind: str, layer: int) -> xr.DataArray | None:
    """Activations of all parts of one kind at one layer, of which alone is read, float32.

    Parameters
    ----------
    readings, kind
        As in :func:`open_activations`.
    layer
        The layer.

    Returns
    -------
    xr.DataArray or None
        (prompt, hidden); None where the data set has no such part.
    """
    parts = open_parts(readings, kind)
    return join_parts([part["activation"].sel(layer=layer) for part in parts])


def open_parts(readings: Readings, kind: str) -> list[xr.Dataset]:
    """Parts of one kind, only labels read: ``activation`` (prompt, layer, hidden), and of stories
    and neutral texts ``words`` (prompt, hidden).

    Parameters
    ----------
    readings, kind
        As in :func:`open_activations`.
    """
    parts = [_open(folder / ACTIVATIONS) for folder in readings.get(kind, ())]
    return [part.assign_coords({n: c.load() for n, c in part.coords.items()}) for part in parts]


def join_parts(arrays: Sequence[xr.DataArray]) -> xr.DataArray | None:
    """Arrays of several parts, read and joined over ``prompt``, float32; None without any.

    A label that only some parts have is empty in the others.
    """
    if not arrays:
        return None
    names = {str(n): None for a in arrays for n, c in a.coords.items() if c.dims == ("prompt",)}
    filled = [
        a.assign_coords({n: _label_none(a) for n in names if n not in a.coords}) for a in arrays
    ]
    return xr.concat(filled, "prompt", join="exact").load().astype(np.float32)


def _label_none(array: xr.DataArray) -> tuple[str, np.ndarray]:
    return "prompt", np.full(array.sizes["prompt"], "", dtype=object)


def open_gradients(readings: Readings) -> xr.Dataset:
    """Scores and gradients of all prompts, float32, in units of one mean residual norm.

    Parameters
    ----------
    readings
        What was read off a checkpoint, with ``gradients`` in it.

    Returns
    -------
    xr.Dataset
        See :func:`emodrift.measure.gradients.measure_gradients`.
    """
    return _join_gradients([_open(folder / GRADIENTS) for folder in readings["gradients"]])


def read_gradients(readings: Readings, layer: int) -> xr.Dataset:
    """As :func:`open_gradients`, at one layer, of which alone is read; ``layer`` stays a dim."""
    parts = [_open(folder / GRADIENTS) for folder in readings["gradients"]]
    return _join_gradients([part.sel(layer=[layer]) for part in parts])


def _join_gradients(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    parts = [part.load() for part in parts]
    norm = average_norms(parts)
    gradients = [
        part["gradient"].astype(np.float32) * norm / part["residual_norm"] for part in parts
    ]
    return xr.Dataset(
        {
            "score": xr.concat([part["score"] for part in parts], "prompt", join="exact"),
            "gradient": xr.concat(gradients, "target", join="exact"),
            "residual_norm": norm,
        }
    )


def open_scores(readings: Readings) -> xr.DataArray:
    """Unsteered class scores (prompt, reply_class) of all prompts, nats; as `open_gradients`."""
    scores = [_open(folder / GRADIENTS)["score"].load() for folder in readings["gradients"]]
    return xr.concat(scores, "prompt", join="exact").transpose("prompt", "reply_class")


def read_norms(folders: Sequence[Path]) -> xr.DataArray:
    """Mean residual norm at the reply point (layer,) over entries of gradients."""
    return average_norms([_open(folder / GRADIENTS) for folder in folders]).load()


def average_norms(parts: Sequence[xr.Dataset]) -> xr.DataArray:
    """Mean residual norm (layer,) over the prompts of all parts."""
    sizes = [part.sizes["prompt"] for part in parts]
    total = sum(p["residual_norm"] * n for p, n in zip(parts, sizes, strict=True))
    assert isinstance(total, xr.DataArray)
    return total / sum(sizes)


def _open(path: Path) -> xr.Dataset:
    return xr.open_dataset(path, engine="zarr", consolidated=False, chunks=None)
