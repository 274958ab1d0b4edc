"""Measured arrays on disk: Zarr v3 through xarray, one unconsolidated store per job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from emodrift.contrasts.dataset import Record

LABELS = ("id", "set", "label", "topic", "split", "pair", "suite", "family")
SMALLEST_PEAK = 1e-3
CHUNK_PROMPTS = 4096


def save_array(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset; arrays over layers in chunks of one layer, so that one is read alone."""
    chunks = {"layer": 1, "prompt": CHUNK_PROMPTS}
    encoding = {
        name: {"chunks": tuple(min(chunks.get(d, n), n) for d, n in array.sizes.items())}
        for name, array in dataset.data_vars.items()
        if "layer" in array.dims
    }
    dataset.to_zarr(path, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def load_arrays(path: Path) -> xr.Dataset:
    """Read a dataset into memory."""
    return xr.open_dataset(path, engine="zarr", consolidated=False, chunks=None).load()


def open_responses(entry: Path) -> xr.Dataset:
    """Dataset of a responses entry; see :func:`emodrift.measure.responses.measure_responses`."""
    return load_arrays(entry / "responses.zarr")


def label_activations(pooled: np.ndarray, records: Sequence[Record]) -> xr.DataArray:
    """Array (prompt, layer, hidden) with the records' labels as coordinates of ``prompt``."""
    coords: dict[str, Any] = {"layer": np.arange(pooled.shape[1])}
    for name in LABELS:
        if any(name in r for r in records):
            values = np.array([str(r.get(name, "")) for r in records], dtype=object)
            coords[name] = ("prompt", values)
    return xr.DataArray(
        pooled, dims=("prompt", "layer", "hidden"), coords=coords, name="activation"
    )


def compress_activations(array: xr.DataArray) -> xr.DataArray:
    """Activations as float16, or as they are where float16 would overflow or be too coarse."""
    largest = float(np.abs(array).max())
    fits = SMALLEST_PEAK < largest < float(np.finfo(np.float16).max)
    stored = array.astype(np.float16) if fits else array
    stored.attrs["layer_convention"] = "0 = embeddings, k = output of block k"
    return stored


def open_activations(entry: Path, kind: str) -> xr.DataArray | None:
    """Activations of all parts of one kind, float32.

    Parameters
    ----------
    entry
        Entry of the activations stage.
    kind
        ``stories``, ``neutral``, ``controls`` or ``prompts``.

    Returns
    -------
    xr.DataArray or None
        (prompt, layer, hidden); None where the data set has no such part.
    """
    return join_parts([part["activation"] for part in open_parts(entry, kind)])


def open_parts(entry: Path, kind: str) -> list[xr.Dataset]:
    """Parts of one kind, only labels read: ``activation`` (prompt, layer, hidden), and of texts
    ``words`` (prompt, hidden).

    Parameters
    ----------
    entry, kind
        As in :func:`open_activations`.
    """
    table = json.loads((entry / "parts.json").read_text())
    store = entry.parent.parent
    parts = [
        xr.open_dataset(
            store / part["place"] / "activations.zarr",
            engine="zarr",
            consolidated=False,
            chunks=None,
        )
        for part in table.values()
        if part["kind"] == kind
    ]
    return [part.assign_coords({n: c.load() for n, c in part.coords.items()}) for part in parts]


def join_parts(arrays: Sequence[xr.DataArray]) -> xr.DataArray | None:
    """Arrays of several parts, read and joined over ``prompt``, float32; None without any."""
    if not arrays:
        return None
    return xr.concat(arrays, "prompt", join="exact").load().astype(np.float32)
