"""Files of memory are shared, may break, and may not be written: nothing is wrong for it."""

import errno
import json
import logging
import os
import subprocess
import sys

import pytest

from emodrift.store import files, memory
from emodrift.store.memory import FileDigests, Memory

BROKEN = ("", "{", "[]", "null", "[" * 100_000, '"text"', "\x00")
WRITER = """
import sys, pathlib
from emodrift.store.memory import Memory
path, name = pathlib.Path(sys.argv[1]), sys.argv[2]
for k in range(100):
    memory = Memory(path)
    memory.learn(f"{name}{k}", k)
    memory.save()
"""


def test_file_digests_are_remembered_and_see_changed_bytes(tmp_path, monkeypatch):
    file, memo = tmp_path / "weights", tmp_path / "memo.json"
    file.write_bytes(b"one")
    digests = FileDigests(memo)
    first = digests.digest(file)
    digests.save()
    with monkeypatch.context() as patch:
        patch.setattr(memory, "digest_file", None)
        assert FileDigests(memo).digest(file) == first
    file.write_bytes(b"two")
    assert FileDigests(memo).digest(file) != first


def test_two_writers_at_once_lose_nothing_of_each_others_knowledge(tmp_path):
    path = tmp_path / "digests.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, name], stderr=subprocess.PIPE)
        for name in "ab"
    ]
    for writer in writers:
        assert writer.communicate()[1] == b"" and writer.returncode == 0
    known = json.loads(path.read_text())
    assert known == {f"{name}{k}": k for name in "ab" for k in range(100)}
    assert {p.name for p in tmp_path.iterdir()} <= {"digests.json", ".digests.json.lock"}


@pytest.mark.parametrize("text", BROKEN)
def test_broken_memory_is_begun_anew_and_said_once(tmp_path, caplog, text):
    path = tmp_path / "digests.json"
    path.write_text(text)
    for _ in range(2):
        known = Memory(path)
        known.learn("a", 1)
        known.save()
    assert Memory(path).recall("a") == 1
    assert [r.message for r in caplog.records] == [f"{path} cannot be read and is begun anew"]


def test_memory_in_another_encoding_or_of_another_shape_is_not_believed(tmp_path):
    file, path = tmp_path / "weights", tmp_path / "digests.json"
    file.write_bytes(b"one")
    path.write_bytes(b"\xff\xfe{}")
    right = FileDigests(path).digest(file)
    for wrong in (1, [], [[1, 2, 3]], ["a", "b", "c"], {"a": 1}, None):
        path.write_text(json.dumps({str(file.resolve()): wrong}))
        assert FileDigests(path).digest(file) == right


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_memory_that_cannot_be_written_is_done_without(tmp_path, monkeypatch, caplog, number):
    path = tmp_path / "digests.json"
    path.write_text('{"a": 1}')

    def fail(_handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    known = Memory(path)
    known.learn("b", 2)
    with caplog.at_level(logging.WARNING):
        known.save()
    assert known.recall("b") == 2 and json.loads(path.read_text()) == {"a": 1}
    assert "digests.json is not kept" in caplog.text
    assert not [p for p in tmp_path.iterdir() if "scratch" in p.name]


def test_a_file_that_is_overwritten_and_whose_time_is_set_back_is_read_again(tmp_path):
    file, digests = tmp_path / "weights", FileDigests(tmp_path / "memory.json")
    file.write_bytes(b"one")
    before, state = digests.digest(file), file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (state.st_mtime_ns, state.st_ino)
    assert digests.digest(file) != before
