"""A study by config alone over a LoRA folder and four revisions of a repository on the hub.

(A Trainer's folder: test_real_model.py.) The hub is a loopback server, downloads are not kept, and
the revisions are of two stages that both have a step 0.
"""

import json

import pandas as pd
import pytest

from tests.adapters import save_adapter
from tests.conftest import copy_project, save_checkpoint
from tests.hub_server import HubRepo, serve_hub

REVISIONS = ("stage1-step0", "stage1-step10", "stage2-step0", "stage2-step10")
FIFTH = "stage2-step20"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The finished study and its hub, whose repository has one more revision."""
    folder = tmp_path_factory.mktemp("hub")
    for seed, name in enumerate((*REVISIONS, FIFTH)):
        save_checkpoint(folder / name, seed=seed, step=seed)
    repo = HubRepo({name: folder / name for name in (*REVISIONS, FIFTH)})
    with serve_hub({"org/series": repo}) as hub:
        project = copy_project(tmp_path_factory.mktemp("project"))
        project.environment = hub.environment(folder / "cache")
        for step in (5, 15):
            adapter = project.folder / f"runs/lora/checkpoint-{step}"
            save_adapter(adapter, "org/series", step, revision=REVISIONS[0])
        project.edit_study(point)
        yield project, hub, folder / "cache", project.run()


def point(study):
    study["runs"] = {
        "hub": {
            "checkpoints": [
                {
                    "repo": "org/series",
                    "revision": f"{stage}-step{{step}}",
                    "steps": [0, 10],
                    "stage": stage,
                }
                for stage in ("stage1", "stage2")
            ]
        },
        "lora": {
            "checkpoints": [
                {"repo": "org/series", "revision": REVISIONS[0], "step": 0},
                "runs/lora/checkpoint-*",
            ]
        },
    }
    study["reference"] = {"run": "hub", "step": 0, "stage": "stage1"}
    study["compute"] = {"keep_downloads": False}


def list_weights(cache):
    return [p for p in cache.rglob("*") if p.suffix == ".safetensors" or len(p.name) == 64]


def test_the_study_shows_every_revision_and_adapter(finished):
    project, _, _, _ = finished
    published = project.folder / "results/tiny"
    index = pd.read_csv(published / "index.csv")
    assert list(zip(index["run"], index["stage"], index["step"], strict=True)) == [
        ("hub", "stage1", 0),
        ("hub", "stage1", 10),
        ("hub", "stage2", 0),
        ("hub", "stage2", 10),
        *(("lora", "lora", step) for step in (0, 5, 15)),
    ]
    assert index["digest"].nunique() == 6
    drift = pd.read_csv(published / "tables/drift.csv")
    emotions = drift[drift["kind"] == "emotion"].groupby(["run", "stage", "step"])
    cosine = emotions["cosine"].mean()
    assert cosine["hub", "stage1", 0] == pytest.approx(1, abs=1e-4)
    assert cosine["lora", "lora", 0] == pytest.approx(1, abs=1e-4)
    assert cosine["hub", "stage2", 0] != pytest.approx(cosine["hub", "stage2", 10], abs=1e-4)
    # adapters leave the reference less far behind than weights of other seeds
    assert cosine["lora"].min() > cosine["hub"].drop(("stage1", 0)).max()
    assert ">stage2<" in (published / "figures/drift_trajectories.svg").read_text()
    audit = json.loads((published / "audit.json").read_text())
    assert [run["run"] for run in audit["runs"]] == ["hub", "lora"]


def test_each_revision_was_downloaded_once_and_its_weights_are_gone(finished):
    project, hub, cache, done = finished
    assert len(hub.list_downloads()) == len(REVISIONS)
    assert list_weights(cache) == []
    assert len(list(cache.glob("*/snapshots/*/config.json"))) == len(REVISIONS)
    assert not list((project.folder / "results/store/downloads").glob("*.json"))
    assert "4 downloads from the hub, 934 kB; weights are deleted after measuring" in done.stderr


def test_a_fifth_revision_is_the_only_one_measured_anew(finished):
    project, _, _, _ = finished
    assert project.list_jobs() == {}
    project.edit_study(lambda s: s["runs"]["hub"]["checkpoints"][1]["steps"].append(20))
    jobs = project.list_jobs()
    assert {stage: jobs[stage] for stage in ("visit", "fitting")} == {"visit": 1, "fitting": 1}
    assert not {"contrasts", "lock"} & set(jobs)
