"""Keys change with content alone, and an entry is there wholly or not at all."""

import json

import pytest

from emodrift.errors import EmodriftError
from emodrift.store.digest import FileDigests, make_key
from emodrift.store.entry import entry_exists, find_damage, read_manifest, write_entry
from emodrift.store.verify import verify_store


def test_swapped_values_give_other_keys_and_order_of_names_does_not():
    assert make_key(params={"a": 1, "b": 2}) != make_key(params={"a": 2, "b": 1})
    assert make_key(params={"a": 1, "b": 2}) == make_key(params={"b": 2, "a": 1})
    assert make_key(values=[1, 2]) != make_key(values=[2, 1])


def test_file_digests_are_remembered_and_see_changed_bytes(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    digests = FileDigests(tmp_path / "memo.json")
    first = digests.digest(file)
    digests.save()
    again = FileDigests(tmp_path / "memo.json")
    assert again.digest(file) == first and not again.changed
    file.write_bytes(b"two")
    assert again.digest(file) != first


def test_an_entry_appears_with_its_manifest_when_the_block_ends(tmp_path):
    path = tmp_path / "store/stage/abc"
    with write_entry(path, {"stage": "stage", "key": "abc", "params": {"x": 1}}) as out:
        (out / "data.txt").write_text("content")
        assert not path.exists()
    assert entry_exists(path)
    assert read_manifest(path)["params"] == {"x": 1}
    assert find_damage(path) == []
    (path / "data.txt").write_text("other")
    assert find_damage(path) == ["data.txt"]
    assert verify_store(tmp_path / "store") == [f"{path}: data.txt"]


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


def test_reading_an_unfinished_entry_says_so(tmp_path):
    with pytest.raises(EmodriftError, match="not a finished store entry"):
        read_manifest(tmp_path)
