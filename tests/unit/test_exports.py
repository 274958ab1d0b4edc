"""What leaves emodrift is read back by those it is for, with the layer where they put it."""

import json
import zipfile

import gguf
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml
from safetensors import safe_open

from emodrift.config.fields import DISCOVERED, RIVAL_NAMES
from emodrift.config.reading import parse_study
from emodrift.drift.table import write_table
from emodrift.errors import EmodriftError
from emodrift.exports.bundle import check_bundle, draw_bundle, open_bundle, write_bundle
from emodrift.exports.formats import BLOCK_LISTS, FORMATS
from emodrift.exports.locked import LockedVectors, read_locked
from emodrift.exports.tables import export_tables
from emodrift.measure.arrays import save_array
from emodrift.measure.names import FOUND, RIVALS
from emodrift.plan.entries import Plan
from emodrift.store.entry import Entry, write_entry
from tests.conftest import STUDY, make_llama
from tests.tables import BUNDLES, REFERENCE, SOUND, STAGES, make_tables

HIDDEN, LAYER, NORM = 32, 2, 40.0


@pytest.fixture
def vectors():
    rows = np.random.default_rng(0).standard_normal((3, HIDDEN))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return LockedVectors(
        name=("afraid", "random-0", "caution"),
        kind=("emotion", "random", "bundle"),
        direction=rows.astype(np.float32),
        center=np.zeros(HIDDEN, np.float32),
        layer=LAYER,
        residual_norm=NORM,
        model="llama",
        reference="sft step 0",
        key="0" * 20,
    )


def store_lock(store):
    """A lock entry as the workflow leaves it, with the activations that it was made from."""
    part = store / "gradients" / "p"
    part.mkdir(parents=True)
    norms = xr.Dataset(
        {"residual_norm": ("layer", [1.0, 2.0, NORM]), "score": ("prompt", np.zeros(4))},
        coords={"layer": [0, 1, 2]},
    )
    save_array(norms, part / "gradients.zarr")
    rows = np.eye(3, HIDDEN, dtype=np.float32)
    inputs = {"activations": {"gradients": ["gradients/p"]}}
    with write_entry(store / "lock" / "k", {"inputs": inputs}) as out:
        lock = xr.Dataset(
            {"direction": (("direction", "hidden"), rows), "center": ("hidden", np.ones(HIDDEN))},
            coords={
                "name": ("direction", np.array(["afraid", "worried", "random-0"], dtype=object)),
                "kind": ("direction", np.array(["emotion", "emotion", "random"], dtype=object)),
                "layer": LAYER,
            },
        )
        save_array(lock, out / "lock.zarr")
        (out / "bundles.json").write_text(json.dumps({"caution": ["afraid", "worried"]}))
    return store / "lock" / "k"


def test_a_lock_entry_is_read_with_its_bundles_and_the_unit_of_strength(tmp_path):
    found = read_locked(store_lock(tmp_path), "llama", "sft step 0")
    assert found.name == ("afraid", "worried", "random-0", "caution")
    assert found.kind == ("emotion", "emotion", "random", "bundle")
    np.testing.assert_allclose(found.direction[3, :2], np.sqrt(0.5), rtol=1e-6)
    assert (found.layer, found.residual_norm, found.key) == (LAYER, NORM, "k")


def test_what_was_discovered_goes_with_the_lock(tmp_path):
    lock, rows = store_lock(tmp_path), np.eye(2, HIDDEN, k=5, dtype=np.float32)
    with write_entry(tmp_path / "discovery/d", {}) as out:
        (out / FOUND).write_text(json.dumps({DISCOVERED: ["worried"]}))
        rivals = xr.Dataset(
            {"direction": (("rival", "hidden"), rows)},
            coords={"rival": np.array(RIVAL_NAMES, dtype=object), "layer": LAYER},
        )
        save_array(rivals, out / RIVALS)
    alone, found = read_locked(lock), read_locked(lock, discovery=tmp_path / "discovery/d")
    assert found.name == (*alone.name, DISCOVERED, *RIVAL_NAMES)
    assert found.kind == (*alone.kind, "bundle", "rival", "rival")
    np.testing.assert_allclose(found.direction[4], alone.direction[1])
    np.testing.assert_allclose(found.direction[5:], rows)


