"""A study over checkpoints that no model fills: folders as the Trainer writes them, and no weights
worth loading.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import yaml

from benchmarks.scale.processes import ROOT
from emodrift.config.reading import read_study
from emodrift.plan.entries import Plan
from emodrift.plan.study import plan_study
from tests.conftest import STUDY, write_stand_in

RUNS = ("healthy", "second", "third", "fourth")
HIDDEN, LAYERS = 4096, 32


def write_study(folder: Path, checkpoints: int) -> Path:
    """Write a project folder with a study over so many checkpoints, and return its config.

    Contrast data and lock are stand-ins that hold what a plan reads of them.
    """
    folder.mkdir(parents=True)
    for name in ("Snakefile", "workflow", "profiles", "resources"):
        (folder / name).symlink_to(ROOT / name)
    for number in range(checkpoints):
        run, step = RUNS[number % len(RUNS)], number // len(RUNS)
        _write_checkpoint(folder / f"runs/{run}/checkpoint-{step}", number)
    runs = {run: {"checkpoints": f"runs/{run}/checkpoint-*"} for run in RUNS[:checkpoints]}
    config = folder / "study.yaml"
    config.write_text(
        yaml.safe_dump(STUDY | {"runs": runs, "reference": {"run": RUNS[0], "step": 0}})
    )
    return config


def settle(folder: Path) -> Plan:
    """Write stand-ins for all that a plan waits for; return the whole plan."""
    while True:
        plan = plan_study(read_study(folder / "study.yaml"), folder / "results")
        if not plan.awaited:
            return plan
        for entry in plan.awaited:
            write_stand_in(plan, entry)


def _write_checkpoint(folder: Path, number: int) -> None:
    folder.mkdir(parents=True)
    shape = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | shape))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": []}))
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"model.norm.weight": tensor}).encode()
    weights = struct.pack("<Q", len(header)) + header + struct.pack("<I", number)
    (folder / "model.safetensors").write_bytes(weights)
