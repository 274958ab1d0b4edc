"""Checkpoints on the hub: a loopback server speaks its API, and breaks where hubs break."""

import copy
import json
import re
import shutil

import pytest
import torch

from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.config.reading import parse_study
from emodrift.config.runs import Run
from emodrift.errors import EmodriftError
from emodrift.models.loading import load_model
from emodrift.plan.disk import check_disk
from emodrift.plan.study import plan_study
from emodrift.store.downloads import (
    fetch_snapshot,
    list_files,
    note_downloads,
    release_downloads,
)
from emodrift.store.memory import FileDigests
from tests.adapters import save_adapter
from tests.conftest import STUDY, make_llama, save_checkpoint
from tests.hub_server import TOKEN, HubRepo, serve_hub

STEPS = (0, 1, 20)
LOADING = {"device": "cpu", "allow_pickle": False}
TEMPLATE = "{{ messages[0]['content'] }}"
IDS = torch.arange(1, 9)[None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three whole checkpoints; a base and an adapter of it with a tokenizer of its own."""
    root = tmp_path_factory.mktemp("hub")
    for step in STEPS:
        save_checkpoint(root / f"step{step}", seed=step, step=step)
    shutil.copytree(root / "step0", root / "pickled")
    (root / "pickled/model.safetensors").rename(root / "pickled/pytorch_model.bin")
    adapted = save_adapter(
        root / "adapters/checkpoint-7", "org/base", 7, revision="step0", template=TEMPLATE
    )
    torch.save(adapted, root / "adapted.pt")
    return root


@pytest.fixture(scope="module")
def server(folders):
    steps = {f"step{step}": folders / f"step{step}" for step in STEPS}
    repos = {
        "org/base": HubRepo({"main": folders / "step1", **steps}, tags=("step20",)),
        "org/lora": HubRepo({"main": folders / "adapters"}),
        "org/gated": HubRepo({"main": folders / "step0"}, gated=True),
        "org/private": HubRepo({"main": folders / "step0"}, private=True),
        "org/pickled": HubRepo({"main": folders / "pickled"}),
    }
    with serve_hub(repos) as hub:
        yield hub


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    server.requests.clear()
    server.breaks.clear()
    server.point_client(monkeypatch, tmp_path / "cache")
    return server


def find(source, tmp_path, **options):
    run = Run.model_validate({"checkpoints": source})
    options = {"revisions": tmp_path / "revisions.json"} | options
    return list_checkpoints("sft", run, FileDigests(tmp_path / "memo.json"), **options)


SERIES = {"repo": "org/base", "revision": "step{step}", "steps": list(STEPS)}


def test_revisions_are_known_by_commit_and_asked_for_once(hub, tmp_path):
    found = find(SERIES, tmp_path)
    repo = hub.repos["org/base"]
    assert [c.location["commit"] for c in found] == [repo.commit(f"step{s}") for s in STEPS]
    assert {(c.hidden, c.layers) for c in found} == {(32, 3)}
    weights = (repo.revisions["step0"] / "model.safetensors").stat().st_size
    assert [d.size for c in found for d in c.downloads] == [weights] * 3
    assert hub.list_downloads() == []
    asked = len(hub.requests)
    assert find(SERIES, tmp_path) == found
    assert len(hub.requests) == asked


def test_a_single_revision_tells_its_step_by_its_name(hub, tmp_path):
    assert find({"repo": "org/base", "revision": "step20"}, tmp_path)[0].step == 20
    assert find({"repo": "org/base"}, tmp_path)[0].step == 0


@pytest.mark.parametrize(
    ("source", "token", "message"),
    [
        ({"repo": "org/none"}, None, "hub repo org/none does not exist, or is private and"),
        ({"repo": "org/none"}, TOKEN, "hub repo org/none does not exist, or is private and"),
        ({"repo": "org/private"}, None, "or is private and HF_TOKEN does not open it"),
        ({"repo": "org/gated"}, None, "hub repo org/gated is gated; accept its terms"),
        (
            {"repo": "org/base", "revision": "step3"},
            None,
            "has no revision 'step3'; `emodrift discover org/base` lists them",
        ),
        ({"repo": "org/base"}, "hf_wrong", "answered 401 for org/base@main; HF_TOKEN is not valid"),
        ({"repo": "not a repo"}, None, "'not a repo' is neither a directory here nor the name of"),
        (
            {"repo": "org/base", "subfolder": "step1"},
            None,
            "is no checkpoint (no config.json in it",
        ),
        (
            {"repo": "org/pickled"},
            None,
            "holds no *.safetensors file (found pytorch_model.bin); save it again",
        ),
    ],
)
def test_what_the_hub_refuses_is_one_line_that_says_how_to_mend_it(
    hub, tmp_path, monkeypatch, source, token, message
):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(EmodriftError, match=re.escape(message)) as error:
        find(source, tmp_path)
    assert str(error.value).startswith("runs.sft.checkpoints: ")


def test_a_token_opens_what_is_private_or_gated(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find({"repo": "org/private"}, tmp_path)[0].hidden == 32
    assert find({"repo": "org/gated"}, tmp_path)[0].hidden == 32


def test_pickled_weights_of_the_hub_are_taken_only_if_allowed(hub, tmp_path):
    (found,) = find({"repo": "org/pickled"}, tmp_path, allow_pickle=True)
    assert set(found.downloads[0].files) == {"pytorch_model.bin"}


def test_a_download_that_breaks_off_is_taken_up_where_it_stopped_and_then_serves_offline(
    hub, folders, tmp_path, monkeypatch
):
    (found,) = find({"repo": "org/base", "revision": "step1"}, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    hub.breaks["model.safetensors"] = 100_000
    folder = fetch_snapshot(found.location, False, "sft step 1")
    asked = [r for m, p, r in hub.requests if m == "GET" and p.endswith("model.safetensors")]
    assert asked == [None, "bytes=100000-"]
    original = (folders / "step1/model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == original

    asked = len(hub.requests)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_model(found.location, LOADING, "float32", "sft step 1").hidden == 32
    assert len(hub.requests) == asked
    (other,) = find({"repo": "org/base", "revision": "step1"}, tmp_path)
    assert other == found
    absent = found.location | {"commit": hub.repos["org/base"].commit("step0")}
    with pytest.raises(EmodriftError, match=r"sft step 0: the hub is out of reach .* download"):
        load_model(absent, LOADING, "float32", "sft step 0")


def test_a_server_that_is_gone_is_named_and_what_is_cached_still_serves(
    folders, tmp_path, monkeypatch
):
    with serve_hub({"org/base": HubRepo({"main": folders / "step0"})}) as hub:
        hub.point_client(monkeypatch, tmp_path / "cache")
        (found,) = find({"repo": "org/base"}, tmp_path)
        fetch_snapshot(found.location, False, "sft step 0")
    (tmp_path / "revisions.json").unlink()
    assert find({"repo": "org/base"}, tmp_path) == [found]
    with pytest.raises(EmodriftError, match="the hub is out of reach"):
        find({"repo": "org/other"}, tmp_path)


def test_a_cache_that_holds_but_the_config_is_not_taken_for_a_checkpoint(
    hub, tmp_path, monkeypatch
):
    find({"repo": "org/base"}, tmp_path)
    shutil.rmtree(tmp_path / "cache/models--org--base/trees")
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    (tmp_path / "revisions.json").unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EmodriftError, match=r"holds no \*\.safetensors file"):
        find({"repo": "org/base"}, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert find({"repo": "org/base"}, tmp_path)[0].hidden == 32


def test_an_adapter_names_its_base_and_the_bases_revision_and_keeps_its_own_tokenizer(
    hub, folders, tmp_path
):
    source = {"repo": "org/lora", "subfolder": "checkpoint-{step}", "steps": [7]}
    (found,) = find(source, tmp_path)
    base = hub.repos["org/base"].commit("step0")
    assert found.location["base"] == {"repo": "org/base", "commit": base, "subfolder": ""}
    assert (found.step, found.hidden, len(found.downloads)) == (7, 32, 2)
    (other,) = find(source | {"base": "org/base@step1"}, tmp_path)
    assert other.digest != found.digest
    (local,) = find(source | {"base": str(folders / "step0")}, tmp_path)
    assert local.location["base"] == {"path": str(folders / "step0")}

    model = load_model(found.location, LOADING, "float32", found.label)
    with torch.inference_mode():
        torch.testing.assert_close(model.network(IDS).logits, torch.load(folders / "adapted.pt"))
    assert model.tokenizer.chat_template == TEMPLATE
    assert {p.split("/")[-1] for p in hub.list_downloads()} == {
        "adapter_model.safetensors",
        "model.safetensors",
    }


@pytest.fixture
def sharded(tmp_path):
    """Two revisions of one repository whose weights share all shards but one."""
    for name in ("a", "b"):
        network, tokenizer = make_llama(0)
        if name == "b":
            network.model.layers[2].mlp.down_proj.weight.data += 1
        network.save_pretrained(tmp_path / name, max_shard_size="60KB")
        tokenizer.save_pretrained(tmp_path / name)
    with serve_hub({"org/shards": HubRepo({n: tmp_path / n for n in "ab"})}) as hub:
        yield hub


def make_needs(found):
    """One entry for each checkpoint, called after its place in the list."""
    return {
        c.downloads[0].place: {
            "download": tuple(c.downloads[0]),
            "entries": [f"responses/{k}", f"activations/{k}"],
        }
        for k, c in enumerate(found)
    }


def finish(store, *places):
    for place in places:
        (store / place).mkdir(parents=True, exist_ok=True)
        (store / place / "manifest.json").write_text("{}")


def list_weights(cache):
    return sorted(p.name for p in cache.glob("*/snapshots/*/*.safetensors"))


def test_weights_go_when_their_last_job_is_done_and_shared_files_when_the_last_sharer_is(
    sharded, tmp_path, monkeypatch
):
    cache, store = tmp_path / "cache", tmp_path / "store"
    sharded.point_client(monkeypatch, cache)
    found = find([{"repo": "org/shards", "revision": n, "step": k} for k, n in enumerate("ab")],
                 tmp_path)  # fmt: skip
    shards = len(found[0].downloads[0].files)
    assert shards > 3
    needs = make_needs(found)
    for k, checkpoint in enumerate(found):
        note_downloads(needs, store, f"responses/{k}")
        model = load_model(checkpoint.location, LOADING, "float32", checkpoint.label)
        weight = model.network.model.layers[2].mlp.down_proj.weight
        assert weight.mean() == pytest.approx(k, abs=0.1)
    assert len(list_weights(cache)) == 2 * shards

    finish(store, "responses/0")
    assert release_downloads(needs, store) == 0
    finish(store, "activations/0")
    freed = release_downloads(needs, store)
    left = {p.resolve().name for p in cache.glob("*/snapshots/*/*.safetensors")}
    assert freed > 0 and len(list_weights(cache)) == 2 * shards - 1
    assert {p.name for p in cache.glob("*/blobs/*") if len(p.name) == 64} == left

    finish(store, "responses/1", "activations/1")
    release_downloads(needs, store)
    assert list_weights(cache) == []
    assert not [p for p in cache.glob("*/blobs/*") if len(p.name) == 64]
    assert list((store / "downloads").glob("*.json")) == []
    assert list(cache.glob("*/snapshots/*/config.json"))
    assert find({"repo": "org/shards", "revision": "a", "step": 0}, tmp_path) == found[:1]


def test_what_was_in_the_cache_before_stays(hub, tmp_path):
    cache, store = tmp_path / "cache", tmp_path / "store"
    found = find(SERIES, tmp_path)
    needs = make_needs(found)
    fetch_snapshot(found[0].location, False, "the user's own")
    for k, checkpoint in enumerate(found[:2]):
        note_downloads(needs, store, f"responses/{k}")
        fetch_snapshot(checkpoint.location, False, checkpoint.label)
        finish(store, f"responses/{k}", f"activations/{k}")
    release_downloads(needs, store)
    (kept,) = cache.glob("*/snapshots/*/model.safetensors")
    assert kept.parent.name == found[0].location["commit"]


def test_a_copy_that_the_user_fetches_after_the_deletion_stays(hub, tmp_path):
    store = tmp_path / "store"
    (found,) = find({"repo": "org/base"}, tmp_path)
    needs = make_needs([found])
    note_downloads(needs, store, "responses/0")
    fetch_snapshot(found.location, False, found.label)
    finish(store, "responses/0", "activations/0")
    assert release_downloads(needs, store) > 0
    folder = fetch_snapshot(found.location, False, "the user's own")
    assert release_downloads(needs, store) == 0
    assert (folder / "model.safetensors").is_file()


@pytest.fixture
def planned(hub, tmp_path):
    """Plans a study over three revisions and an adapter of the first, downloads not kept."""
    lora = {"repo": "org/lora", "subfolder": "checkpoint-{step}", "steps": [7]}

    def plan(**compute):
        study = copy.deepcopy(STUDY) | {
            "runs": {"hub": {"checkpoints": SERIES}, "lora": {"checkpoints": lora}},
            "reference": {"run": "hub", "step": 0},
            "compute": {"keep_downloads": False, **compute},
        }
        return plan_study(parse_study(study), tmp_path / "results")

    return plan


def test_a_plan_knows_which_jobs_load_what(planned):
    plan = planned()
    needs = {n["download"][0:2]: set(n["entries"]) for n in plan.list_needs().values()}
    first, second, _, adapter = (
        {e.place for e in plan.of_stage("visit") if c.label in e.label} for c in plan.checkpoints
    )
    places = [c.downloads[0][0:2] for c in plan.checkpoints]
    assert (len(first), len(second), len(adapter)) == (2, 1, 1)
    assert needs[places[0]] == first | adapter  # the adapter's base is the first revision
    assert needs[places[1]] == second
    assert needs[places[3]] == adapter
    entry = plan.entries[min(second)]
    assert set(plan.describe(entry)["downloads"]) == {plan.checkpoints[1].downloads[0].place}
    assert planned(keep_downloads=True).describe(entry)["downloads"] == {}


def test_what_a_plan_has_to_download_is_said_until_it_is_there(planned, hub, tmp_path, monkeypatch):
    plan = planned()
    assert check_disk(plan).startswith("4 downloads from the hub, ")
    monkeypatch.setattr("emodrift.plan.disk.measure_free_space", lambda: 1000)
    with pytest.raises(EmodriftError, match=r"at a time though compute\.keep_downloads is"):
        check_disk(plan)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        EmodriftError, match="weights of hub step 0 and 3 more downloads are not in"
    ):
        check_disk(plan)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for checkpoint in plan.checkpoints:
        fetch_snapshot(checkpoint.location, False, checkpoint.label)
    assert check_disk(plan) is None
    shutil.rmtree(tmp_path / "cache")
    finish(plan.store, *(e for n in plan.list_needs().values() for e in n["entries"]))
    assert check_disk(plan) is None


def test_files_are_listed_from_a_cache_that_another_tool_filled(tmp_path, monkeypatch, folders):
    commit = "c" * 40
    snapshot = tmp_path / "cache/models--some--one/snapshots" / commit
    blobs = tmp_path / "cache/models--some--one/blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folders / "step0" / name, blobs / f"blob-of-{name}")
        (snapshot / name).symlink_to(f"../../blobs/blob-of-{name}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    files = list_files("some/one", commit, "")
    size = (folders / "step0/model.safetensors").stat().st_size
    assert files["model.safetensors"] == (size, "blob-of-model.safetensors")
    assert json.loads((snapshot / "config.json").read_text())["hidden_size"] == 32
