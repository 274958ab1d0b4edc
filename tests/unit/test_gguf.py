"""A GGUF file is a checkpoint: found, identified, loaded, adapted and saved."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.cli import main
from emodrift.cli.finding import list_hub_checkpoints
from emodrift.config.reading import read_study
from emodrift.config.runs import Run
from emodrift.errors import EmodriftError
from emodrift.models.gguf import save_plain
from emodrift.models.loading import load_model, load_network
from emodrift.store.memory import FileDigests
from tests.conftest import save_checkpoint
from tests.gguf_files import TEMPLATE, build_llama, write_gguf

LOADING = {"device": "cpu", "allow_pickle": False}
PROMPT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Files of one model: whole, in eight bits, and what is no model or broken."""
    root = tmp_path_factory.mktemp("gguf")
    network = build_llama(0)
    write_gguf(root / "tiny.gguf", network)
    write_gguf(root / "tiny-q8.gguf", network, "Q8_0")
    write_gguf(root / "mute.gguf", network, tokenizer=False)
    write_gguf(root / "projector.gguf", network, kind_of_file="mmproj")
    whole = (root / "tiny.gguf").read_bytes()
    (root / "cut.gguf").write_bytes(whole[:-100])
    (root / "head.gguf").write_bytes(whole[:500])
    (root / "other.gguf").write_bytes(b"PK" + whole[2:])
    return root


def list_run(source, tmp_path):
    run = Run(checkpoints=source)
    return list_checkpoints("sft", run, FileDigests(tmp_path / "memo"))


def answer(network, tokenizer):
    with torch.no_grad():
        return network(**tokenizer(PROMPT, return_tensors="pt")).logits


@pytest.mark.parametrize(("file", "tolerance"), [("tiny.gguf", 1e-5), ("tiny-q8.gguf", 0.2)])
def test_a_file_answers_as_the_model_it_was_made_of(place, file, tolerance):
    network, tokenizer = load_network({"path": str(place / file)}, LOADING, "auto", "tiny")
    wanted = answer(build_llama(0), tokenizer)
    assert network.dtype == torch.float32
    assert (answer(network, tokenizer) - wanted).abs().max() < tolerance * wanted.std()
    assert tokenizer.decode(tokenizer(PROMPT)["input_ids"]) == PROMPT
    assert tokenizer.chat_template == TEMPLATE


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (4, r"no weight model\.layers\.3\.\S+ and 8 more that its head \(LlamaForCausalLM\)"),
        (2, r"LlamaForCausalLM of the checkpoint's head has no place for weight blk\.2\."),
    ],
    ids=["missing", "left over"],
)
def test_a_file_whose_head_asks_for_other_weights_than_it_holds_is_refused(
    tmp_path, blocks, message
):
    file = write_gguf(tmp_path / "odd.gguf", build_llama(0), blocks=blocks)
    with pytest.raises(EmodriftError, match=message):
        load_network({"path": str(file)}, LOADING, "auto", "tiny")


def test_a_file_without_the_read_out_ties_it_to_the_embedding(tmp_path):
    network = build_llama(0)
    network.lm_head.weight = network.model.embed_tokens.weight
    whole = network.state_dict()
    network.state_dict = lambda: {n: w for n, w in whole.items() if n != "lm_head.weight"}
    file = write_gguf(tmp_path / "tied.gguf", network)
    loaded, _ = load_network({"path": str(file)}, LOADING, "auto", "tiny")
    assert torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)


def test_a_file_is_verified_like_any_checkpoint(place):
    model = load_model({"path": str(place / "tiny.gguf")}, LOADING, "auto", "tiny")
    assert len(model.blocks) == 3


def test_random_weights_take_a_files_shape(place):
    location = {"path": str(place / "tiny.gguf"), "initialise": 4}
    network, _ = load_network(location, LOADING, "auto", "tiny")
    assert network.config.num_hidden_layers == 3 and network.config.hidden_size == 64


def test_the_location_says_what_was_dequantised(place, tmp_path):
    plain, quantised = (
        list_run(str(place / f), tmp_path)[0] for f in ("tiny.gguf", "tiny-q8.gguf")
    )
    assert plain.location == {"path": str(place / "tiny.gguf")}
    assert quantised.location == {"path": str(place / "tiny-q8.gguf"), "dequantised": "Q8_0"}
    assert (quantised.hidden, quantised.layers, quantised.step) == (64, 3, 0)


