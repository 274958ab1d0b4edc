"""Locked directions, as :mod:`emodrift.vectors.lock` writes them and checkpoints are asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from emodrift.measure.arrays import load_arrays
from emodrift.measure.names import BUNDLES, FOUND, LOCK, RIVALS
from emodrift.stats.measures import normalise


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


def open_discovered(entry: Path | None) -> dict[str, list[str]]:
    """Bundle of a discovery entry: its name -> emotions; empty without an entry."""
    return json.loads((entry / FOUND).read_text()) if entry else {}


def open_rivals(entry: Path) -> xr.DataArray:
    """Unit vectors (rival, hidden) of a discovery entry, named on ``rival``."""
    return load_arrays(entry / RIVALS)["direction"]


def pick_directions(
    entry: Path, names: Sequence[str], discovery: Path | None = None
) -> xr.DataArray:
    """Unit vectors of emotions, random directions and bundles of a lock entry, and of what a
    discovery entry adds.

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
    vectors = dict(zip(map(str, locked["name"].values), locked.values, strict=True))
    if discovery:
        bundles |= open_discovered(discovery)
        rivals = open_rivals(discovery)
        vectors |= dict(zip(map(str, rivals["rival"].values), rivals.values, strict=True))
    picked = [
        np.sum([vectors[member] for member in bundles.get(name, [name])], axis=0) for name in names
    ]
    return xr.DataArray(
        normalise(np.reshape(picked, (len(names), locked.sizes["hidden"]))),
        dims=("direction", "hidden"),
        coords={
            "name": ("direction", np.array(names, dtype=object)),
            "layer": int(locked["layer"]),
        },
    )
