"""A finished study, run once for all tests and workers."""

import shutil

import pytest
from filelock import FileLock

from tests.conftest import Project, copy_project, save_checkpoint

GENERATION = {"prompts_per_cell": 1, "max_new_tokens": 4, "judge": "replies"}


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id):
    """A finished study over two checkpoints, to be read or copied, never changed.

    Workers share it: the first to ask runs it while others wait.
    """
    root = tmp_path_factory.getbasetemp()
    place = (root if worker_id == "master" else root.parent) / "finished"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            project = copy_project(tmp_path_factory.mktemp("project"))
            for step in (0, 10):
                folder = project.folder / f"runs/sft/checkpoint-{step}"
                save_checkpoint(folder, seed=step, step=step)
            project.edit_study(lambda s: s.update(generation=GENERATION))
            project.run()
            project.folder.rename(place)
    return Project(place)


@pytest.fixture
def study(finished, tmp_path):
    """A private copy of the finished study, times kept."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2)
    return Project(folder)
