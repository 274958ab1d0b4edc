"""Entries outlive an edit of the code that changes no result, and only such an edit."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml

import emodrift.measure.visit as visiting
from emodrift.cli.adoption import adopt_former, choose_sample, find_adoptable
from emodrift.cli.app import main
from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.plan.study import plan_study
from emodrift.store import code
from emodrift.store.entry import entry_exists, read_content, read_manifest
from emodrift.store.verify import verify_store
from tests.conftest import ROOT, STUDY, save_checkpoint
from tests.jobs import list_visits, make_stages

MADE = ("visit", "vectors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study of four checkpoints whose measurements and vectors are made."""
    folder = tmp_path_factory.mktemp("finished")
    for step in range(4):
        save_checkpoint(folder / f"runs/sft/checkpoint-{step}", seed=step, step=step)
    values = copy.deepcopy(STUDY)
    values["runs"]["sft"]["checkpoints"] = f"{folder}/runs/sft/checkpoint-*"
    (folder / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    make_stages(parse_study(values), folder / "results", *MADE)
    return folder


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A copy of its results to work in, and of the library, whose code the keys are made of."""
    shutil.copytree(finished / "results", tmp_path / "results")
    shutil.copy(finished / "study.yaml", tmp_path / "study.yaml")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow/emodrift", tmp_path / "library/emodrift", ignore=ignore)
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "library")
    monkeypatch.chdir(tmp_path)
    code.clear_memory()
    yield tmp_path
    monkeypatch.undo()
    code.clear_memory()


def open_plan():
    study = parse_study(yaml.safe_load(Path("study.yaml").read_text()))
    return plan_study(study, Path("results"))


def edit(place, file="measure/activations.py", function="write_activations"):
    """Rewrite a function of the library in another way that gives the same."""
    path = place / "library/emodrift" / file
    text = path.read_text()
    path.write_text(f"{text}\n\n_former = {function}\n\n\ndef {function}(*given):\n"
                    "    return _former(*given)\n")  # fmt: skip
    code.clear_memory()


def list_missing(plan):
    stages = ("contrasts", "activations", "gradients", "responses", "vectors", "lock")
    return [
        e for e in plan.entries.values()
        if e.stage in stages and not entry_exists(plan.store / e.place)
    ]  # fmt: skip


def test_entries_take_new_keys_where_a_sample_comes_out_the_same(place, monkeypatch):
    before = open_plan()
    assert list_missing(before) == []
    edit(place)
    plan = open_plan()
    assert {entry.stage for entry in list_missing(plan)} >= {"activations", "vectors"}
    remade = []
    measure = visiting.measure_entries
    monkeypatch.setattr(
        visiting, "measure_entries", lambda m, e, *more: remade.extend(e) or measure(m, e, *more)
    )
    done = adopt_former(open_plan, 1)
    plan = open_plan()
    assert list_missing(plan) == [] and list_visits(plan) == []
    kinds = {entry.params["kind"] for entry in remade}
    assert {e.stage for e in remade} == {"activations"} and len(remade) == len(kinds)
    adopted = [d for d in done if d.stage == "activations"]
    assert sum(d.adopted for d in adopted) + len(remade) == len(plan.of_stage("activations"))
    assert sum(d.adopted for d in done if d.stage == "vectors") == len(plan.of_stage("vectors"))
    for old, new in zip(before.of_stage("vectors"), plan.of_stage("vectors"), strict=True):
        assert old.key != new.key
        assert read_content(plan.store / old.place) == read_content(plan.store / new.place)
        assert read_manifest(plan.store / new.place)["adopted_from"] == old.key
        name = next(iter(read_manifest(plan.store / new.place)["files"]))
        both = [(plan.store / e.place / name).stat().st_ino for e in (old, new)]
        assert both[0] == both[1]
    assert verify_store(plan.store) == []


def test_an_edit_that_changes_a_number_is_refused(place, monkeypatch, capsys):
    edit(place)
    write = visiting.write_activations

    def write_otherwise(session, texts, *more):
        return write(session, texts[:-1] + texts[:1], *more)

    monkeypatch.setattr(visiting, "write_activations", write_otherwise)
    with pytest.raises(EmodriftError, match=r"activations of sft step \d comes out otherwise"):
        adopt_former(open_plan, 1)
    assert [entry.stage for entry in list_missing(open_plan())].count("activations") >= 8
    monkeypatch.setattr(visiting, "write_activations", write)
    assert main(["adopt", "study.yaml", "--apply", "--sample", "1"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("emodrift: error: activations of") and "changes results" in told


def test_the_command_tells_first_and_changes_nothing(place, capsys):
    assert main(["adopt", "study.yaml"]) == 0
    assert "Nothing to adopt" in capsys.readouterr().out
    edit(place, "vectors/fitting.py", "fit_vectors")
    there = sorted(place.glob("results/store/*/*"))
    assert main(["adopt", "study.yaml", "--sample", "2"]) == 0
    out = capsys.readouterr().out
    (row,) = [line.split() for line in out.splitlines() if line.startswith("vectors")]
    assert row == ["vectors", "3", "2"] and "add --apply" in out
    assert sorted(place.glob("results/store/*/*")) == there


def test_other_values_are_never_adopted(place):
    values = yaml.safe_load((place / "study.yaml").read_text())
    values["activations"]["from_token"] = 3
    values["activations"]["pooling"] = "mean"
    (place / "study.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    edit(place)
    assert {g.stage for g in find_adoptable(open_plan())} <= {"activations"}
    assert all(
        open_plan().entries[p].params["kind"] == "prompts"
        for g in find_adoptable(open_plan())
        for p in g.former
    )


def test_a_sample_is_spread_and_of_the_number_asked_for(place):
    edit(place, "vectors/fitting.py", "fit_vectors")
    group = next(g for g in find_adoptable(open_plan()) if g.stage == "vectors")
    places = list(group.former)
    assert choose_sample(group, 2) == [places[0], places[-1]]
    assert choose_sample(group, 99) == places
    assert choose_sample(group._replace(edited=False), 2) == []
