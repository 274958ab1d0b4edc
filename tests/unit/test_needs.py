"""What a job asks of a cluster follows from model and data, and is enough."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emodrift.config.running import GRADIENT_SHARE, Compute
from emodrift.plan.entries import Plan
from emodrift.plan.needs import (
    LARGEST_VOCABULARY,
    LIBRARIES,
    Needs,
    Weights,
    estimate_fit,
    estimate_summary,
    estimate_training,
    estimate_visit,
)
from tests.conftest import ROOT, save_checkpoint
from tests.unit.test_graph import plan_everything

GB = 10**9
LLAMA_8B = Weights(8_030_000_000, 16 * GB, hidden=4096, layers=32, vocabulary=128_256)
TOKENS = 1536
PEAKS = f"""
from pathlib import Path
from emodrift.grammar.sampling import REPLY_CLASSES, sample_prompts
from emodrift.measure.gradients import Question, differentiate_prompts
from emodrift.measure.session import Session
from emodrift.measure.trees import grow_tree
from emodrift.models.loading import load_model
from emodrift.models.memory import TokenBudget
from emodrift.models.prompts import encode_prompts, encode_replies
from tests.unit.test_measure import LOADING, pose
import sys

def read_memory(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024

for folder in sys.argv[1:]:
    model = load_model({{"path": folder}}, LOADING, "auto", "x")
    asked = [p["prompt"] for p in sample_prompts(0, 3)]
    prompts = encode_prompts(model, asked, "plain", "user : {{prompt}} assistant :")
    classes = encode_replies(model, {{k: list(v) for k, v in REPLY_CLASSES.items()}}, "plain")
    dialogues = pose(model, prompts, grow_tree(classes), "sum")
    targets = [(row, 1) for row in range(len(asked))]
    Path("/proc/self/clear_refs").write_text("5")
    session = Session(model, TokenBudget({TOKENS}), "x")
    differentiate_prompts(dialogues, Question(targets, "reply", 0), session)
    print(len(asked), read_memory("VmHWM"))
"""


def find_weights(location):
    """Weights at a location that is none of a study's checkpoints."""
    return Needs(Plan(None, Path("nowhere"))).find_weights(location)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_everything(tmp_path_factory.mktemp("study"))


def test_a_visit_stays_below_what_it_asks_for_and_needs_more_than_a_quarter_of_it(tmp_path):
    shapes = ({"hidden": 32, "layers": 2}, {"hidden": 512, "layers": 8})
    folders = [tmp_path / str(shape["hidden"]) for shape in shapes]
    for folder, shape in zip(folders, shapes, strict=True):
        save_checkpoint(folder, seed=0, step=0, **shape)
    done = subprocess.run(
        [sys.executable, "-c", PEAKS, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (rows, small), (_, large) = (
        [int(n) for n in line.split()] for line in done.stdout.splitlines()
    )
    compute = Compute(batch_tokens=GRADIENT_SHARE * TOKENS)
    weights = [find_weights({"path": str(folder)}) for folder in folders]
    asked = [estimate_visit(w, compute, rows) for w in weights]
    assert small < asked[0] and large < asked[1]
    assert large - small < asked[1] - asked[0] < 4 * (large - small)


def test_weights_are_counted_from_the_headers_of_their_files(tmp_path):
    folder = save_checkpoint(tmp_path / "m", seed=0, step=0)
    found = find_weights({"path": str(folder), "initialise": 1})
    config = json.loads((folder / "config.json").read_text())
    assert (found.hidden, found.layers, found.vocabulary) == (32, 3, config["vocab_size"])
    assert found.number == 2 * 32 * config["vocab_size"] + 3 * (10 * 32**2 + 2 * 32) + 32
    assert 4 * found.number < found.stored < 4 * found.number + 10_000


def test_an_adapter_takes_its_base_too(tmp_path):
    folder = save_checkpoint(tmp_path / "m", seed=0, step=0)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/adapter_model.safetensors").write_bytes(
        (folder / "model.safetensors").read_bytes()
    )
    base = {"path": str(folder)}
    alone = find_weights(base)
    both = find_weights({"path": str(tmp_path / "a"), "base": base})
    assert (both.number, both.layers) == (2 * alone.number, alone.layers)


def test_a_model_of_eight_billion_weights_asks_for_what_its_parts_add_up_to():
    on_cpu = estimate_visit(LLAMA_8B, Compute(), rows=0)
    block = 4096 * 24 * 4096 * 4
    graph = 1024 * (24 * 32 + 1) * 4096 * 4
    scores = 1024 * 3 * 128_256 * 4
    weights = 4 * LLAMA_8B.number + LLAMA_8B.stored
    assert on_cpu == LIBRARIES + weights + block + graph + scores
    assert estimate_visit(LLAMA_8B, Compute(device="cuda"), rows=0) == 20 * GB
    assert estimate_visit(LLAMA_8B, Compute(dtype="bfloat16"), rows=0) < on_cpu - 16 * GB
    assert estimate_visit(LLAMA_8B, Compute(recompute_blocks=True), rows=0) < on_cpu - 11 * GB
    assert estimate_visit(LLAMA_8B, Compute(batch_tokens=1024), rows=0) < on_cpu - 11 * GB
    assert estimate_training(LLAMA_8B, Compute()) - on_cpu == 16 * LLAMA_8B.number


def test_what_reads_checkpoints_asks_by_their_texts_and_their_number(plan):
    one = plan.checkpoints[0]
    per_row = 3 * (one.layers + 1) * one.hidden * 4
    assert estimate_fit(one, 101) - estimate_fit(one, 100) == per_row
    few, many = (estimate_summary([one] * number, 100) for number in (10, 1010))
    assert many - few == 1000 * 2 * 10**6


def test_every_job_of_a_study_asks_for_memory(plan):
    needs = Needs(plan)
    asked = {entry.stage: needs.foresee_memory(entry) for entry in plan.entries.values()}
    assert all(type(need) is int and need >= 1500 for need in asked.values())
    assert asked["visit"] > asked["fitting"] and asked["drift"] > asked["indicators"]


def test_the_vocabulary_of_a_model_whose_config_is_not_here_is_a_large_one():
    unknown = {"repo": "owner/name", "commit": "c", "subfolder": ""}
    assert find_weights(unknown).vocabulary == LARGEST_VOCABULARY


def test_a_visit_shares_a_job_with_what_is_made_of_its_checkpoints_alone(plan):
    needs = Needs(plan)
    visits = {visit.key for visit in plan.of_stage("visit")}
    (lock,) = (entry for entry in plan.of_stage("lock") if not entry.label.endswith(")"))
    of_reference = needs.name_group(lock)
    assert of_reference.removeprefix("visit-") in visits
    fitted = [needs.name_group(entry) for entry in plan.of_stage("fitting")]
    assert of_reference in fitted and len(set(fitted)) == len(fitted)
    judged = [needs.name_group(entry) for entry in plan.of_stage("judging")]
    assert {group.removeprefix("visit-") for group in (*fitted, *judged)} <= visits
