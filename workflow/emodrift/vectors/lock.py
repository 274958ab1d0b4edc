"""Locking: the reference's vectors at one layer, which every later checkpoint is asked about."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from emodrift.errors import EmodriftError
from emodrift.measure.arrays import load_arrays, save_array
from emodrift.stats.measures import normalise
from emodrift.vectors.fitting import open_vectors

TYPICAL_DEPTH = 2 / 3


def lock_vectors(
    layer: str | int,
    bundles: Mapping[str, Sequence[str]],
    random_directions: int,
    seed: int,
    vectors: Path,
    out: Path,
) -> None:
    """Choose the layer at the reference and write its unit vectors, with random ones beside them.

    Writes ``lock.zarr``: ``direction`` (direction, hidden) with coordinates ``name`` and ``kind``
    (emotion or random), ``center`` (hidden), the layer; and ``bundles.json``.

    Parameters
    ----------
    layer
        A layer, or ``auto``.
    bundles
        Named groups of emotions.
    random_directions
        How many random directions the null has.
    seed
        Of the random directions.
    vectors
        Entry of the reference's vectors.
    out
        Directory to write to.
    """
    fitted = open_vectors(vectors)
    chosen = choose_layer(fitted) if layer == "auto" else int(layer)
    logging.info(
        "locked at layer %d: held-out AUROC %.3f, minimal pairs told apart %.3f",
        chosen,
        float(fitted["auroc"].sel(layer=chosen).mean()),
        float(fitted["pair_accuracy"].sel(layer=chosen)),
    )
    emotion = fitted["vector"].sel(layer=chosen).values
    rng = np.random.default_rng(seed)
    null = draw_directions(emotion.shape[-1], random_directions, rng)
    if not np.linalg.norm(emotion, axis=-1).all():
        raise EmodriftError(
            f"vectors.layer {chosen}: an emotion vector is zero there; with pooling at the reply "
            "point layer 0 is the same token in every story: choose a later layer"
        )
    names = [*map(str, fitted["emotion"].values), *(f"random-{i}" for i in range(len(null)))]
    kinds = ["emotion"] * len(emotion) + ["random"] * len(null)
    dataset = xr.Dataset(
        {
            "direction": (
                ("direction", "hidden"),
                np.concatenate([normalise(emotion), null]).astype(np.float32),
            ),
            "center": fitted["center"].sel(layer=chosen, drop=True),
        },
        coords={
            "name": ("direction", np.array(names, dtype=object)),
            "kind": ("direction", np.array(kinds, dtype=object)),
            "layer": chosen,
        },
    )
    save_array(dataset, out / "lock.zarr")
    (out / "bundles.json").write_text(json.dumps({k: list(v) for k, v in bundles.items()}) + "\n")


def open_lock(entry: Path) -> xr.Dataset:
    """Dataset of a lock entry; see :func:`lock_vectors`."""
    return load_arrays(entry / "lock.zarr")


def open_bundles(entry: Path) -> dict[str, list[str]]:
    """Bundles of a lock entry: name -> emotions."""
    return json.loads((entry / "bundles.json").read_text())


def choose_layer(fitted: xr.Dataset) -> int:
    """Layer that tells emotions apart best on held-out stories.

    On minimal pairs where there are any, else by mean AUROC; among layers that a block follows.
    Near ties (within .005) go to the one nearest two thirds of the depth.
    """
    pairs = fitted["pair_accuracy"]
    score = pairs if bool(pairs.notnull().all()) else fitted["auroc"].mean("emotion")
    between = score.sel(layer=slice(1, int(fitted["layer"].max()) - 1))
    if between.sizes["layer"] == 0:
        return int(fitted["layer"].max())
    close = between.where(between >= between.max() - 0.005, drop=True)["layer"].values
    return int(min(close, key=lambda k: abs(k - TYPICAL_DEPTH * int(fitted["layer"].max()))))


def draw_directions(hidden: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Random unit directions, (direction, hidden), uniform on the sphere."""
    return normalise(rng.standard_normal((number, hidden)))
