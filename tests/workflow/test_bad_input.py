"""Bad input ends a study with one clear line, and nothing that was computed is lost."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import copy_project, save_checkpoint


@pytest.fixture
def project(tmp_path):
    project = copy_project(tmp_path)
    for step in (0, 10):
        save_checkpoint(tmp_path / f"runs/sft/checkpoint-{step}", seed=step, step=step)
    return project


def lines_of_error(done):
    return [x for x in (done.stdout + done.stderr).splitlines() if "emodrift: error" in x]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(colour="red"), "colour: unknown key"),
        (lambda s: s["vectors"].update(layer=9), "vectors.layer 9 is outside 0..3"),
    ],
    ids=["config", "plan"],
)
def test_what_planning_can_see_fails_before_any_job(project, change, message):
    project.edit_study(change)
    done = project.run("--dry-run", check=False)
    assert done.returncode != 0
    assert any(message in line for line in lines_of_error(done))
    assert "Traceback" not in done.stdout + done.stderr


def test_broken_weights_fail_their_own_job_and_keep_the_others_work(project):
    broken = save_checkpoint(project.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    weights = load_file(broken / "model.safetensors")
    name = next(iter(sorted(weights)))
    weights[name].view(-1)[0] = torch.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    done = project.run("--keep-going", check=False)
    assert done.returncode != 0
    (line,) = set(lines_of_error(done))
    assert "sft step 20" in line and "holds NaN or infinity" in line
    done = (project.folder / "results/store/activations").glob("*/manifest.json")
    assert len(list(done)) == 2 * 4 + 2  # of the other two, and of the reference's random twin
    shutil.rmtree(broken)
    assert "visit" not in project.list_jobs()
