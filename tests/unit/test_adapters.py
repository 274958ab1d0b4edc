"""Adapters are merged exactly as peft applies them, or refused."""

import json

import pytest
import torch

from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.config.runs import Run
from emodrift.errors import EmodriftError
from emodrift.models.loading import load_model
from emodrift.store.memory import FileDigests
from tests.adapters import save_adapter
from tests.conftest import save_checkpoint

LOADING = {"device": "cpu", "allow_pickle": False}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("base") / "model", seed=0, step=0)


def find(folder, tmp_path, **source):
    run = Run.model_validate({"checkpoints": {"path": str(folder), "step": 1, **source}})
    return list_checkpoints("lora", run, FileDigests(tmp_path / "memo.json"))[0]


def load(checkpoint):
    return load_model(checkpoint.location, LOADING, "float32", checkpoint.label)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modules_to_save": ["lm_head", "embed_tokens"]},
        {"trainable_token_indices": [3, 4]},
        {"use_dora": True},
    ],
    ids=["plain", "saved modules", "trained tokens", "dora"],
)
def test_a_merged_adapter_answers_as_peft_does(base, tmp_path, settings):
    expected = save_adapter(tmp_path / "adapter", base, 1, **settings)
    model = load(find(tmp_path / "adapter", tmp_path))
    with torch.inference_mode():
        logits = model.network(torch.arange(1, 9)[None]).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert not [n for n, _ in model.network.named_modules() if "lora" in n]


def test_tokens_added_for_training_lengthen_the_base_and_come_with_their_tokenizer(base, tmp_path):
    expected = save_adapter(tmp_path / "adapter", base, 1, added_tokens=3, template="{{ 1 }}")
    model = load(find(tmp_path / "adapter", tmp_path))
    with torch.inference_mode():
        logits = model.network(torch.arange(1, 9)[None]).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert len(model.tokenizer) == expected.shape[-1]
    assert model.tokenizer.convert_tokens_to_ids("<added 2>") == len(model.tokenizer) - 1
    assert model.tokenizer.chat_template == "{{ 1 }}"


def test_an_adapter_without_a_tokenizer_takes_its_bases(base, tmp_path):
    save_adapter(tmp_path / "adapter", base, 1)
    tokenizer = load(find(tmp_path / "adapter", tmp_path)).tokenizer
    assert (
        tokenizer("happy")["input_ids"]
        == load(find(base, tmp_path)).tokenizer("happy")["input_ids"]
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"layers": 2}, "layers.2.self_attn.q_proj.lora_A.weight of the adapter .* has no place"),
        ({"layers": 4}, "does not fit its base model .*missing adapter keys"),
        ({"hidden": 64}, "does not fit its base model"),
    ],
)
def test_an_adapter_of_another_model_is_refused(tmp_path, shape, message):
    other = save_checkpoint(tmp_path / "other", seed=0, step=0, **shape)
    save_adapter(tmp_path / "adapter", other, 1)
    with pytest.raises(EmodriftError, match=f"lora step 1: .*{message}"):
        load(find(tmp_path / "adapter", tmp_path))


def test_adapters_that_cannot_be_merged_or_lack_a_base_are_refused_before_loading(base, tmp_path):
    save_adapter(tmp_path / "adapter", base, 1)
    file = tmp_path / "adapter/adapter_config.json"
    config = json.loads(file.read_text())
    for change, message in (
        ({"peft_type": "PREFIX_TUNING"}, "of type PREFIX_TUNING, which adds a prompt"),
        ({"base_model_name_or_path": None}, "names no base; set `base`"),
        (
            {"base_model_name_or_path": "/gone/away/base"},
            "'/gone/away/base' is neither a directory",
        ),
    ):
        file.write_text(json.dumps(config | change))
        with pytest.raises(EmodriftError, match=message):
            find(tmp_path / "adapter", tmp_path)


def test_a_folder_with_both_is_an_adapter_unless_the_config_says_otherwise(base, tmp_path):
    save_adapter(tmp_path / "both", base, 1)
    save_checkpoint(tmp_path / "both", seed=9, step=1)
    adapter = find(tmp_path / "both", tmp_path)
    whole = find(tmp_path / "both", tmp_path, adapter=False)
    assert "base" in adapter.location and "base" not in whole.location
    assert adapter.digest != whole.digest
    with pytest.raises(EmodriftError, match=r"is no checkpoint \(no adapter_config\.json"):
        find(base, tmp_path, adapter=True)
