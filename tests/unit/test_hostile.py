"""A checkpoint, a config or a template may be anything: it is read, or refused in one line.

Nothing here loads a model: all is seen when a study is planned.
"""

import json
import logging
import os
import shutil
import struct
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from emodrift import cli
from emodrift.checkpoints import tensors
from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.checkpoints.discovery import discover
from emodrift.config.reading import parse_study, read_study
from emodrift.config.runs import Run
from emodrift.errors import EmodriftError
from emodrift.plan.study import plan_study
from emodrift.store.memory import FileDigests
from tests.adapters import save_adapter
from tests.conftest import STUDY, make_llama, save_checkpoint

DEEP = "[" * 200_000


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    save_checkpoint(root / "checkpoint-7", seed=0, step=7)
    network, tokenizer = make_llama(0)
    network.save_pretrained(root / "shards", max_shard_size="20KB")
    tokenizer.save_pretrained(root / "shards")
    save_adapter(root / "adapter", root / "checkpoint-7", 1)
    return root


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "runs")


def find(path, digests=None, **source):
    run = Run.model_validate({"checkpoints": {"path": str(path), **source}})
    digests = digests or FileDigests(path.parent / "memo.json")
    return list_checkpoints("sft", run, digests)


def refuse(message, call, *arguments, **options):
    started = time.monotonic()
    with pytest.raises(EmodriftError, match=message) as found:
        call(*arguments, **options)
    line = str(found.value)
    line.encode()  # it can be printed
    assert line.isprintable() and len(line) <= 500 and time.monotonic() - started < 60
    return line


def edit(file, change):
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


def set_keys(**keys):
    return lambda file: edit(file, lambda value: value | keys)


def write(content):
    return lambda file: file.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def make_fifo(file):
    file.unlink()
    os.mkfifo(file)


def make_dangling(file):
    file.unlink()
    file.symlink_to("nowhere")