def test_safetensors_hold_a_vector_for_each_name_and_say_where_it_belongs(vectors, tmp_path):
    (path,) = FORMATS["safetensors"](vectors, tmp_path, None)
    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == set(vectors.name)
        np.testing.assert_array_equal(file.get_tensor("afraid"), vectors.direction[0])
        about = file.metadata()
    assert about["layer"] == "2" and about["lock"] == vectors.key
    assert json.loads(about["kinds"])["caution"] == "bundle"


def test_numpy_arrays_are_read_without_pickle(vectors, tmp_path):
    (path,) = FORMATS["numpy"](vectors, tmp_path, None)
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["direction"], vectors.direction)
        assert list(file["name"]) == list(vectors.name) and file["layer"] == LAYER


def test_a_control_vector_is_one_float32_direction_for_the_block_before(vectors, tmp_path):
    paths = FORMATS["gguf"](vectors, tmp_path, 0.1)
    assert [p.stem for p in paths] == list(vectors.name)
    reader = gguf.GGUFReader(paths[0])
    (tensor,) = reader.tensors
    assert tensor.name == f"direction.{LAYER - 1}"
    assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
    np.testing.assert_allclose(tensor.data, 0.1 * NORM * vectors.direction[0], rtol=1e-6)
    assert reader.get_field("general.architecture").contents() == "controlvector"
    assert reader.get_field("controlvector.model_hint").contents() == "llama"
    assert reader.get_field("controlvector.layer_count").contents() == 1
    assert reader.get_field("emodrift.length").contents() == "0.1 mean residual norms"


@pytest.mark.parametrize(
    ("layer", "form", "message"),
    [(1, "gguf", "direction.0"), (0, "gguf", "layer 0"), (0, "steering-vectors", "layer 0")],
)
def test_a_layer_that_a_tool_cannot_steer_is_refused(vectors, tmp_path, layer, form, message):
    low = LockedVectors(**{**vars(vectors), "layer": layer})
    with pytest.raises(EmodriftError, match=message):
        FORMATS[form](low, tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_files_of_steering_vectors_hold_its_fields_and_no_code(vectors, tmp_path):
    path = FORMATS["steering-vectors"](vectors, tmp_path, None)[0]
    fields = torch.load(path, weights_only=True)
    assert set(fields) == {"layer_activations", "layer_type"}
    ((block, row),) = fields["layer_activations"].items()
    assert (block, fields["layer_type"]) == (LAYER - 1, "decoder_block")
    np.testing.assert_array_equal(row.numpy(), vectors.direction[0])


def test_steering_as_lm_eval_does_moves_the_locked_layer_by_the_strength_asked_for(
    vectors, tmp_path
):
    model, _ = make_llama(seed=0)
    path = FORMATS["lm-eval"](vectors, tmp_path, 0.5)[0]
    ((hookpoint, steer),) = torch.load(path, weights_only=True).items()
    assert steer["action"] == "add" and steer["bias"] is None and steer["head_index"] is None
    added = steer["steering_vector"] * steer["steering_coefficient"]
    before, after = (read_inputs(model, hookpoint, shift) for shift in (0, added))
    shift = (after - before).numpy()
    expected = np.broadcast_to(0.5 * NORM * vectors.direction[0], shift.shape)
    np.testing.assert_allclose(shift, expected, atol=1e-4)


def read_inputs(model, hookpoint, added):
    """What the block after the locked layer is given, when a vector is added at the hookpoint."""
    seen = []
    handles = [
        dict(model.base_model.named_modules())[hookpoint].register_forward_hook(
            lambda module, args, output: output + added
        ),
        model.model.layers[LAYER].register_forward_pre_hook(
            lambda module, args: seen.append(args[0].detach())
        ),
    ]
    with torch.no_grad():
        model(torch.tensor([[1, 5, 6, 7]]))
    for handle in handles:
        handle.remove()
    return seen[0]


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", *BLOCK_LISTS])
def test_hookpoints_are_blocks_of_the_base_model(kind, vectors, tmp_path):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 9}
    if kind == "gpt_neo":
        sizes |= {"num_layers": 3, "attention_types": [[["global"], 3]]}
        del sizes["num_hidden_layers"]
    config = AutoConfig.for_model(kind, **sizes)
    model = AutoModelForCausalLM.from_config(config)
    own = LockedVectors(**{**vars(vectors), "model": kind})
    (hookpoint,) = torch.load(FORMATS["lm-eval"](own, tmp_path, None)[0], weights_only=True)
    assert hookpoint in dict(model.base_model.named_modules())


