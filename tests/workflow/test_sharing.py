"""A run that is told to end, studies that share a store, and clocks that are wrong."""

import os
import signal
import time

import numpy as np

from emodrift.store.entry import list_entries
from emodrift.store.verify import verify_store
from tests import stale
from tests.conftest import save_checkpoint
from tests.workflow.test_kills import check_end, check_kill, kill

PATIENCE = 600
HOUR = 3600


def end_early(study):
    """Tell a run to end once it has finished an entry; what it ends with."""
    run, store = study.start(), study.folder / "results/store"
    deadline = time.monotonic() + PATIENCE
    try:
        while not (store.is_dir() and list_entries(store)):
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        return run.wait(PATIENCE)
    finally:
        kill(run)


def share_store(study, other):
    """Let another copy of the project, whose code differs, use a study's store."""
    path = other.folder / "workflow/emodrift/vectors/confounds.py"
    text = path.read_text()
    assert "1e-12" in text
    path.write_text(text.replace("1e-12", "1e-11"))
    other.edit_study(lambda s: s.update(name="other"))
    (other.folder / "results").symlink_to(study.folder / "results")


def test_a_run_that_was_told_to_end_is_finished_by_two_at_a_time_of_different_code(
    finished, tmp_path
):
    study, other = (finished.copy_untouched(tmp_path / name) for name in ("study", "other"))
    assert end_early(study) != 0
    check_kill(study, {})
    share_store(study, other)
    runs = [each.start() for each in (study, study, other)]
    try:
        assert [run.wait(PATIENCE) for run in runs] == [0, 0, 0]
    finally:
        for run in runs:
            kill(run)
    for each in (study, other):
        check_end(each, finished)
    made, alone = (
        [*(each.folder / "results/store/vectors").glob("[!.]*")] for each in (study, finished)
    )
    assert len(made) == 2 * len(alone)


def test_times_that_are_wrong_make_nothing_anew(study):
    """Times of files jump about by hours, as where a clock was set back or machines disagree."""
    save_checkpoint(study.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    expected = study.list_jobs()
    assert expected["visit"] == 1
    rng, now = np.random.default_rng(0), time.time()
    for path in study.folder.rglob("*"):
        if ".snakemake" not in path.parts and not path.is_symlink():
            os.utime(path, (now, now + rng.uniform(-9, 9) * HOUR))
    assert study.list_jobs() == expected
    assert verify_store(study.folder / "results/store") == []


def test_entries_that_are_seen_late_are_waited_for(finished, tmp_path):
    """A network's file system shows what another machine has made seconds later."""
    project = finished.copy_untouched(tmp_path / "project")
    project.environment |= stale.install(project.folder, tmp_path / "seen", seconds=2)
    done = project.run()
    assert "Waiting at most" in done.stdout + done.stderr
    check_end(project, finished)
