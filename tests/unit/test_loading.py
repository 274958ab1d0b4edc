"""What is measured is the checkpoint's own: no weight drawn at random, no code of its own run."""

import ast
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from emodrift.errors import EmodriftError
from emodrift.models.loading import load_model, load_network
from emodrift.models.weights import check_loaded
from emodrift.organisms.tokenizer import build_tokenizer
from tests.adapters import save_adapter
from tests.conftest import ROOT, make_llama, save_checkpoint
from tests.families import FAMILIES, build_network

LOADING = {"device": "cpu", "allow_pickle": False}
QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("sound") / "checkpoint-1", seed=0, step=1)


@pytest.fixture
def checkpoint(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "checkpoint-1")


def edit_weights(folder, change):
    file = folder / ("adapter_model" if "adapter" in folder.name else "model")
    file = file.with_suffix(".safetensors")
    weights = load_file(file)
    save_file(change(weights), file, metadata={"format": "pt"})


def edit_json(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def load(folder, **location):
    return load_network({"path": str(folder), **location}, LOADING, "float32", "sft step 1")[0]


def refuse(folder, message, **location):
    with pytest.raises(EmodriftError, match=message) as found:
        load(folder, **location)
    assert str(found.value).startswith("sft step 1: ")
    assert "\n" not in str(found.value) and len(str(found.value)) < 500


def test_a_missing_weight_is_named_and_not_drawn_at_random(checkpoint):
    edit_weights(checkpoint, lambda w: {n: t for n, t in w.items() if n != QUERY})
    refuse(checkpoint, f"has no weight {QUERY} that its config.json .LlamaForCausalLM. asks for")


def test_weights_that_are_all_renamed_are_missing(checkpoint):
    edit_weights(checkpoint, lambda w: {f"trunk.{n}": t for n, t in w.items()})
    refuse(checkpoint, r"has no weight lm_head\.weight and \d+ more")


def test_more_layers_in_the_config_than_in_the_weights_are_refused(checkpoint):
    edit_json(checkpoint / "config.json", num_hidden_layers=5)
    refuse(checkpoint, r"has no weight model\.layers\.3\..* and 17 more")


def test_fewer_layers_in_the_config_than_in_the_weights_are_refused(checkpoint):
    edit_json(checkpoint / "config.json", num_hidden_layers=2)
    refuse(checkpoint, r"has no place for weight model\.layers\.2\..* and 8 more")


@pytest.mark.parametrize("kind", ["bert", "gpt2", "gpt_neox", "qwen3"])
def test_the_config_of_another_architecture_is_refused(checkpoint, kind):
    edit_json(checkpoint / "config.json", model_type=kind, architectures=None)
    refuse(checkpoint, r"has no weight|has shape|has no place")


@pytest.mark.parametrize(("key", "value"), [("vocab_size", 999), ("intermediate_size", 48)])
def test_a_weight_of_another_shape_than_the_config_says_is_refused(checkpoint, key, value):
    edit_json(checkpoint / "config.json", **{key: value})
    refuse(checkpoint, rf"weight [a-z_.0-9]+ has shape \(.*\), but \(.*{value}.*\) by the")


def test_unknown_architectures_are_one_line(checkpoint):
    edit_json(checkpoint / "config.json", model_type="nothing", architectures=["Nothing"])
    refuse(checkpoint, "cannot be loaded .ValueError: .*nothing")


@pytest.mark.parametrize("size", [0, 4, 100, 5000])
def test_truncated_weights_are_one_line(checkpoint, size):
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    refuse(checkpoint, "cannot be loaded")


def test_weights_that_are_tied_need_not_be_there(checkpoint):
    network, _ = make_llama(0)
    network.config.tie_word_embeddings = True
    network.tie_weights()
    network.save_pretrained(checkpoint)
    assert "lm_head.weight" not in load_file(checkpoint / "model.safetensors")
    loaded = load(checkpoint)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_a_head_that_no_text_passes_may_be_left_over(checkpoint):
    edit_weights(checkpoint, lambda w: w | {"v_head.summary.weight": torch.ones(1, 32)})
    load(checkpoint)


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_is_found_whole_when_it_is_loaded(kind, tmp_path):
    build_network(kind).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    loaded = load(tmp_path).state_dict()
    for name, weight in build_network(kind).state_dict().items():
        assert torch.equal(loaded[name], weight), name


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused(checkpoint):
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(checkpoint)
    size = len(tokenizer) - 1
    refuse(checkpoint, f"the tokenizer has token id {size} .* but the embedding only {size} rows")


def test_a_spare_special_token_beyond_the_embedding_is_let_pass_until_it_has_a_part(checkpoint):
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<|spare|>"], special_tokens=True)
    tokenizer.save_pretrained(checkpoint)
    load(checkpoint)
    tokenizer.pad_token = "<|spare|>"
    tokenizer.save_pretrained(checkpoint)
    refuse(checkpoint, "the tokenizer has token id .*spare")
    tokenizer.pad_token, tokenizer.chat_template = "<pad>", "<|spare|>{{ messages[0].content }}"
    tokenizer.save_pretrained(checkpoint)
    refuse(checkpoint, "the tokenizer has token id .*spare")


def test_a_broken_tokenizer_is_one_line(checkpoint):
    (checkpoint / "tokenizer.json").write_text('{"model": {}}')
    refuse(checkpoint, "cannot be loaded")


@pytest.fixture
def adapter(sound, tmp_path):
    save_adapter(tmp_path / "adapter", sound, 1)
    return tmp_path / "adapter"


def test_a_missing_weight_of_an_adapter_is_refused(sound, adapter):
    edit_weights(adapter, lambda w: dict(sorted(w.items())[1:]))
    refuse(adapter, "does not fit its base model .*missing adapter keys", base={"path": str(sound)})


def test_renamed_weights_of_an_adapter_are_refused(sound, adapter):
    edit_weights(adapter, lambda w: {f"trunk.{n}": t for n, t in w.items()})
    refuse(adapter, "does not fit its base model", base={"path": str(sound)})


@pytest.mark.parametrize(
    "changes",
    [{"peft_type": "NOTHING"}, {"target_modules": ["none"]}, {"r": 3}, {"r": "two"}],
    ids=str,
)
def test_a_config_that_does_not_go_with_an_adapter_is_one_line(sound, adapter, changes):
    edit_json(adapter / "adapter_config.json", **changes)
    refuse(adapter, "does not fit its base model", base={"path": str(sound)})


def test_a_network_that_is_drawn_afresh_needs_no_weights_of_its_own(checkpoint):
    one, other = (load(checkpoint, initialise=seed).lm_head.weight for seed in (1, 2))
    assert not torch.equal(one, other)


PLANTED = """
from pathlib import Path
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
Path({witness!r}).write_text("ran")
class Config(PretrainedConfig):
    model_type = "planted"
class Model(PreTrainedModel):
    config_class = Config
class Tokenizer(PreTrainedTokenizerFast):
    pass
"""
LOADER = """
import sys
from emodrift.errors import EmodriftError
from emodrift.models.loading import load_model
for path, own in (("weights", {}), ("weights", {"initialise": 1}), ("tokenizer", {})):
    location = {"path": f"{sys.argv[1]}/{path}", **own}
    try:
        load_model(location, {"device": "cpu", "allow_pickle": False}, "float32", "sft step 1")
    except EmodriftError as error:
        print("one line:", error)
"""


def test_code_that_comes_with_a_checkpoint_never_runs(sound, tmp_path):
    witness = tmp_path / "witness"
    for name in ("weights", "tokenizer"):
        shutil.copytree(sound, tmp_path / name)
        (tmp_path / name / "planted.py").write_text(PLANTED.format(witness=str(witness)))
    classes = {"AutoConfig": "planted.Config", "AutoModelForCausalLM": "planted.Model"}
    edit_json(tmp_path / "weights/config.json", model_type="planted", auto_map=classes)
    classes = {"AutoTokenizer": [None, "planted.Tokenizer"]}
    changes = {"tokenizer_class": "Tokenizer", "auto_map": classes}
    edit_json(tmp_path / "tokenizer/tokenizer_config.json", **changes)
    done = subprocess.run(
        [sys.executable, "-c", LOADER, tmp_path],
        input="y\n" * 20,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "workflow"), "HF_HOME": str(tmp_path / "hub")},
    )
    assert not witness.exists()
    assert "Traceback" not in done.stderr and "[y/N]" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(x.startswith("one line: sft step 1: ") and "code of its own" in x for x in lines)


def list_calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node


def test_every_loading_call_of_the_library_rules_out_remote_code_by_name():
    seen = 0
    for path in (ROOT / "workflow").rglob("*.py"):
        for call in list_calls(path):
            owner = getattr(call.func.value, "id", "")
            if call.func.attr not in ("from_pretrained", "from_config") or owner == "PeftModel":
                continue  # peft's own classes are all that PeftModel makes
            given = {k.arg: getattr(k.value, "value", None) for k in call.keywords}
            assert given.get("trust_remote_code") is False, f"{path.name}:{call.lineno}"
            seen += 1
    assert seen >= 6


def test_what_transformers_tells_of_loading_is_all_that_is_needed(checkpoint):
    found = {"missing_keys": {"a.0.inv_freq"}, "unexpected_keys": {"a.0.masked_bias"}}
    check_loaded(load(checkpoint), found | {"mismatched_keys": set()}, "x")


def test_a_sound_checkpoint_is_loaded_with_its_own_weights(sound):
    model = load_model({"path": str(sound)}, LOADING, "float32", "sft step 1")
    for name, weight in load_file(sound / "model.safetensors").items():
        assert torch.equal(model.network.state_dict()[name], weight)
