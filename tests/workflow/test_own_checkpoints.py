"""A study by config alone over a LoRA folder and four revisions of a repository on the hub.

(A Trainer's folder: test_real_model.py.) The hub is a loopback server, and downloads are not kept.
"""

import json

import pandas as pd
import pytest

from tests.adapters import save_adapter
from tests.conftest import copy_project, save_checkpoint
from tests.hub_server import HubRepo, serve_hub

STEPS = (0, 10, 20, 30)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The finished study and its hub, whose repository has one more revision."""
    folder = tmp_path_factory.mktemp("hub")
    steps = (*STEPS, 40)
    for step in steps:
        save_checkpoint(folder / f"step{step}", seed=step, step=step)
    repo = HubRepo({"main": folder / "step40"} | {f"step{s}": folder / f"step{s}" for s in steps})
    with serve_hub({"org/series": repo}) as hub:
        project = copy_project(tmp_path_factory.mktemp("project"))
        project.environment = hub.environment(folder / "cache", HF_HUB_OFFLINE="0")
        for step in (5, 15):
            adapter = project.folder / f"runs/lora/checkpoint-{step}"
            save_adapter(adapter, "org/series", step, revision="step0")
        project.edit_study(point)
        yield project, hub, folder / "cache", project.run()


def point(study):
    study["runs"] = {
        "hub": {
            "checkpoints": {"repo": "org/series", "revision": "step{step}", "steps": list(STEPS)}
        },
        "lora": {
            "checkpoints": [
                {"repo": "org/series", "revision": "step0", "step": 0},
                "runs/lora/checkpoint-*",
            ]
        },
    }
    study["reference"] = {"run": "hub", "step": 0}
    study["compute"] = {"keep_downloads": False}


def list_weights(cache):
    return [p for p in cache.rglob("*") if p.suffix == ".safetensors" or len(p.name) == 64]


def test_the_study_shows_every_revision_and_adapter(finished):
    project, _, _, _ = finished
    published = project.folder / "results/tiny"
    index = pd.read_csv(published / "index.csv")
    places = list(zip(index["run"], index["step"], strict=True))
    assert places == [*(("hub", s) for s in STEPS), *(("lora", s) for s in (0, 5, 15))]
    assert index["digest"].nunique() == 6
    drift = pd.read_csv(published / "tables/drift.csv")
    cosine = drift[drift["kind"] == "emotion"].groupby(["run", "step"])["cosine"].mean()
    assert cosine["hub", 0] == pytest.approx(1, abs=1e-4)
    assert cosine["lora", 0] == pytest.approx(1, abs=1e-4)
    assert cosine["lora", 5] != pytest.approx(cosine["lora", 15], abs=1e-4)
    assert cosine["lora"].min() > cosine["hub"][1:].max()  # adapters move less than other seeds
    audit = json.loads((published / "audit.json").read_text())
    assert [run["run"] for run in audit["runs"]] == ["hub", "lora"]


def test_each_revision_was_downloaded_once_and_its_weights_are_gone(finished):
    project, hub, cache, done = finished
    assert len(hub.list_downloads()) == len(STEPS)
    assert list_weights(cache) == []
    assert len(list(cache.glob("*/snapshots/*/config.json"))) == len(STEPS)
    assert not list((project.folder / "results/store/downloads").glob("*.json"))
    assert "4 downloads from the hub, 934 kB; weights are deleted after measuring" in done.stderr


def test_a_fifth_revision_is_the_only_one_measured_anew(finished):
    project, _, _, _ = finished
    assert project.list_jobs() == {}
    project.edit_study(lambda s: s["runs"]["hub"]["checkpoints"].update(steps=[*STEPS, 40]))
    jobs = project.list_jobs()
    measured = {stage: jobs[stage] for stage in ("activations", "vectors", "responses")}
    assert measured == {"activations": 1, "vectors": 1, "responses": 1}
    assert not {"contrasts", "lock"} & set(jobs)