def test_identity_is_the_files_bytes_and_not_its_name(place, tmp_path):
    shutil.copy(place / "tiny.gguf", tmp_path / "checkpoint-7.gguf")
    (first,), (copy,), (other,) = (
        list_run(str(p), tmp_path)
        for p in (place / "tiny.gguf", tmp_path / "checkpoint-7.gguf", place / "tiny-q8.gguf")
    )
    assert first.digest == copy.digest != other.digest
    assert copy.step == 7


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("mute.gguf", "holds no tokenizer"),
        ("projector.gguf", "holds no language model"),
        ("cut.gguf", "copy it again"),
        ("head.gguf", "is cut off; copy it again"),
        ("other.gguf", "is not a GGUF file"),
        ("none.gguf", "no directory matches"),
    ],
)
def test_what_is_no_model_is_one_line_before_loading(place, tmp_path, file, message):
    with pytest.raises(EmodriftError, match=message) as error:
        list_run(str(place / file), tmp_path)
    assert str(error.value).startswith("runs.sft.checkpoints: ")
    assert "\n" not in str(error.value)


def test_a_model_read_from_a_file_is_saved_as_an_ordinary_one(place, tmp_path):
    location = {"path": str(place / "tiny-q8.gguf")}
    network, tokenizer = load_network(location, LOADING, "auto", "tiny")
    save_plain(network, tokenizer, tmp_path / "plain")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert not hasattr(again.config, "quantization_config")
    tokens = AutoTokenizer.from_pretrained(tmp_path / "plain")
    assert torch.equal(answer(again, tokens), answer(network, tokenizer))
    assert tokens.chat_template == TEMPLATE


def save_lora(folder, network, base):
    """A LoRA of a network that carries a base's name; what the adapted model answers."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    adapted = get_peft_model(
        network, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(folder, save_embedding_layers=False)
    return adapted


def test_an_adapter_merges_into_a_file(place, tmp_path):
    adapted = save_lora(tmp_path / "lora", build_llama(0), place / "tiny.gguf")
    (checkpoint,) = list_run({"path": str(tmp_path / "lora"), "step": 1}, tmp_path)
    assert checkpoint.location["base"] == {"path": str(place / "tiny.gguf")}
    network, tokenizer = load_network(checkpoint.location, LOADING, "auto", "lora")
    with torch.no_grad():
        torch.testing.assert_close(
            answer(network, tokenizer), answer(adapted, tokenizer), rtol=0, atol=1e-4
        )


def test_discovery_names_a_file_and_writes_its_study(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    file = place / "tiny-q8.gguf"
    assert main(["discover", str(file), "--write", "mine.yaml"]) == 0
    assert "full, dequantised Q8_0" in capsys.readouterr().out
    study = read_study(tmp_path / "mine.yaml")
    assert list(study.runs) == ["tiny-q8"] and study.reference.step == 0
    assert [c.location["path"] for c in list_hub_checkpoints(study)] == [str(file)]


def test_a_folder_of_adapters_starts_with_its_base_as_the_reference(
    place, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for step in (10, 20):
        save_lora(tmp_path / f"lora/checkpoint-{step}", build_llama(0), place / "tiny.gguf")
    save_lora(tmp_path / "single", build_llama(0), place / "tiny.gguf")
    for folder, steps in (("lora", [0, 10, 20]), ("single", [0, 1])):
        assert main(["discover", folder, "--write", f"{folder}.yaml"]) == 0
        study = read_study(tmp_path / f"{folder}.yaml")
        listed = list_hub_checkpoints(study)
        assert [c.step for c in listed] == steps
        assert listed[0].location == {"path": str(place / "tiny.gguf")}
        assert (study.reference.run, study.reference.step) == (folder, 0)


def test_files_beside_a_checkpoint_are_copies_of_it(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "model", seed=0, step=0)
    shutil.copy(place / "tiny.gguf", tmp_path / "model")
    assert main(["discover", "model"]) == 0
    assert "model: 1 checkpoint" in capsys.readouterr().out
    (tmp_path / "files").mkdir()
    shutil.copy(place / "tiny.gguf", tmp_path / "files/step-5.gguf")
    shutil.copy(place / "tiny-q8.gguf", tmp_path / "files/step-9.gguf")
    assert main(["discover", "files", "--write", "files.yaml"]) == 0
    assert [c.step for c in list_hub_checkpoints(read_study(tmp_path / "files.yaml"))] == [5, 9]
