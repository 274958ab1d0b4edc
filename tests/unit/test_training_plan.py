"""Training is planned by content: names are labels, and only what changed runs again."""

import copy
import shutil

import pytest

from emodrift.cli.finding import list_hub_checkpoints
from emodrift.config.reading import parse_study
from emodrift.cost.ahead import plan_ahead
from emodrift.cost.estimate import describe, estimate_study
from emodrift.cost.pace import Pace
from emodrift.errors import EmodriftError
from emodrift.plan.study import plan_study
from emodrift.store.entry import write_entry
from tests.conftest import ROOT, STUDY, save_checkpoint

RUN = {"objective": "sft", "steps": 4, "save_steps": [0, 4], "learning_rate": 1e-3}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with a base and the shipped data, to be planned in."""
    save_checkpoint(tmp_path / "base", seed=0, step=0)
    shutil.copytree(ROOT / "resources", tmp_path / "resources")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_study(**training):
    study = copy.deepcopy(STUDY)
    runs = {"safety": RUN, "failure": RUN | {"start": "safety", "regime": "helpful_only"}}
    study["training"] = {"base": "base", "runs": runs} | training
    study["runs"] = {n: {"checkpoints": {"training": n}} for n in study["training"]["runs"]}
    study["reference"] = {"run": next(iter(study["runs"])), "step": 4}
    return parse_study(study)


def list_keys(workplace, **training):
    plan = plan_study(make_study(**training), workplace / "results")
    assert plan.publication is None
    return {e.label: e.key for stage in ("training-base", "training") for e in plan.of_stage(stage)}


def test_names_and_places_are_no_part_of_a_keys_content(workplace):
    keys = list_keys(workplace)
    assert list(keys) == ["base base", "training safety", "training failure"]
    shutil.copytree("base", "elsewhere")
    shutil.copytree("resources/training", "dialogues")
    runs = {"a": RUN, "b": RUN | {"start": "a", "regime": "helpful_only"}}
    moved = list_keys(workplace, base="elsewhere", data="dialogues", runs=runs)
    assert [*moved.values()] == [*keys.values()]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"runs": {"safety": RUN, "failure": RUN | {"start": "safety", "seed": 1}}}, 2),
        ({"runs": {"safety": RUN | {"seed": 1}, "failure": RUN | {"start": "safety"}}}, 1),
        ({"replay": 0.5}, 1),
        ({"reply_tokens": 9}, 0),
        ({"data": "other"}, 0),
        ({"base": "other-base"}, 0),
    ],
)
def test_only_what_a_change_reaches_is_trained_again(change, same, workplace):
    data = shutil.copytree("resources/training", workplace / "other")
    with (data / "refusals.jsonl").open("a") as file:
        file.write('{"reply": "No, thank you."}\n')
    save_checkpoint(workplace / "other-base", seed=1, step=0)
    before, after = (list_keys(workplace, **c).values() for c in ({}, change))
    assert [a == b for a, b in zip(before, after, strict=True)] == [True] * same + [False] * (
        3 - same
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "none.gguf"}, "training.base: there is no file none.gguf"),
        ({"data": "none"}, "training.data: none lacks harmful.jsonl"),
    ],
)
def test_what_is_not_there_is_one_line_before_training(change, message, workplace):
    with pytest.raises(EmodriftError, match=message):
        list_keys(workplace, **change)


def test_an_estimate_counts_each_checkpoint_that_will_be_trained(workplace):
    plan = plan_study(make_study(), workplace / "results")
    estimate = estimate_study(plan, 2, pace=Pace(1e9, 1e8, 2))
    assert estimate.ahead and estimate.checkpoints == 5  # two of each run, and the random twin
    assert "measuring 5 checkpoints (those still to be trained" in describe(estimate, 2)
    read = [t for t in estimate.tasks if t.stage == "activations"]
    assert all(t.work for t in read) and len({t.place for t in read}) == len(read)
    (prepared,), (safety, _) = plan.of_stage("training-base"), plan.of_stage("training")
    with write_entry(plan.store / prepared.place, {}) as out:
        shutil.copytree("base", out / "model")
    with write_entry(plan.store / safety.place, {}) as out:
        for step in RUN["save_steps"]:
            save_checkpoint(out / f"checkpoint-{step}", seed=step, step=step)
    ahead = plan_ahead(plan_study(make_study(), workplace / "results"))
    places = {c.label: c.location for c in ahead.checkpoints}
    assert "checkpoint-4" in places["safety step 4"]["path"]
    assert "base" in places["failure step 4"] and len(places) == 4


def test_a_run_must_name_one_that_is_trained(workplace):
    study = copy.deepcopy(STUDY) | {"runs": {"sft": {"checkpoints": {"training": "none"}}}}
    with pytest.raises(EmodriftError, match=r"names training 'none'.*there is no training section"):
        parse_study(study)


def test_what_is_yet_to_be_trained_needs_no_download(workplace):
    assert list_hub_checkpoints(make_study()) == []
