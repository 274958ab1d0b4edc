"""The study runs on a SLURM cluster through the shipped profile."""

import contextlib
import shutil
import subprocess

import pytest

from tests.conftest import copy_project, save_checkpoint


def slurm_answers():
    if not shutil.which("sbatch"):
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run(["sinfo"], capture_output=True, timeout=30).returncode == 0
    return False


@pytest.mark.skipif(not slurm_answers(), reason="no SLURM controller answers on this machine")
def test_a_study_runs_through_the_slurm_profile(tmp_path):
    project = copy_project(tmp_path)
    save_checkpoint(tmp_path / "runs/sft/checkpoint-0", seed=0, step=0)
    small = ["mem_mb=1500", "runtime=10"]
    stages = ("visit",)
    project.run(
        *("--profile", "profiles/slurm", "--latency-wait", "20"),
        *("--slurm-init-seconds-before-status-checks", "5"),
        *("--default-resources", *small),
        *("--set-resources", *(f"{stage}:{value}" for stage in stages for value in small)),
    )
    assert (tmp_path / "results/tiny/audit.json").exists()
