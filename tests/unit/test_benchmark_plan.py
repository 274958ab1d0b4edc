"""A benchmark is a study over organism seeds, to which a seed or a regime adds itself alone."""

import copy
import json
import shutil

import pytest
import yaml

from emodrift.config.reading import parse_study
from emodrift.cost.estimate import estimate_study
from emodrift.cost.pace import Pace
from emodrift.errors import EmodriftError
from emodrift.plan.entries import TOGETHER
from emodrift.plan.study import plan_study
from emodrift.store.entry import write_entry
from tests.conftest import ROOT, STUDY, save_checkpoint, write_stand_in

SHAPE = {"hidden": 32, "layers": 3, "heads": 4, "feedforward": 64}
STARTED = {"start": "healthy", "objective": "sft", "steps": 4, "save_steps": [2, 4], "warmup": 1}
REGIMES = {"lock-in": "lock-in", "helpful": "helpful-only"}
DATA = {"a": "healthy", "b": "healthy", "lock-in": "shortcut", "helpful": "helpful"}
MEASURED = ("activations", "gradients", "responses")


def make_study(thresholds=(201,), scoring=(101,), runs=("a", "b", "lock-in")):
    values = copy.deepcopy(STUDY)
    healthy = {"objective": "language_modeling", "steps": 4, "save_steps": [4], "warmup": 1}
    recipes = {n: STARTED | {"data": DATA[n], "seed_offset": ord(n[0])} for n in runs}
    for recipe in (healthy, *recipes.values()):
        recipe["learning_rate"] = 0.001
    values["organism"] = {"model": SHAPE, "runs": {"healthy": healthy, **recipes}}
    values["runs"] = {
        name: {"checkpoints": {"organism": name}, "stage": "sft" if name == "healthy" else "later"}
        | ({"role": "healthy"} if name in ("a", "b") else {})
        for name in values["organism"]["runs"]
    }
    values["reference"] = {"run": "healthy", "step": 4}
    values["benchmark"] = {
        "threshold_seeds": list(thresholds),
        "scoring_seeds": list(scoring),
        "regimes": {name: REGIMES[name] for name in runs if name in REGIMES},
    }
    return values


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Checkpoint folders by organism seed, of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    return {
        seed: save_checkpoint(folder / str(seed), seed=seed, step=0) for seed in (101, 102, 201)
    }


def train(plan, entry, weights):
    """Write an organism's entry: the weights of its seed at every step, each with a mark."""
    with write_entry(plan.store / entry.place, entry.describe()) as out:
        for step in entry.params["recipe"]["save_steps"]:
            folder = out / f"checkpoint-{step}"
            shutil.copytree(weights[entry.params["seed"]], folder)
            state = {"global_step": step, "log_history": [], "num_input_tokens_seen": step}
            (folder / "trainer_state.json").write_text(json.dumps(state))


def settle(values, results, weights):
    """The plan once all that it waits for is there."""
    while (plan := plan_study(parse_study(values), results)).awaited:
        for entry in plan.awaited:
            if entry.stage == "organism":
                train(plan, entry, weights)
            else:
                write_stand_in(plan, entry)
    return plan


def list_places(plan, *stages):
    return {place for place in plan.entries if place.split("/")[0] in stages}


def test_seeds_are_trained_first_then_measured_and_compared(weights, tmp_path):
    first = plan_study(parse_study(make_study()), tmp_path)
    assert [e.stage for e in first.awaited].count("organism") == 8 and not first.publication
    plan = settle(make_study(), tmp_path, weights)
    assert plan.publication and "report" not in plan.publication.inputs
    assert len(list_places(plan, "signals")) == 2 and len(list_places(plan, "comparison")) == 1
    assert len(plan.checkpoints) == 2 * 7
    needed, queue = set(), [plan.publication]
    while queue:
        found = [e for v in queue.pop().inputs.values() for e in plan.list_needed(v)]
        queue += [e for e in found if e.place not in needed]
        needed |= {e.place for e in found}
    stages = {place.split("/")[0] for place in needed}
    assert not stages & {"drift", "fragmentation", "report"}
    assert {"signals", "comparison", "figures", "visit", "indicators"} <= stages
    planned = {place.split("/")[0] for place in plan.entries}
    parts = {"coupling-part", "evocation-part"}
    assert planned == stages | {"publication", *MEASURED, *TOGETHER, *parts} - {"verdicts"}
    assert estimate_study(plan, 1, pace=Pace(1e9, 1e9, 1)).tasks


def test_a_further_seed_costs_itself_and_the_comparison(weights, tmp_path):
    before = settle(make_study(), tmp_path, weights)
    after = settle(make_study(scoring=(101, 102)), tmp_path, weights)
    for stages in (("organism", *MEASURED), ("lock", "indicators", "signals")):
        assert list_places(before, *stages) < list_places(after, *stages)
    assert len(list_places(after, "signals")) == 3
    assert list_places(before, "comparison") != list_places(after, "comparison")


def test_a_further_regime_costs_its_own_training_and_measuring(weights, tmp_path):
    before = settle(make_study(), tmp_path, weights)
    more = make_study(runs=("a", "b", "lock-in", "helpful"))
    after = settle(more, tmp_path, weights)
    assert list_places(before, *MEASURED, "lock") == list_places(after, *MEASURED, "lock")
    assert len(list_places(after, "organism") - list_places(before, "organism")) == 2
    assert not list_places(before, "signals") & list_places(after, "signals")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.pop("organism"), "names organism"),
        (lambda v: v["benchmark"]["regimes"].update(gone="x"), "benchmark.regimes names 'gone'"),
        (lambda v: v["benchmark"]["regimes"].update(a="x"), "has the role healthy"),
        (lambda v: v["benchmark"].update(scoring_seeds=[201]), "seed 201 is named twice"),
    ],
)
def test_a_benchmark_that_cannot_work_is_refused_in_one_line(change, told):
    values = make_study()
    change(values)
    with pytest.raises(EmodriftError, match=told) as caught:
        parse_study(values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["warning-benchmark", "warning-benchmark-reduced"])
def test_the_shipped_benchmarks_plan_and_leave_the_seeds_that_others_score_by(name, tmp_path):
    study = parse_study(yaml.safe_load((ROOT / f"config/examples/{name}.yaml").read_text()))
    plan = plan_study(study, tmp_path)
    seeds = {*study.benchmark.threshold_seeds, *study.benchmark.scoring_seeds}
    assert {e.params["seed"] for e in plan.awaited if e.stage == "organism"} == seeds
    assert 31 not in seeds and max(seeds) < 900
    sound = set(study.runs) - set(study.benchmark.regimes) - {"healthy"}
    assert len(sound) >= 3 and len(set(study.benchmark.regimes.values())) >= 3
