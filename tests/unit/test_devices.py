"""Models run where the config says, spread over devices if it says so, and to the last bit."""

import copy
import os

import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from transformers import AutoModelForCausalLM

from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import sample_stories
from emodrift.measure.activations import extract_part
from emodrift.models import loading
from emodrift.models.devices import choose_device, choose_dtype
from emodrift.models.loading import load_model, verify_network
from emodrift.models.residual import predict_from, record_residual, resume_residual, steer_residual
from emodrift.organisms.tokenizer import build_tokenizer
from tests.conftest import STUDY, save_checkpoint
from tests.families import build_model, build_network

LOADING = {"device": "cpu", "allow_pickle": False}


@pytest.mark.parametrize(
    ("seen", "device", "expected"),
    [
        (0, "auto", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda:1", "cuda:1"),
        (2, "balanced", "cuda"),
    ],
)
def test_the_device_is_the_one_that_the_key_names(seen, device, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    assert str(choose_device(device)) == expected


@pytest.mark.parametrize(
    ("seen", "device", "found"),
    [(0, "cuda", "no GPUs"), (1, "cuda:1", "1 GPU;"), (0, "balanced", "no GPUs")],
)
def test_a_gpu_that_is_not_there_is_named(seen, device, found, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: seen)
    with pytest.raises(EmodriftError, match=rf"compute.device is '{device}' .*{found}.*set cpu"):
        choose_device(device)


def test_a_device_that_no_one_knows_is_refused_before_anything_runs():
    with pytest.raises(EmodriftError, match=r"compute\.device"):
        parse_study({**STUDY, "compute": {"device": "gpu"}})


def test_the_data_type_is_single_on_a_cpu_and_as_saved_on_a_gpu():
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == "auto"
    assert choose_dtype("bfloat16", torch.device("cpu")) is torch.bfloat16


PLACES = {
    "llama": {
        "model.embed_tokens": "disk",
        "model.layers.0": "cpu",
        "model.layers.1": "disk",
        "model.layers.2": "cpu",
        "model.layers.3": "disk",
        "model.norm": "cpu",
        "model.rotary_emb": "cpu",
        "lm_head": "disk",
    },
    "gpt2": {
        "transformer.wte": "cpu",
        "transformer.wpe": "disk",
        "transformer.h.0": "disk",
        "transformer.h.1": "cpu",
        "transformer.h.2": "disk",
        "transformer.h.3": "disk",
        "transformer.ln_f": "disk",
        "lm_head": "cpu",
    },
}


@pytest.mark.parametrize("kind", PLACES)
@torch.inference_mode()
def test_a_model_in_pieces_is_read_steered_and_resumed_like_a_whole_one(kind, tmp_path):
    whole = build_model(kind)
    network = dispatch_model(
        copy.deepcopy(build_network(kind)), PLACES[kind], "cpu", offload_dir=str(tmp_path)
    )
    blocks = network.base_model.h if kind == "gpt2" else network.base_model.layers
    assert any(p.is_meta for block in blocks for p in block.parameters())
    model = verify_network(network, build_tokenizer(), kind)
    assert model.resumes and model.device == torch.device("cpu")

    stories = sample_stories(0, 2)
    reading = {"pooling": "mean", "from_token": 4}
    expected = extract_part(whole, stories, reading, 150, "x").values
    np.testing.assert_allclose(
        extract_part(model, stories, reading, 150, "x").values, expected, rtol=1e-5, atol=1e-6
    )
    ids = torch.tensor([[1, 9, 30, 12]])
    vector = torch.linspace(-1, 1, 32)
    for layer in (0, 2, 4):
        with steer_residual(whole, layer, vector), record_residual(whole) as states:
            logits = whole.network(ids, use_cache=False).logits
        with steer_residual(model, layer, vector), record_residual(model) as residual:
            torch.testing.assert_close(model.network(ids, use_cache=False).logits, logits)
        torch.testing.assert_close(residual[4], states[4])
        torch.testing.assert_close(predict_from(model, states[4]), logits)
        if layer:
            with resume_residual(model, layer, residual[layer]):
                torch.testing.assert_close(model.network(ids, use_cache=False).logits, logits)
    forwards = [vars(block)["forward"] for block in model.blocks]
    assert all(forward.func.__name__ == "new_forward" for forward in forwards)


def test_a_checkpoint_is_loaded_onto_a_device_map(tmp_path, monkeypatch):
    folder = save_checkpoint(tmp_path / "checkpoint-1", seed=0, step=1)
    whole = load_model({"path": str(folder)}, LOADING, "float32", "x")
    monkeypatch.setattr(loading, "choose_device", lambda _device: torch.device("cpu"))
    read, asked = AutoModelForCausalLM.from_pretrained, []
    places = {name: place for name, place in PLACES["llama"].items() if name != "model.layers.3"}

    def read_in_pieces(*where, device_map, **options):
        asked.append(device_map)
        return read(*where, device_map=places, offload_folder=tmp_path / "off", **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read_in_pieces)
    spread = load_model(
        {"path": str(folder)}, LOADING | {"device": "balanced"}, "float32", "sft step 1"
    )
    assert asked == ["balanced"]
    assert any(p.is_meta for p in spread.network.parameters())
    ids = torch.tensor([[1, 9, 30]])
    torch.testing.assert_close(spread.network(ids).logits, whole.network(ids).logits)


@pytest.fixture
def flags(monkeypatch):
    """Torch's flags as they were, put back afterwards."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    backends = (
        (torch.backends.cudnn, ("benchmark", "deterministic", "allow_tf32")),
        (torch.backends.cuda.matmul, ("allow_tf32",)),
    )
    before = [(owner, name, getattr(owner, name)) for owner, names in backends for name in names]
    yield
    torch.use_deterministic_algorithms(False)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    for owner, name, value in before:
        setattr(owner, name, value)


@pytest.mark.usefixtures("flags")
def test_the_switch_rules_out_algorithms_that_vary_and_leaves_results_alone(tmp_path):
    folder = save_checkpoint(tmp_path / "checkpoint-1", seed=0, step=1)
    reading = {"pooling": "mean", "from_token": 4}
    results = []
    for deterministic in (False, True):
        model = load_model(
            {"path": str(folder)}, LOADING | {"deterministic": deterministic}, "float32", "x"
        )
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        results.append(extract_part(model, sample_stories(0, 2), reading, 150, "x").values)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
