"""Keys change with content alone, and an entry is there wholly or not at all."""

import errno
import json
import os
import platform
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from emodrift.errors import EmodriftError
from emodrift.models.memory import MemoryShortageError
from emodrift.store.digest import make_key
from emodrift.store.entry import entry_exists, read_content, read_manifest, write_entry
from emodrift.store.files import check_disk, is_abandoned, name_scratch
from emodrift.store.job import make_missing, open_job, spare_retries
from emodrift.store.verify import verify_store


def test_swapped_values_give_other_keys_and_order_of_names_does_not():
    assert make_key(params={"a": 1, "b": 2}) != make_key(params={"a": 2, "b": 1})
    assert make_key(params={"a": 1, "b": 2}) == make_key(params={"b": 2, "a": 1})
    assert make_key(values=[1, 2]) != make_key(values=[2, 1])


def test_an_entry_appears_with_its_manifest_when_the_block_ends(tmp_path):
    path = tmp_path / "store/stage/abc"
    with write_entry(path, {"stage": "stage", "key": "abc", "params": {"x": 1}}) as out:
        (out / "data.txt").write_text("content")
        assert not path.exists()
    assert entry_exists(path)
    assert read_manifest(path)["params"] == {"x": 1}


def test_a_block_that_fails_leaves_no_entry_and_no_scratch(tmp_path):
    path = tmp_path / "store/stage/abc"
    with pytest.raises(RuntimeError), write_entry(path, {"stage": "stage"}) as out:
        (out / "half.txt").write_text("half")
        raise RuntimeError
    assert list((tmp_path / "store/stage").iterdir()) == []


def test_an_empty_folder_in_the_place_of_an_entry_is_replaced(tmp_path):
    path = tmp_path / "store/stage/abc"
    path.mkdir(parents=True)
    with write_entry(path, {"stage": "stage"}) as out:
        (out / "data.txt").write_text("content")
    assert json.loads((path / "manifest.json").read_text())["files"].keys() == {"data.txt"}


def write_text(path, text, **params):
    manifest = {"stage": path.parent.name, "key": path.name, "params": params, "inputs": {}}
    with write_entry(path, manifest) as out:
        (out / "data.txt").write_text(text)
    return path


def test_equal_files_have_equal_content_whatever_the_key(tmp_path):
    one, twin = (write_text(tmp_path / f"stage/{key}", "same", key=key) for key in ("aa", "bb"))
    other = write_text(tmp_path / "stage/cc", "other")
    assert read_content(one) == read_content(twin) == read_manifest(one)["content"]
    assert read_content(other) != read_content(one)


def test_a_broken_manifest_is_named_with_its_repair(tmp_path):
    path = write_text(tmp_path / "stage/aa", "same")
    for text in ("", "{", "[]", "[" * 100_000, '{"files": 1}'):
        (path / "manifest.json").write_text(text)
        with pytest.raises(EmodriftError, match=r"manifest\.json is broken.*verify --repair"):
            read_manifest(path)


def test_an_entry_counts_only_when_its_bytes_are_on_the_disk(tmp_path, monkeypatch):
    path = tmp_path / "store/stage/abc"
    synced = []
    fsync = os.fsync

    def note(handle):
        assert not path.exists() or synced
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    with write_entry(path, {"stage": "stage"}) as out:
        (out / "deep").mkdir()
        (out / "deep/data.txt").write_text("content")
    wanted = [out / "deep/data.txt", out / "deep", out / "manifest.json", out, path.parent]
    assert {*map(str, wanted)} == {*synced} and synced[-1] == str(path.parent)


def test_scratch_of_dead_processes_is_cleared_by_the_next_writer_and_of_living_ones_is_not(
    tmp_path,
):
    path = tmp_path / "store/stage/abc"
    script = "import sys, pathlib; from emodrift.store.files import name_scratch\n"
    script += "name_scratch(pathlib.Path(sys.argv[1])).mkdir(parents=True)"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    living, elsewhere = name_scratch(path), path.with_name(".abc.scratch-1-0123abcd-0-elsewhere")
    living.mkdir()
    elsewhere.mkdir()
    (dead,) = {*path.parent.iterdir()} - {living, elsewhere}
    assert is_abandoned(dead) and not is_abandoned(living) and not is_abandoned(elsewhere)
    write_text(path, "content")
    assert {*path.parent.iterdir()} == {path, living, elsewhere}


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "disk is read-only")]
)
def test_a_disk_that_does_not_take_an_entry_is_one_line(tmp_path, number, words):
    path = tmp_path / "store/stage/abc"
    with pytest.raises(EmodriftError, match=words), write_entry(path, {}):
        raise OSError(number, os.strerror(number))
    assert list(path.parent.iterdir()) == []


