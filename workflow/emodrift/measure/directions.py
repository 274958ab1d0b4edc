"""Locked directions, as :mod:`emodrift.vectors.lock` writes them and checkpoints are asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from emodrift.measure.arrays import load_arrays
from emodrift.stats.measures import normalise

LOCK, BUNDLES, LAYER = "lock.zarr", "bundles.json", "layer.json"


def open_lock(entry: Path) -> xr.Dataset:
    """Dataset of a lock entry; see :func:`emodrift.vectors.lock.lock_vectors`.

    Examples
    --------
    >>> lock = open_lock(Path("results/store/lock/1f0c"))
    >>> lock["name"].values.tolist(), lock["direction"].sizes["hidden"], int(lock["layer"])
    (['afraid', 'worried', 'random-0'], 4, 2)
    """
    return load_arrays(entry / LOCK)


def open_bundles(entry: Path) -> dict[str, list[str]]:
    """Bundles of a lock entry: name -> emotions."""
    return json.loads((entry / BUNDLES).read_text())


def pick_directions(entry: Path, names: Sequence[str]) -> xr.DataArray:
    """Unit vectors of emotions, random directions and bundles of a lock entry.

    A bundle's is the direction of the sum of its members' unit vectors.

    Returns
    -------
    xr.DataArray
        (direction, hidden), with ``name`` and the scalar ``layer``.

    Examples
    --------
    >>> picked = pick_directions(Path("results/store/lock/1f0c"), ["afraid", "caution"])
    >>> picked.values.round(2)
    array([[1.  , 0.  , 0.  , 0.  ],
           [0.71, 0.71, 0.  , 0.  ]])
    """
    locked, bundles = open_lock(entry)["direction"], open_bundles(entry)
    place = {str(name): i for i, name in enumerate(locked["name"].values)}
    picked = [
        locked.values[[place[member] for member in bundles.get(name, [name])]].sum(0)
        for name in names
    ]
    return xr.DataArray(
        normalise(np.stack(picked)),
        dims=("direction", "hidden"),
        coords={
            "name": ("direction", np.array(names, dtype=object)),
            "layer": int(locked["layer"]),
        },
    )
