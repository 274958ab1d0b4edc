"""Checkpoints are found, ordered and identified by content; what cannot work is said at once."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file

from emodrift.checkpoints.checkpoint import check_shapes, find_reference, list_checkpoints
from emodrift.config.runs import Reference, Run
from emodrift.errors import EmodriftError
from emodrift.models.loading import load_model
from emodrift.store.memory import FileDigests
from tests.conftest import make_llama, save_checkpoint


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for step in (100, 20, 3):
        save_checkpoint(folder / f"checkpoint-{step}", seed=step, step=step)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs")


def discover(checkpoints, tmp_path, **options):
    run = Run.model_validate({"checkpoints": checkpoints})
    return list_checkpoints("sft", run, FileDigests(tmp_path / "memo.json"), **options)


def test_a_glob_is_ordered_by_step_not_by_name(runs, tmp_path):
    found = discover(f"{runs}/checkpoint-*", tmp_path)
    assert [c.step for c in found] == [3, 20, 100]
    assert [c.tokens for c in found] == [300, 2000, 10000]
    assert {(c.hidden, c.layers) for c in found} == {(32, 3)}


def test_identity_is_content_and_not_name_step_or_optimizer_state(runs, tmp_path):
    before = {c.step: c.digest for c in discover(f"{runs}/*", tmp_path)}
    (runs / "checkpoint-3").rename(runs / "first")
    (runs / "first" / "optimizer.pt").write_bytes(b"state")
    (runs / "first" / "training_args.bin").write_bytes(b"arguments")
    after = {c.step: c.digest for c in discover(f"{runs}/*", tmp_path)}
    assert after == before
    assert len(set(before.values())) == 3


def test_the_tokenizer_is_part_of_the_identity(runs, tmp_path):
    before = discover(f"{runs}/checkpoint-3", tmp_path)[0].digest
    with (runs / "checkpoint-3/tokenizer_config.json").open("a") as file:
        file.write(" ")
    assert discover(f"{runs}/checkpoint-3", tmp_path)[0].digest != before


def test_an_adapter_is_identified_with_its_base(runs, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(runs / "checkpoint-3")})
    )
    save_file({"a": torch.ones(1)}, adapter / "adapter_model.safetensors")
    on_three = discover({"path": str(adapter), "step": 5}, tmp_path)[0]
    on_twenty = discover(
        {"path": str(adapter), "step": 5, "base": str(runs / "checkpoint-20")}, tmp_path
    )[0]
    assert on_three.location["base"] == {"path": str(runs / "checkpoint-3")}
    assert on_three.hidden == 32
    assert on_three.digest != on_twenty.digest


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda runs: shutil.rmtree(runs), "no directory matches"),
        (
            lambda runs: (runs / "checkpoint-3/model.safetensors").rename(
                runs / "checkpoint-3/pytorch_model.bin"
            ),
            "holds no *.safetensors file (found pytorch_model.bin)",
        ),
        (lambda runs: (runs / "checkpoint-3/config.json").unlink(), "is no checkpoint"),
        (
            lambda runs: (runs / "checkpoint-3/config.json").write_text("{"),
            "config.json is not valid JSON",
        ),
        (
            lambda runs: shutil.copytree(runs / "checkpoint-3", runs / "checkpoint-again"),
            "step 3 comes twice",
        ),
        (
            lambda runs: (
                (runs / "checkpoint-3/trainer_state.json").unlink(),
                (runs / "checkpoint-3").rename(runs / "checkpoint-first"),
            ),
            "cannot tell the step",
        ),
    ],
)
def test_what_cannot_be_read_fails_with_one_line_that_names_the_run(
    runs, tmp_path, break_it, message
):
    break_it(runs)
    with pytest.raises(EmodriftError, match=re.escape(message)) as error:
        discover(f"{runs}/checkpoint-*", tmp_path)
    assert str(error.value).startswith("runs.sft.checkpoints: ")


def test_models_of_different_width_are_refused(runs, tmp_path):
    save_checkpoint(runs / "checkpoint-200", seed=1, step=200, hidden=64)
    with pytest.raises(EmodriftError, match=r"runs mix models: .*32 .*64"):
        check_shapes(discover(f"{runs}/checkpoint-*", tmp_path))


def test_a_reference_that_the_run_lacks_is_named_with_the_steps_there_are(runs, tmp_path):
    found = discover(f"{runs}/checkpoint-*", tmp_path)
    assert find_reference(found, Reference(run="sft", step=20)).step == 20
    with pytest.raises(EmodriftError, match=r"reference\.step 21 .* 3, 20, 100"):
        find_reference(found, Reference(run="sft", step=21))


def test_a_hub_revision_is_read_from_the_local_cache_without_network(runs, tmp_path, monkeypatch):
    commits = {"step3": "a" * 40, "step20": "b" * 40}
    cache = tmp_path / "hub"
    repo = cache / "models--someone--model"
    for revision, commit in commits.items():
        shutil.copytree(runs / f"checkpoint-{revision[4:]}", repo / "snapshots" / commit)
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / revision).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = {"repo": "someone/model", "revision": "step{step}", "steps": [3, 20]}
    memory = tmp_path / "revisions.json"
    found = discover(source, tmp_path, revisions=memory)
    assert [c.location["commit"] for c in found] == list(commits.values())
    assert [(c.step, c.hidden) for c in found] == [(3, 32), (20, 32)]
    shutil.rmtree(cache)
    assert discover(source, tmp_path, revisions=memory) == found
    with pytest.raises(EmodriftError, match="not in the local cache"):
        discover({"repo": "someone/other"}, tmp_path, revisions=memory)


def test_a_run_of_several_stages_keeps_their_steps_apart(runs, tmp_path):
    found = discover(
        [
            {"path": f"{runs}/checkpoint-3", "step": 0, "stage": "base"},
            {"path": f"{runs}/checkpoint-20", "step": 0, "stage": "sft"},
            {"path": f"{runs}/checkpoint-100", "step": 7, "stage": "sft"},
        ],
        tmp_path,
    )
    assert [c.label for c in found] == ["sft base step 0", "sft sft step 0", "sft sft step 7"]
    assert find_reference(found, Reference(run="sft", step=0, stage="sft")) == found[1]
    assert find_reference(found, Reference(run="sft", step=7)) == found[2]
    with pytest.raises(EmodriftError, match=r"set reference\.stage to one of base, sft"):
        find_reference(found, Reference(run="sft", step=0))
    with pytest.raises(EmodriftError, match=r"step 7 of stage 'base' .* base 0, sft 0, sft 7"):
        find_reference(found, Reference(run="sft", step=7, stage="base"))


def test_sharded_weights_are_one_checkpoint_and_a_missing_shard_is_named(tmp_path):
    network, tokenizer = make_llama(0)
    for name, size in (("whole", "1GB"), ("shards", "60KB")):
        network.save_pretrained(tmp_path / name, max_shard_size=size)
        tokenizer.save_pretrained(tmp_path / name)
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 3
    (found,) = discover({"path": f"{tmp_path}/shards", "step": 1}, tmp_path)
    loading = {"device": "cpu", "allow_pickle": False}
    loaded = load_model(found.location, loading, "float32", found.label).network.state_dict()
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded[name], weight)
    shards[1].unlink()
    with pytest.raises(EmodriftError, match=f"lacks {shards[1].name}, which .*index.json names"):
        discover({"path": f"{tmp_path}/shards", "step": 1}, tmp_path)


def test_a_checkpoint_without_a_tokenizer_is_refused_with_the_fix(runs, tmp_path):
    for file in (runs / "checkpoint-3").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(EmodriftError, match="holds no tokenizer; copy the files"):
        discover(f"{runs}/checkpoint-*", tmp_path)


def test_tokens_are_read_counted_or_given(runs, tmp_path):
    path = f"{runs}/checkpoint-*"
    assert [c.tokens for c in discover(path, tmp_path)] == [300, 2000, 10000]
    counted = discover({"path": path, "tokens_per_step": 512}, tmp_path)
    assert [c.tokens for c in counted] == [3 * 512, 20 * 512, 100 * 512]


def test_steps_of_a_folder_are_kept_and_one_that_is_not_there_is_named(runs, tmp_path):
    source = {"path": f"{runs}/checkpoint-*", "steps": [3, 100]}
    assert [c.step for c in discover([source], tmp_path)] == [3, 100]
    with pytest.raises(EmodriftError, match=r"no checkpoint of step 7; there are 3, 20, 100"):
        discover([source | {"steps": [7]}], tmp_path)