def test_two_writers_of_one_entry_leave_one_whole_entry(tmp_path):
    path = tmp_path / "store/stage/abc"
    with write_entry(path, {"stage": "stage"}) as out:
        (out / "data.txt").write_text("content")
        write_text(path, "content")
    assert verify_store(tmp_path / "store") == [] and [*path.parent.iterdir()] == [path]


def test_reading_an_unfinished_entry_says_so(tmp_path):
    with pytest.raises(EmodriftError, match="not a finished store entry"):
        read_manifest(tmp_path)


def test_a_manifest_tells_the_machine_and_not_its_name(tmp_path):
    with write_entry(tmp_path / "stage" / "a", {"stage": "stage", "key": "a"}):
        pass
    machine = read_manifest(tmp_path / "stage" / "a")["machine"]
    assert re.search(r"\d+ cores", machine) and platform.node() not in machine


def test_a_folder_that_takes_no_file_is_told_in_one_line(tmp_path, monkeypatch):
    check_disk(tmp_path / "results")
    assert list((tmp_path / "results").iterdir()) == []

    def refuse(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(EmodriftError, match=r"results/\.probe: the disk is full"):
        check_disk(tmp_path / "results")


class Executor:
    """What is asked of Snakemake's executor."""

    def __init__(self):
        self.handled = []

    def handle_job_error(self, job):
        self.handled.append(job)


def run_job(folder, error, name="visit/abc"):
    """A job that ends with an error, as its adapter runs it."""
    entry = {"stage": "visit", "key": "abc", "params": {}, "context": {}, "inputs": {}}
    job = SimpleNamespace(
        params=SimpleNamespace(entry=entry | {"label": "sft step 10", "code": ""}),
        output=[str(folder / f"store/{name}/manifest.json")],
        log=[str(folder / f"logs/{name}.log")],
        attempt=1,
        restart_times=2,
    )
    with pytest.raises(type(error) if type(error) is RuntimeError else SystemExit), open_job(job):
        raise error
    return job


@pytest.mark.parametrize("processes", [1, 3])
def test_of_some_entries_those_that_are_missing_are_made(tmp_path, processes):
    described = [
        {"stage": "vectors", "key": key, "params": {"seed": 1}, "context": {"locations": []}}
        | {"inputs": {"texts": ["activations/x"]}, "label": f"step {key}", "code": ""}
        for key in ("0a", "0b", "0c", "0d")
    ]
    with write_entry(tmp_path / "vectors/0b", described[1]):
        pass

    def make(job):
        assert job.params == {"seed": 1} and job.inputs == {"texts": [tmp_path / "activations/x"]}
        (job.out / "made").write_text(job.label)
        if job.label == "step 0c":
            raise EmodriftError("not to be fitted")

    with pytest.raises(EmodriftError, match=r"^vectors of step 0c: not to be fitted$"):
        make_missing(described, tmp_path, make, processes)
    assert (tmp_path / "vectors/0a/made").read_text() == "step 0a"
    assert (tmp_path / "vectors/0d/made").read_text() == "step 0d"
    assert "label" not in read_manifest(tmp_path / "vectors/0a")
    assert not (tmp_path / "vectors/0b/made").exists() and not (tmp_path / "vectors/0c").exists()


def test_a_process_that_crashes_fails_the_job_and_not_what_others_make(tmp_path):
    described = [
        {"stage": "figure", "key": key, "params": {}, "context": {}, "inputs": {}}
        | {"label": key, "code": ""}
        for key in ("0a", "0b")
    ]

    def make(job):
        if job.label == "0a":
            os._exit(9)

    with pytest.raises(RuntimeError, match="crashed"):
        make_missing(described, tmp_path, make, processes=2)
    assert not (tmp_path / "figure/0a").exists() and (tmp_path / "figure/0b").exists()


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (EmodriftError("weight x holds NaN"), False),
        (MemoryShortageError("a row does not fit"), True),
        (RuntimeError("killed"), True),
    ],
    ids=["refused", "out of memory", "crashed"],
)
def test_a_job_that_refuses_its_data_is_not_tried_again_and_others_are(tmp_path, error, again):
    executor, told = Executor(), []
    job = run_job(tmp_path, error)
    spare_retries(executor, tmp_path / "logs", told.append)  # forgets notes of earlier runs
    executor.handle_job_error(job)
    assert job.attempt == 1 and told == []
    job = run_job(tmp_path, error)
    executor.handle_job_error(job)
    assert (job.restart_times > job.attempt - 1) == again and len(executor.handled) == 2
    line = f"emodrift: error in visit of sft step 10: {error}"
    assert told == ([] if again else [line])
