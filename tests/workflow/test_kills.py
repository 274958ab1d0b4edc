"""A study that is killed at random moments, again and again, ends as one that is left alone."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np

from emodrift.store.entry import list_entries
from emodrift.store.verify import verify_store

KILLS = int(os.environ.get("EMODRIFT_KILLS", "3"))
"""As many kills; `make reliability` asks for a hundred."""
LONGEST = 16
"""Seconds after which a run is killed at the latest; it plans in three and takes eighty."""
KILLED = {"test_a_killed_study_loses_nothing_and_ends_as_if_left_alone": KILLS}
"""Test -> the cases that it draws by itself."""


def kill(run):
    """Kill a run and all that it started."""
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def run_and_kill(study, seconds):
    """Start the study and kill it after so many seconds; whether it had ended well before."""
    run = study.start()
    try:
        assert run.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    else:
        return True
    finally:
        kill(run)


def run_and_kill_while_writing(study):
    """Start the study and kill it as soon as an entry is begun; names of those begun."""
    run, store = study.start(), study.folder / "results/store"
    deadline = time.monotonic() + 120
    try:
        while not (begun := [p for p in store.glob("*/.*") if p.is_dir()]):
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.02)
    finally:
        kill(run)
    return {path.name.split(".")[1] for path in begun}


def read_entries(study):
    """Finished entries, and when each manifest was written."""
    store = study.folder / "results/store"
    found = list_entries(store) if store.is_dir() else []
    return {path: (path / "manifest.json").stat().st_mtime_ns for path in found}


def check_end(study, finished):
    assert study.list_jobs() == {} and verify_store(study.folder / "results/store") == []
    expected = finished.read_tables()
    assert len(expected) > 20 and study.read_tables() == expected


def check_kill(study, before):
    """No finished entry is lost, and none that was begun looks finished."""
    assert read_entries(study).items() >= before.items()
    store = study.folder / "results/store"
    if store.is_dir():
        assert {finding.kind for finding in verify_store(store)} <= {"abandoned"}


def test_a_killed_study_loses_nothing_and_ends_as_if_left_alone(finished, tmp_path):
    study, rng = finished.copy_untouched(tmp_path / "killed"), np.random.default_rng(0)
    begun = run_and_kill_while_writing(study)
    check_kill(study, {})
    assert not begun & {path.name for path in read_entries(study)}
    killed = 1
    while killed < KILLS:
        before = read_entries(study)
        if run_and_kill(study, rng.uniform(1, LONGEST)):
            check_end(study, finished)
            for folder in ("results", ".snakemake"):
                shutil.rmtree(study.folder / folder)
        else:
            check_kill(study, before)
            killed += 1
    study.run()
    check_end(study, finished)
