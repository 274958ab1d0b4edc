"""Examples in docstrings: functions that users call have one, and each does what it says.

They run in a folder with the README's config ``config/mine.yaml``, its checkpoints
``runs/base`` and ``runs/sft/checkpoint-500``, and a lock of two emotions.
"""

import ast
import doctest
import importlib
import re
import shutil

import numpy as np
import pytest
import xarray as xr

from emodrift.measure.arrays import save_array
from emodrift.measure.names import BUNDLES, LOCK
from tests.conftest import ROOT, save_checkpoint

LIBRARY = ROOT / "workflow"
CALLED = (
    ("checkpoints.discovery", "discover"),
    ("config.reading", "read_study"),
    ("evals.relations", "correlate"),
    ("exports.formats", "write_gguf"),
    ("exports.formats", "write_lm_eval"),
    ("exports.formats", "write_numpy"),
    ("exports.formats", "write_safetensors"),
    ("exports.formats", "write_steering_vectors"),
    ("exports.locked", "LockedVectors"),
    ("grammar.sampling", "sample_stories"),
    ("judging.judges", "judge_reply"),
    ("measure.directions", "open_lock"),
    ("measure.directions", "pick_directions"),
    ("models.loading", "load_model"),
    ("plan.study", "plan_study"),
    ("show.figures", "list_figures"),
    ("store.entry", "write_entry"),
    ("store.verify", "verify_store"),
)
"""Functions of the library that a notebook or a neighbouring tool begins with."""
TRAINS = ("emodrift.watching.callback",)
"""Modules whose example is a training run over a finished study; their own tests make such runs."""
README = (ROOT / "README.md").read_text()


def list_modules():
    """Modules of the library with examples that run here."""
    paths = [p for p in sorted(LIBRARY.rglob("*.py")) if ">>> " in p.read_text()]
    names = [".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in paths]
    return [name for n in names if (name := n.removesuffix(".__init__")) not in TRAINS]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder in which examples are called."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "config").mkdir()
    (config,) = re.findall(r"^```yaml\n# config/mine.yaml\n(.*?)^```", README, re.M | re.S)
    (folder / "config/mine.yaml").write_text(config)
    (folder / "resources").symlink_to(ROOT / "resources")
    for seed, path in enumerate(("runs/base", "runs/sft/checkpoint-500")):
        save_checkpoint(folder / path, seed=seed, step=500 * seed)
    write_lock(folder / "results/store/lock/1f0c")
    return folder


def write_lock(entry):
    """What is read of a lock: two emotions and a random direction at layer 2."""
    entry.mkdir(parents=True)
    lock = xr.Dataset(
        {"direction": (("direction", "hidden"), np.eye(3, 4)), "center": ("hidden", np.zeros(4))},
        coords={
            "name": ("direction", np.array(["afraid", "worried", "random-0"], dtype=object)),
            "kind": ("direction", np.array(["emotion", "emotion", "random"], dtype=object)),
            "layer": 2,
        },
    )
    save_array(lock, entry / LOCK)
    (entry / BUNDLES).write_text('{"caution": ["afraid", "worried"]}')


@pytest.mark.parametrize("module", list_modules())
def test_the_examples_of_a_module_do_what_they_say(module, place, tmp_path, monkeypatch):
    shutil.copytree(place, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    report = []
    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(importlib.import_module(module), module):
        runner.run(test, out=report.append)
    assert runner.tries and not runner.failures, "".join(report)


@pytest.mark.parametrize(("module", "name"), CALLED, ids=lambda value: value)
def test_what_users_call_has_an_example(module, name):
    path = LIBRARY / "emodrift" / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    (found,) = (n for n in ast.parse(path.read_text()).body if getattr(n, "name", "") == name)
    assert ">>> " in ast.get_docstring(found)