FILES = {
    "a list": ("config.json", write("[]"), "config.json holds a list where a JSON object"),
    "a number": ("config.json", write("1"), "config.json holds a number where"),
    "not UTF-8": ("config.json", write(b"\xff\xfe{}"), "config.json is not encoded as UTF-8"),
    "nested": ("config.json", write(DEEP), "config.json is nested too deeply"),
    "empty": ("config.json", write(""), "config.json is not valid JSON"),
    "text_config": ("config.json", set_keys(text_config="big"), "text_config of .* is 'big'"),
    "no size": ("config.json", set_keys(hidden_size="32"), "gives none of hidden_size"),
    "true size": ("config.json", set_keys(hidden_size=True), "gives none of hidden_size"),
    "huge": ("config.json", set_keys(num_hidden_layers=10**30), "gives none of num_hidden_layers"),
    "log is a list": ("trainer_state.json", write("[1]"), "trainer_state.json holds a list"),
    "text step": ("trainer_state.json", set_keys(global_step="10"), "global_step of .* is '10'"),
    "half step": ("trainer_state.json", set_keys(global_step=1.5), "global_step of .* is 1.5"),
    "less tokens": ("trainer_state.json", set_keys(num_input_tokens_seen=-1), "seen of .* is -1"),
    "tokenizer": ("tokenizer.json", write("{"), "tokenizer.json is not valid JSON"),
    "its config": ("tokenizer_config.json", write("[]"), "tokenizer_config.json holds a list"),
    "fifo": ("tokenizer.json", make_fifo, "tokenizer.json is no regular file"),
    "fifo config": ("config.json", make_fifo, "config.json is no regular file"),
    "fifo weights": ("model.safetensors", make_fifo, "model.safetensors is no regular file"),
    "dangling": ("model.safetensors", make_dangling, "or a link to none"),
    "template": ("chat_template.jinja", write(b"\xff"), "is not encoded as UTF-8"),
    "long template": ("chat_template.jinja", write("a" * 2_000_000), "is too long for a chat"),
    "no weights": ("model.safetensors", write(b""), "holds 0 bytes, too few"),
    "cut header": ("model.safetensors", lambda f: write(f.read_bytes()[:99])(f), "claims a header"),
    "cut data": ("model.safetensors", lambda f: write(f.read_bytes()[:-8])(f), "bytes of weights"),
    "terabytes": (
        "model.safetensors",
        write(struct.pack("<Q", 1 << 42) + b"{}"),
        "claims a header",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_broken_file_of_a_checkpoint_is_named(folder, case):
    name, break_it, message = FILES[case]
    break_it(folder / "checkpoint-7" / name)
    line = refuse(message, find, folder / "checkpoint-7")
    assert line.startswith("runs.sft.checkpoints: ")


def test_discovery_lists_a_broken_checkpoint_beside_the_others(folder, tmp_path):
    (folder / "shards/config.json").write_text("[]")
    seen = discover(str(folder), FileDigests(tmp_path / "memo.json"))
    problems = [s.problem for series in seen for s in series.sightings if s.problem]
    assert any("holds a list where a JSON object should be" in p for p in problems)


def pack(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(shape, start, stop, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


HEADERS = {
    "no object": (b"[]", "no JSON object"),
    "no JSON": (b"{", "not valid JSON"),
    "nested": (DEEP.encode(), "not valid JSON"),
    "name": (b'{"\xff": 1}', "not encoded as UTF-8"),
    "no tensor": ({"a": 1}, "shape and bytes do not agree"),
    "claims more": ({"a": tensor([1 << 40], 0, 4 << 40)}, "holds 0 bytes of weights"),
    "shape": ({"a": tensor([2], 0, 4)}, "shape and bytes do not agree"),
    "negative": ({"a": tensor([-1], 0, -4)}, "shape and bytes do not agree"),
    "truth": ({"a": tensor([True], 0, 4)}, "shape and bytes do not agree"),
    "kind": ({"a": tensor([1], 0, 4, "F99")}, "unknown data type F99"),
    "overlap": ({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, "another one's bytes"),
    "gap": ({"a": tensor([1], 4, 8)}, "another one's bytes"),
    "long name": ({"a" * 9999: tensor([2], 0, 4)}, "shape and bytes do not agree"),
    "nothing": ({"__metadata__": {"format": "pt"}}, "without any weights"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_cannot_be_right_is_refused(folder, case):
    header, message = HEADERS[case]
    (folder / "checkpoint-7/model.safetensors").write_bytes(pack(header))
    refuse(message, find, folder / "checkpoint-7")


def test_headers_are_read_as_safetensors_writes_them(sound, tmp_path):
    kinds = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.uint8]
    kinds += [torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]
    saved = {f"w{i}": torch.zeros(3, i).to(kind) for i, kind in enumerate(kinds)}
    save_file(saved, tmp_path / "all.safetensors")
    read = tensors.read_header(tmp_path / "all.safetensors")
    assert {n: t.shape for n, t in read.items()} == {n: tuple(t.shape) for n, t in saved.items()}
    weights = load_file(sound / "checkpoint-7/model.safetensors")
    read = tensors.read_header(sound / "checkpoint-7/model.safetensors")
    assert {n: t.shape for n, t in read.items()} == {n: tuple(t.shape) for n, t in weights.items()}


INDEX = "model.safetensors.index.json"
SHARDS = {
    "no index": (
        lambda file: file.unlink(),
        "in [0-9]+ shards and no model.safetensors.index.json",
    ),
    "no object": (write("[]"), "holds a list"),
    "no map": (set_keys(weight_map=[1]), "no `weight_map` from weights to shards"),
    "odd shard": (set_keys(weight_map={"a": 1}), "no `weight_map` from weights to shards"),
    "elsewhere": (set_keys(weight_map={"a": "../../x"}), "lacks ../../x"),
}


@pytest.mark.parametrize("case", SHARDS)
def test_shards_and_their_index_belong_together(folder, case):
    break_it, message = SHARDS[case]
    break_it(folder / "shards" / INDEX)
    refuse(message, find, folder / "shards", step=1)


def test_a_weight_that_its_index_places_in_another_shard_is_named(folder):
    index = folder / "shards" / INDEX
    first, *_, last = sorted(json.loads(index.read_text())["weight_map"].values())
    edit(index, lambda v: v | {"weight_map": {n: last for n in v["weight_map"]}})
    refuse("places weight .* which does not hold it", find, folder / "shards", step=1)
    assert first != last


ADAPTERS = {
    "a list": (write("[]"), "holds a list"),
    "base": (set_keys(base_model_name_or_path=5), "names its base as 5"),
    "revision": (set_keys(revision=[1]), r"revision \[1\]"),
    "home": (
        set_keys(base_model_name_or_path="~no-such-person/x"),
        "a home that is not on this machine",
    ),
    "zero": (set_keys(base_model_name_or_path="a\0b"), "holds a zero byte"),
    "megatron": (set_keys(megatron_config={"a": 1}), "whose code would be run"),
    "prompt": (set_keys(peft_type="PROMPT_TUNING"), "adds a prompt"),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_a_broken_config_of_an_adapter_is_named(folder, case):
    break_it, message = ADAPTERS[case]
    break_it(folder / "adapter/adapter_config.json")
    refuse(message, find, folder / "adapter", step=1)


def test_names_that_are_not_encoded_as_utf_8_can_be_told(folder):
    odd = os.fsdecode(b"checkpoint-\xff\xfe-9")
    (folder / "checkpoint-7").rename(folder / odd)
    (folder / odd / "config.json").write_text("[]")
    refuse("checkpoint-.*-9/config.json holds a list", find, folder / odd)
    (folder / odd / "config.json").unlink()
    (folder / odd / os.fsdecode(b"tokenizer\xff.json")).write_text("{}")
    refuse("is no checkpoint", find, folder / odd)


def test_a_long_error_keeps_its_key_and_its_fix():
    error = EmodriftError(f"runs.sft: {'x' * 9999}; copy it again")
    assert str(error).startswith("runs.sft: xx") and str(error).endswith("xx; copy it again")
    assert len(str(error)) == 500


def test_a_folder_with_a_tokenizers_name_is_no_part_of_a_checkpoint(folder):
    before = find(folder / "checkpoint-7")[0].digest
    (folder / "checkpoint-7/tokenizer_old").mkdir()
    assert find(folder / "checkpoint-7")[0].digest == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("~no-such-person/runs/*", "a home that is not on this machine"),
        ("runs/\0", "holds a zero byte"),
        ("x" * 5000, "no directory matches"),
    ],
)
def test_paths_that_cannot_be_are_one_line(tmp_path, path, message):
    run = Run.model_validate({"checkpoints": {"path": path}})
    refuse(message, list_checkpoints, "sft", run, FileDigests(tmp_path / "memo.json"))


def test_weights_behind_a_link_are_followed_and_said_so_once(folder, tmp_path, caplog):
    blob = tmp_path / "blob"
    (folder / "checkpoint-7/model.safetensors").rename(blob)
    (folder / "checkpoint-7/model.safetensors").symlink_to(blob)
    digests = FileDigests(tmp_path / "memo.json")
    with caplog.at_level(logging.WARNING):
        find(folder / "checkpoint-7", digests)
        find(folder / "checkpoint-7", digests)
    (record,) = caplog.records
    assert f"is a link to {blob} outside its folder, and is followed" in record.message


def test_files_that_were_found_in_order_are_not_read_again(folder, tmp_path, monkeypatch):
    find(folder / "checkpoint-7", digests := FileDigests(tmp_path / "memo.json"))
    digests.save()
    monkeypatch.setattr(tensors, "read_header", None)
    find(folder / "checkpoint-7", FileDigests(tmp_path / "memo.json"))
    assert json.loads((tmp_path / "memo.json").read_text())


def study(**changes):
    return {**STUDY, **changes}


def source(**changes):
    return study(runs={"sft": {"checkpoints": {"repo": "a/b", **changes}}})


CONFIGS = {
    "contrasts text": (study(contrasts="stories"), "contrasts: "),
    "contrasts list": (study(contrasts=["stories"]), "contrasts: "),
    "behaviours text": (study(behaviours="refusal"), "behaviours: "),
    "behaviours number": (study(behaviours=3), "behaviours: "),
    "bundles list": (study(contrasts={"bundles": ["a"]}), "contrasts.bundles: "),
    "wide step": (source(revision="{step:>99999999999}", steps=[1]), "cannot be filled in"),
    "padded step": (source(revision="{step:0999}", steps=[1]), "cannot be filled in"),
    "indexed step": (source(revision="{step[0]}", steps=[1]), "cannot be filled in"),
    "attribute": (source(revision="{step.real}", steps=[1]), "cannot be filled in"),
    "conversion": (source(revision="{step!r}", steps=[1]), "cannot be filled in"),
    "nested": (source(revision="{step:{tokens}}", steps=[1]), "cannot be filled in"),
    "open": (source(revision="{step", steps=[1]), "cannot be filled in"),
    "directions": (study(steering={"random_directions": 10**12}), "random_directions: "),
    "long key": (study(**{"k" * 10_000: 1}), "unknown key"),
    "odd key": (study(**{"a\nb\x1b[31m": 1}), "unknown key"),
    "long value": (study(seed="s" * 10_000), "seed: "),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_cannot_be_is_one_line_with_its_key(case):
    values, message = CONFIGS[case]
    refuse(message, parse_study, values, "study.yaml")


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path):
    values = study(contrasts=STUDY["contrasts"] | {"replies": str(tmp_path)})
    refuse(r"contrasts\.replies: .* names a folder", plan_study, parse_study(values), tmp_path)


def test_padded_steps_are_still_filled_in():
    run = parse_study(source(revision="step{step:03d}-{step:02}", steps=[1])).runs["sft"]
    assert run.checkpoints[0].revision.format(step=1) == "step001-01"


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"a: [", DEEP.encode()[:20_000], b"a: *b", b"!!python/object:os.system x"],
)
def test_a_file_that_is_no_config_is_one_line(tmp_path, content):
    (tmp_path / "study.yaml").write_bytes(content)
    refuse(r"study\.yaml", read_study, tmp_path / "study.yaml")


def test_a_study_is_checked_without_a_model_or_a_network(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    values = study(reference={"run": "sft", "step": 7})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    (folder / "sft").mkdir()
    shutil.move(folder / "checkpoint-7", folder / "sft/checkpoint-7")
    assert cli.main(["check", "study.yaml"]) == 0
    assert "is right: 1 checkpoint in 1 run" in capsys.readouterr().out
    (folder / "sft/checkpoint-7/tokenizer.json").write_text("{")
    assert cli.main(["check", "study.yaml"]) == 1
    assert "tokenizer.json is not valid JSON" in capsys.readouterr().err
    (folder / "sft/checkpoint-7/chat_template.jinja").write_text("Hello!")
    shutil.copy(folder / "shards/tokenizer.json", folder / "sft/checkpoint-7")
    assert cli.main(["check", "study.yaml"]) == 1
    assert "does not write the prompt" in capsys.readouterr().err
