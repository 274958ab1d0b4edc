"""The data set is checked as a whole before any model is loaded."""

import copy
import json
import re

import pytest

from emodrift.config.reading import parse_study
from emodrift.contrasts.dataset import DatasetParams, build_dataset
from emodrift.corpus.reading import load_kinds, load_prompts, load_replies
from emodrift.corpus.records import read_records
from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import sample_prompts, sample_stories
from emodrift.plan.entries import Plan
from emodrift.plan.texts import plan_contrasts
from emodrift.store.memory import FileDigests
from tests.conftest import ROOT, STUDY

SECTION = STUDY["contrasts"]
PARTS = {
    f"{kind}-grammar": {"kind": kind, **SECTION[kind]}
    for kind in ("stories", "neutral", "controls", "prompts")
}
METRICS = STUDY["behaviours"]["metrics"]


def build(out, parts=PARTS, metrics=METRICS, files=None, replies="grammar", **changed):
    options = {
        "emotions": SECTION["emotions"],
        "minimum_topics": 3,
        "minimum_prompts": 8,
    } | changed
    params = DatasetParams(parts, metrics=metrics, files=files or {}, replies=replies, **options)
    build_dataset(params, out)


def write_records(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def test_parts_are_written_and_stories_of_other_emotions_left_out(tmp_path):
    build(tmp_path)
    lines = (tmp_path / "parts/stories-grammar.jsonl").read_text().splitlines()
    stories = [json.loads(line) for line in lines]
    assert {s["label"] for s in stories} == set(SECTION["emotions"])
    assert {p["suite"] for p in load_prompts(tmp_path)} >= {"harmful", "benign"}


def test_a_part_of_which_nothing_is_kept_is_left_out(tmp_path):
    file = write_records(
        tmp_path / "sad.jsonl", [r for r in sample_stories(9, 12) if r["label"] == "sad"]
    )
    parts = PARTS | {"stories-sad": {"kind": "stories", "generator": None}}
    emotions = [e for e in SECTION["emotions"] if e != "sad"]
    (tmp_path / "out").mkdir()
    build(tmp_path / "out", parts, files={"stories-sad": str(file)}, emotions=emotions)
    assert "stories-sad" not in load_kinds(tmp_path / "out")
    assert not (tmp_path / "out/parts/stories-sad.jsonl").exists()


def test_prompts_of_suites_that_no_metric_reads_are_left_out(tmp_path):
    metrics = {name: m for name, m in METRICS.items() if m["suite"] == "harmful"}
    build(tmp_path, metrics=metrics)
    assert {p["suite"] for p in load_prompts(tmp_path)} == {"harmful"}


def test_a_file_of_the_users_own_is_a_part_like_any_other(tmp_path):
    records = [
        dict(r, id=f"mine-{r['id']}") for r in sample_stories(9, 12) if r["label"] == "afraid"
    ]
    file = write_records(tmp_path / "mine.jsonl", records)
    parts = PARTS | {"stories-mine": {"kind": "stories", "generator": None}}
    (tmp_path / "out").mkdir()
    build(tmp_path / "out", parts, files={"stories-mine": str(file)})
    written = (tmp_path / "out/parts/stories-mine.jsonl").read_text().splitlines()
    assert len(written) == len(records)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"emotions": ["afraid", "gleeful"]}, "names unknown emotion 'gleeful'"),
        ({"minimum_topics": 99}, "contrasts.minimum_topics asks for 99"),
        ({"minimum_prompts": 99}, "has 8 prompts in split 'train_like', not enough"),
        ({"metrics": {"m": {"suite": "harmful", "toward": "shrug"}}}, "no reply class 'shrug'"),
        ({"metrics": {"m": {"suite": "poems", "toward": "refuse"}}}, "no prompt of suite 'poems'"),
    ],
)
def test_data_that_later_stages_could_not_use_is_refused_in_one_line(tmp_path, changed, message):
    with pytest.raises(EmodriftError, match=re.escape(message)) as error:
        build(tmp_path, **copy.deepcopy(changed))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda r: r.update(text=" "), "line 1 (emotion-guilty-0000): text is empty"),
        (lambda r: r.pop("topic"), "line 1 lacks 'topic'"),
        (lambda r: r.update(split="train"), "split 'train' is none of fit, heldout"),
    ],
)
def test_a_bad_story_is_named_by_file_and_line(tmp_path, break_it, message):
    record = sample_stories(0, 12)[0]
    break_it(record)
    file = write_records(tmp_path / "stories.jsonl", [record])
    with pytest.raises(EmodriftError, match=re.escape(message)):
        read_records(file, "stories")


def test_an_empty_file_and_broken_json_are_named(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(EmodriftError, match="holds no records"):
        read_records(tmp_path / "empty.jsonl", "prompts")
    (tmp_path / "bad.jsonl").write_text("{}\n{")
    with pytest.raises(EmodriftError, match=r"bad\.jsonl line 1 lacks 'id'"):
        read_records(tmp_path / "bad.jsonl", "prompts")


def test_an_id_that_comes_twice_is_refused(tmp_path):
    file = write_records(tmp_path / "more.jsonl", sample_prompts(4, 8))
    parts = PARTS | {"prompts-more": {"kind": "prompts", "generator": None}}
    with pytest.raises(EmodriftError, match="comes twice; ids are unique"):
        build(tmp_path, parts, files={"prompts-more": str(file)})


def test_the_shipped_data_make_a_sound_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = parse_study(
        {"name": "mine", "runs": {"a": {"checkpoints": "x"}}, "reference": {"run": "a", "step": 0}}
    )
    entry = plan_contrasts(Plan(study, tmp_path), FileDigests(tmp_path / "memo.json"))
    (tmp_path / "out").mkdir()
    build_dataset(DatasetParams(**entry.params, **entry.context), tmp_path / "out")
    kinds = load_kinds(tmp_path / "out")
    assert sum(kind == "stories" for kind in kinds.values()) == 24
    assert len(load_prompts(tmp_path / "out")) == 7 * 260
    assert len(load_replies(tmp_path / "out")["refuse"]) >= 6
