"""Tables and draws that are written while checkpoints come are those written at once."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from emodrift.drift import paired, table
from emodrift.drift.paired import Component, GrowingPairs, Reading, draw_prompts, open_paired
from emodrift.drift.table import GrowingTables, label_rows, read_table
from emodrift.measure.arrays import read_gradients, read_layer
from emodrift.warning.measured import read_measured

CHECKPOINTS = [{"run": "sft", "step": 10 * k, "stage": "sft", "tokens": None} for k in range(5)]


def make_rows(number):
    return [
        {"concept": name, "value": float(number + k), "seen": [number, k]}
        for k, name in enumerate("abc"[: 1 + number % 3])
    ]


def test_tables_that_grow_are_those_written_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS_TOGETHER", 2)
    with GrowingTables(CHECKPOINTS, tmp_path) as tables:
        for number in range(5):
            tables.add(number, {"rows": make_rows(number), "at_the_second": [{"one": 1}]})
    rows = [{"checkpoint": n, **row} for n in range(5) for row in make_rows(n)]
    found = read_table(tmp_path, "rows")
    whole = label_rows(rows, CHECKPOINTS)
    pd.testing.assert_frame_equal(found.drop(columns="seen"), whole.drop(columns="seen"))
    assert [list(seen) for seen in found["seen"]] == [list(seen) for seen in whole["seen"]]


@pytest.fixture
def prompts():
    labels = {
        "suite": np.repeat(["harmful", "benign"], 4),
        "split": np.tile(["ood", "seen"], 4),
        "family": np.tile(["f", "g"], 4),
        "id": np.array([f"p{i}" for i in range(8)]),
    }
    coords = {name: ("prompt", values.astype(object)) for name, values in labels.items()}
    return draw_prompts(xr.DataArray(np.zeros(8), dims="prompt", coords=coords), 6, 0)


def test_draws_that_grow_are_those_written_at_once(prompts, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    asked = [Component(f"rise/{n}/all", n, "all", "harmful", "benign") for n in ("a", "b")]
    readings = [
        Reading(
            {"a": rng.standard_normal(8)},
            {c.name: rng.standard_normal(7) for c in asked},
            {c.name: rng.standard_normal(3) for c in asked},
        )
        for _ in range(5)
    ]
    for name in ("once", "blocks"):
        if name == "blocks":
            monkeypatch.setattr(paired, "CHECKPOINTS_TOGETHER", 2)
        (tmp_path / name).mkdir()
        kinds = np.array(["matched"] * 3, dtype=object)
        with GrowingPairs(asked, prompts, kinds, tmp_path / name) as pairs:
            for reading in readings:
                pairs.add(reading)
    once, blocks = (open_paired(tmp_path / name).load() for name in ("once", "blocks"))
    xr.testing.assert_identical(once.drop_encoding(), blocks.drop_encoding())
    draws = read_measured([tmp_path / "blocks"], 0).draws["rise/b/all"]
    expected = np.stack([reading.draws["rise/b/all"] for reading in readings])
    np.testing.assert_allclose(draws, expected, rtol=1e-6)


def spoil_layers(folder, array, kept):
    """Make every chunk of another layer unreadable; returns how many."""
    spoilt = 0
    for chunk in (folder / array / "c").glob("*/*/*"):
        if int(chunk.parent.name) != kept:
            chunk.write_bytes(b"spoilt")
            spoilt += 1
    return spoilt


def test_the_locked_layer_is_all_that_is_read(tmp_path):
    rng = np.random.default_rng(0)
    texts = {n: ("prompt", np.array(["x", "y"], dtype=object)) for n in paired.LABELS}
    layers = {"layer": np.arange(4)}
    hidden = xr.Dataset(
        {"activation": (("prompt", "layer", "hidden"), rng.standard_normal((2, 4, 3)))},
        coords=texts | layers,
    )
    gradients = xr.Dataset(
        {
            "gradient": (("target", "layer", "hidden"), rng.standard_normal((2, 4, 3))),
            "residual_norm": ("layer", np.ones(4)),
            "score": (("prompt", "reply_class"), np.zeros((2, 1))),
        },
        coords=texts | layers | {"reply_class": np.array(["refuse"], dtype=object)},
    )
    readings = {}
    for kind, name, dataset in (
        ("prompts", "activations", hidden),
        ("gradients", "gradients", gradients),
    ):
        place = tmp_path / name / f"{name}.zarr"
        place.parent.mkdir()
        array = dataset[name.removesuffix("s")]
        chunks = {array.name: {"chunks": (2, 1, 3)}}
        dataset.to_zarr(place, zarr_format=3, consolidated=False, encoding=chunks)
        assert spoil_layers(place, array.name, kept=2) == 3
        readings[kind] = [place.parent]
    alone = read_layer(readings, "prompts", 2)
    np.testing.assert_allclose(alone.values, hidden["activation"].values[:, 2], rtol=1e-6)
    read = read_gradients(readings, 2)["gradient"]
    np.testing.assert_allclose(read.values, gradients["gradient"].values[:, [2]], rtol=1e-6)
