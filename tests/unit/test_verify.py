"""Whatever is broken in a store is found, and repair removes what must be made again, no more."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from emodrift import cli
from emodrift.store.entry import write_entry
from emodrift.store.stamps import read_stamp, write_stamp
from emodrift.store.verify import list_leads, repair_store, verify_store

A, B, C, D, PART, LONE = (letter * 20 for letter in "abcdef")


def make(store, place, inputs=(), **files):
    stage, key = place.split("/")
    manifest = {"stage": stage, "key": key, "inputs": {"from": list(inputs)}, "params": {}}
    with write_entry(store / place, manifest) as out:
        for name, text in (files or {"data": place}).items():
            (out / f"{name}.txt").write_text(text)
        if stage == "visit":
            (out / "measurements.json").write_text(json.dumps([f"activations/{PART}"]))
    return place


@pytest.fixture
def store(tmp_path):
    """A hidden part, activations that lead to it, vectors, a figure, a study, a lone entry."""
    store = tmp_path / "results/store"
    with write_entry(store / f"activations/{PART}", {"stage": "activations"}) as out:
        (out / "array").mkdir()
        (out / "array/0").write_bytes(b"numbers")
    activations = make(store, f"visit/{A}")
    vectors = make(store, f"vectors/{B}", [activations])
    figure = make(store, f"figure/{C}", [vectors], figure="curves")
    make(store, f"contrasts/{LONE}")
    study = store.parent / "study"
    (study / "figures").mkdir(parents=True)
    (study / "figures/curves.txt").write_text("curves")
    write_stamp(study / f".published/{D}", [figure])
    (store / "digests.json").write_text("{}")
    return store


CHAIN = [f"visit/{A}", f"vectors/{B}", f"figure/{C}", f"../study/.published/{D}"]


def find(store):
    return {(os.path.relpath(f.path, store), f.kind) for f in verify_store(store)}


def list_all(store):
    return {str(p) for p in store.parent.rglob("*")}


def check_repair(store, places):
    """Repair removes these and what is in them; then all is right."""
    before = list_all(store)
    removed = repair_store(store, verify_store(store))
    assert {os.path.relpath(p, store) for p in removed} == set(places)
    gone = {os.path.normpath(store / place) for place in places}
    left = {p for p in before if not any(p == g or p.startswith(f"{g}/") for g in gone)}
    assert list_all(store) == left
    assert verify_store(store) == []


def test_a_sound_store_has_nothing_to_find(store):
    assert verify_store(store) == [] and repair_store(store, []) == []


def test_leads_are_inputs_and_what_an_entry_points_to(store):
    assert list_leads(store / CHAIN[1]) == {CHAIN[0]}
    assert list_leads(store / CHAIN[0]) == {f"activations/{PART}"}


@pytest.mark.parametrize("change", ["bytes", "missing", "truncated"])
def test_a_damaged_hidden_part_takes_all_that_was_made_from_it(store, change):
    file = store / f"activations/{PART}/array/0"
    if change == "missing":
        file.unlink()
    else:
        file.write_bytes(b"numberz" if change == "bytes" else b"numb")
    part = f"activations/{PART}"
    derived = {(place, "derived") for place in CHAIN[:3]}
    assert find(store) == {(part, "damaged"), *derived, (CHAIN[3], "published")}
    assert str(verify_store(store)[0]).endswith(
        "array/0 is missing or differs from its manifest.json"
    )
    check_repair(store, [part, *CHAIN])


def test_damage_in_the_middle_spares_what_lies_before_and_beside_it(store):
    (store / CHAIN[1] / "data.txt").write_text("other")
    check_repair(store, CHAIN[1:])


def test_an_entry_deleted_by_hand_takes_what_was_made_from_it(store):
    shutil.rmtree(store / CHAIN[1])
    assert find(store) == {(CHAIN[2], "derived"), (CHAIN[3], "published")}
    assert "was made from vectors/" in str(verify_store(store)[0])
    check_repair(store, CHAIN[2:])


BREAKS = {
    "empty": lambda text: "",
    "half": lambda text: text[: len(text) // 2],
    "no mapping": lambda text: "[1]",
    "nested": lambda text: "[" * 100_000,
    "params": lambda text: text.replace('"params": {}', '"params": {"seed": 2}'),
    "inputs": lambda text: text.replace(CHAIN[0], f"contrasts/{LONE}"),
    "files": lambda text: json.dumps(json.loads(text) | {"files": {}}),
    "other key": lambda text: text.replace(B, C),
}


@pytest.mark.parametrize("change", BREAKS)
def test_a_manifest_that_is_broken_or_edited_is_damage(store, change):
    manifest = store / CHAIN[1] / "manifest.json"
    manifest.write_text(BREAKS[change](manifest.read_text()))
    assert (CHAIN[1], "damaged") in find(store)
    assert {(CHAIN[2], "derived"), (CHAIN[3], "published")} <= find(store)
    repair_store(store, verify_store(store))
    assert verify_store(store) == [] and (store / CHAIN[0]).is_dir()
    assert not any((store / place).exists() for place in CHAIN[1:])


def test_an_entry_in_the_place_of_another_is_damage(store):
    (store / f"contrasts/{LONE}").rename(store / f"contrasts/{A}")
    assert find(store) == {(f"contrasts/{A}", "damaged")}


def test_foreign_files_go_alone(store):
    (store / CHAIN[1] / "array").mkdir()
    (store / CHAIN[1] / "array/5").write_text("not mine")
    (store / "vectors/notes.txt").write_text("mine")
    (store / "vectors" / LONE).mkdir()
    assert verify_store(store)[0].kind == "foreign"  # an empty folder waits for its job
    check_repair(store, [f"{CHAIN[1]}/array/5", "vectors/notes.txt"])


def test_a_folder_without_its_manifest_is_no_entry(store):
    (store / CHAIN[1] / "manifest.json").unlink()
    assert (CHAIN[1], "foreign") in find(store) and (CHAIN[2], "derived") in find(store)
    check_repair(store, CHAIN[1:])


def test_a_link_in_the_place_of_an_entry_is_removed_and_not_what_it_leads_to(store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (store / CHAIN[1]).rename(elsewhere)
    (elsewhere / "data.txt").write_text("other")
    (store / CHAIN[1]).symlink_to(elsewhere)
    repair_store(store, verify_store(store))
    assert (elsewhere / "manifest.json").is_file() and not (store / CHAIN[1]).is_symlink()


@pytest.mark.parametrize("change", ["edited", "missing", "stamp"])
def test_published_files_that_were_changed_are_published_again(store, change):
    file = store.parent / "study/figures/curves.txt"
    if change == "edited":
        file.write_text("other curves")
    elif change == "missing":
        file.unlink()
    else:
        (store / CHAIN[3]).write_text("[]")
    assert find(store) == {(CHAIN[3], "published")}
    repair_store(store, verify_store(store))
    assert verify_store(store) == [] and not (store / CHAIN[3]).exists()


def test_a_stamp_lists_every_file_with_its_digest_and_every_entry(store):
    stamp = read_stamp(store / CHAIN[3])
    assert set(stamp.files) == {"figures/curves.txt"} and stamp.entries == (f"figure/{C}",)


def test_scratch_of_dead_processes_is_found_and_that_of_living_ones_is_not(store):
    from emodrift.store.files import name_scratch

    living = name_scratch(store / f"vectors/{A}")
    living.mkdir()
    script = "import sys, pathlib; from emodrift.store.files import name_scratch\n"
    script += "name_scratch(pathlib.Path(sys.argv[1])).mkdir()"
    subprocess.run([sys.executable, "-c", script, store / f"vectors/{A}"], check=True)
    ((path, kind),) = find(store)
    assert kind == "abandoned"
    check_repair(store, [path])
    assert living.is_dir()


def test_what_cannot_be_removed_is_one_line(store, monkeypatch):
    from emodrift.errors import EmodriftError
    from emodrift.store import verify

    (store / CHAIN[2] / "figure.txt").write_text("other")
    monkeypatch.setattr(verify, "remove", lambda _path: None)
    with pytest.raises(EmodriftError, match="cannot be removed"):
        repair_store(store, verify_store(store))


def test_the_command_lists_repairs_and_says_what_comes_next(store, monkeypatch, capsys):
    monkeypatch.chdir(store.parents[1])
    assert cli.main(["verify"]) == 0
    assert "All entries agree with their manifests" in capsys.readouterr().out
    (store / CHAIN[1] / "data.txt").write_text("other")
    assert cli.main(["verify"]) == 1
    output = capsys.readouterr()
    assert f"{CHAIN[1]}: data.txt is missing or differs" in output.out
    assert "emodrift verify --repair" in output.err and "Traceback" not in output.err
    assert cli.main(["verify", "--repair"]) == 0
    assert "Removed 3" in capsys.readouterr().out
    assert cli.main(["verify"]) == 0
    assert cli.main(["verify", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