@pytest.fixture
def finished(tmp_path):
    """A finished study of one figure: a plan whose entries lie in a store."""
    study = parse_study(STUDY)
    plan = Plan(study, tmp_path / "store")
    drift = plan.add("drift", {}, label="all checkpoints", code=["emodrift.errors"])
    tables = make_tables()
    tables["drift"]["seen"] = [[k] for k in tables["drift"]["checkpoint"]]
    with write_entry(plan.store / drift.place, {"stage": "drift"}) as out:
        for name in STAGES["drift"]:
            write_table(tables[name], out, name)
    scene = {"reference": REFERENCE, "bundles": BUNDLES, "sound": SOUND}
    params = {"name": "drift", "figure": "drift_trajectories", "scene": scene}
    figure = Entry("figure", "f", params, {"tables": {"drift": drift}}, label="drift")
    plan.entries[figure.place] = figure
    plan.publication = Entry("publication", "p", {}, {"tables": {"drift": drift}})
    return plan, drift


def test_tables_are_copied_and_described(finished, tmp_path):
    plan, drift = finished
    out = tmp_path / "tables"
    export_tables("tiny", [drift], plan.store, out)
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "drift.parquet"),
        pd.read_parquet(plan.store / drift.place / "drift.parquet"),
    )
    about = json.loads((out / "croissant.json").read_text())
    fields = {f["name"]: f for group in about["recordSet"] for f in group["field"]}
    assert fields["drift/cosine"]["dataType"] == "sc:Float"
    assert fields["drift/step"]["dataType"] == "sc:Integer"
    assert fields["drift/run"]["dataType"] == "sc:Text"
    assert fields["drift/seen"]["repeated"] and fields["drift/seen"]["dataType"] == "sc:Integer"


def test_a_study_that_has_not_run_has_no_tables(finished, tmp_path):
    plan, _ = finished
    with pytest.raises(EmodriftError, match="tiny has no tables yet; run it first"):
        export_tables("tiny", [Entry("drift", "none", {})], plan.store, tmp_path / "t")


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_figures_are_drawn_from_a_bundle_where_there_is_no_store(finished, tmp_path, name):
    plan, _ = finished
    bundle = write_bundle(plan, tmp_path / name)
    assert zipfile.is_zipfile(bundle) == name.endswith("zip")
    plan.store.rename(tmp_path / "gone")
    drawn = draw_bundle(bundle, tmp_path / "figures", width=5)
    assert {p.name for p in drawn} == {
        f"drift.{suffix}" for suffix in ("pdf", "svg", "png", "csv", "json")
    }
    table = pd.read_csv(tmp_path / "figures" / "drift.csv")
    whole = make_tables()["drift"].query("kind == 'emotion'")
    assert set(table["concept"]) >= set(whole["concept"])
    with open_bundle(bundle) as folder:
        values = yaml.safe_load((folder / "config.yaml").read_text())
        assert parse_study(values) == plan.study


def test_a_bundle_that_was_changed_is_refused(finished, tmp_path):
    plan, drift = finished
    bundle = write_bundle(plan, tmp_path / "bundle")
    (bundle / "store" / drift.place / "drift.parquet").write_bytes(b"other numbers")
    assert check_bundle(bundle) == [f"{drift.place}: drift.parquet"]
    with pytest.raises(EmodriftError, match=r"damaged: drift/.*drift\.parquet"):
        draw_bundle(bundle, tmp_path / "figures")


def test_an_unfinished_study_makes_no_bundle(finished, tmp_path):
    plan, drift = finished
    (plan.store / drift.place / "manifest.json").unlink()
    with pytest.raises(EmodriftError, match="drift of all checkpoints is missing"):
        write_bundle(plan, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_bundle_is_told(tmp_path):
    with pytest.raises(EmodriftError, match=r"is no bundle \(no bundle.json in it\)"):
        draw_bundle(tmp_path, tmp_path / "figures")
