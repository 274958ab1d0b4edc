"""Runs that are killed, and what they run on that fails: nothing half done, nothing lost.

`EMODRIFT_KILLS=100` kills that many runs; the suite kills a few.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from emodrift.store.entry import read_manifest
from emodrift.store.verify import verify_store
from tests.conftest import Project, copy_project, save_checkpoint

KILLS = int(os.environ.get("EMODRIFT_KILLS", 3))
SECONDS = 300
PUBLICATION = "publication"


@pytest.fixture
def study(finished, tmp_path):
    """A private copy of the finished study."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder, copy_function=shutil.copy2)
    return Project(folder, finished.environment)


def read_published(study):
    folder = study.folder / "results/tiny"
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.csv")}


def list_seals(study):
    """What the store holds, by content."""
    store = study.folder / "results/store"
    return {m.parent: read_manifest(m.parent)["seal"] for m in store.glob("*/[!.]*/manifest.json")}


def forget_stage(study, stage):
    """Delete all that a stage made, as if the run had not come so far, and the publication."""
    shutil.rmtree(study.folder / "results/tiny", ignore_errors=True)
    if stage != PUBLICATION:
        shutil.rmtree(study.folder / "results/store" / stage)


def begun(study):
    """Whether the run writes something: an entry's scratch, or what is published."""
    results = study.folder / "results"
    return any(results.glob("store/*/.*scratch*")) or (results / "tiny").exists()


def list_work(study):
    """Stages that can be made again, each with the publication of what it leads to."""
    stages = {path.parent.name for path in (study.folder / "results/store").glob("*/*/")}
    return sorted(s for s in stages if any((study.folder / "results/store" / s).glob("[!.]*")))


def test_kills_at_random_moments_in_any_stage_leave_nothing_half_done(study):
    """SIGKILL of the whole run, or SIGTERM, in stages drawn at random, publication among them."""
    drawn = random.Random(KILLS)
    published, whole = read_published(study), list_seals(study)
    work = [PUBLICATION, *drawn.sample(list_work(study), k=len(list_work(study)))]
    for number in range(KILLS):
        forget_stage(study, work[number % len(work)])
        kept = list_seals(study)
        run = study.start()
        deadline = time.monotonic() + SECONDS
        while not begun(study) and run.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(drawn.uniform(0, 3))
        os.killpg(run.pid, drawn.choice([signal.SIGKILL, signal.SIGTERM]))
        run.wait(timeout=SECONDS)
        now = list_seals(study)
        assert kept.items() <= now.items() and now.keys() <= whole.keys()
        assert not [f for f in verify_store(study.folder / "results/store") if f.kind == "damaged"]
    study.run()
    assert study.list_jobs() == {} and read_published(study) == published
    assert verify_store(study.folder / "results/store") == []
    assert list_seals(study).keys() == whole.keys()


def test_two_studies_with_different_code_share_a_store_at_the_same_time(study, tmp_path):
    other = Project(tmp_path / "other", study.environment)
    shutil.copytree(study.folder, other.folder, ignore=shutil.ignore_patterns("results"))
    (other.folder / "results").mkdir()
    (other.folder / "results/store").symlink_to(study.folder / "results/store")
    path = other.folder / "workflow/emodrift/drift/direction.py"
    text = path.read_text()
    assert "RELIABILITY_FLOOR = 0.05" in text
    path.write_text(text.replace("RELIABILITY_FLOOR = 0.05", "RELIABILITY_FLOOR = 0.06"))
    for project in (study, other):
        save_checkpoint(project.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    runs = [project.start() for project in (study, other)]
    assert [run.wait(timeout=2 * SECONDS) for run in runs] == [0, 0]
    assert study.list_jobs() == other.list_jobs() == {}
    assert not [f for f in verify_store(study.folder / "results/store") if f.kind == "damaged"]
    tables = [read_published(project) for project in (study, other)]
    assert tables[0] == tables[1]  # no vector here is so unreliable that the floor matters


def test_a_clock_that_was_set_back_runs_nothing_again_and_hides_nothing_new(study):
    past, future = 1_000_000_000, 2_000_000_000
    for path in (study.folder / "results").rglob("*"):
        os.utime(path, (past, past))
    for path in (study.folder / "runs").rglob("*"):
        os.utime(path, (future, future))
    assert study.list_jobs() == {}
    save_checkpoint(study.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    for path in (study.folder / "runs/sft/checkpoint-20").rglob("*"):
        os.utime(path, (past - 1, past - 1))
    assert study.list_jobs()["visit"] == 1


@pytest.fixture
def disk(tmp_path):
    """Mounts a small disk, and mounts it again as it is asked."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "emodrift", str(place)]
        return subprocess.run(command, capture_output=True).returncode == 0

    if not mount("size=64k"):
        pytest.skip("only root may mount a small disk")
    yield place, lambda *options: mount("remount", *options)
    subprocess.run(["umount", str(place)], check=True)


def run_first_stage(project):
    done = project.run("--until", "contrasts", check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_disk_that_is_full_or_read_only_is_one_line_and_right_after_it_the_run_goes_on(
    disk, tmp_path
):
    place, remount = disk
    project = copy_project(tmp_path)
    save_checkpoint(project.folder / "runs/sft/checkpoint-0", seed=0, step=0)
    (project.folder / "results").symlink_to(place)
    for options, words in ((("size=64k",), "the disk is full"), (("ro",), "the disk is read-only")):
        remount(*options)
        status, output = run_first_stage(project)
        assert status and "Traceback" not in output
        assert words in next(line for line in output.splitlines() if "emodrift: error" in line)
        assert not [p for p in place.glob("store/*/.*") if p.is_dir()]
    remount("rw", "size=64m")
    assert run_first_stage(project)[0] == 0
    (manifest,) = place.glob("store/contrasts/*/manifest.json")
    assert json.loads(manifest.read_text())["stage"] == "contrasts"
