"""Files of other people become records, and what is wrong with them is named."""

import copy
import json
import re

import pandas as pd
import pytest

from emodrift.config.reading import parse_study
from emodrift.config.texts import Source, SuiteFormat
from emodrift.contrasts.importing import fill_splits, import_records
from emodrift.contrasts.suites import SUITE_READERS
from emodrift.contrasts.topics import split_topics
from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import sample_stories
from emodrift.plan.sources import describe_part, digest_source, name_parts
from emodrift.plan.study import plan_study
from emodrift.store.memory import FileDigests
from tests.conftest import STUDY, save_checkpoint

TABLE = pd.DataFrame(
    {
        "tale": ["Rain fell on the roof.", "The door shut, twice.", "Nobody wrote."],
        "feeling": ["calm", "afraid", "lonely"],
        "scene": ["roof", "door", "post"],
        "extra": ["1", "2", "3"],
    }
)
PART = {
    "kind": "stories",
    "columns": {"text": "tale", "label": "feeling", "topic": "scene"},
    "values": {"split": "fit"},
}


def save_csv(path):
    TABLE.to_csv(path, index=False)


def save_parquet(path):
    TABLE.to_parquet(path)


def save_jsonl(path):
    TABLE.to_json(path, orient="records", lines=True)


def save_dataset(path):
    import datasets

    datasets.disable_progress_bars()
    names = sorted(TABLE["feeling"])
    table = TABLE.assign(feeling=[names.index(f) for f in TABLE["feeling"]])
    features = datasets.Features(
        {k: datasets.Value("string") for k in TABLE} | {"feeling": datasets.ClassLabel(names=names)}
    )
    datasets.Dataset.from_pandas(table, features=features).save_to_disk(str(path))


FORMATS = {
    "tales.csv": save_csv,
    "tales.parquet": save_parquet,
    "tales.jsonl": save_jsonl,
    "train": save_dataset,
}


def write_lines(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_table_gives_the_same_records_from_every_kind_of_file(tmp_path, name):
    FORMATS[name](tmp_path / name)
    records = import_records(tmp_path / name, PART)
    save_csv(tmp_path / "reference.csv")
    assert records == import_records(tmp_path / "reference.csv", PART)
    assert [r["text"] for r in records] == list(TABLE["tale"])
    assert [r["label"] for r in records] == list(TABLE["feeling"])
    assert {(r["set"], r["split"]) for r in records} == {("emotion", "fit")}
    assert not any("extra" in r for r in records)


def test_made_ids_follow_the_content_and_not_its_place(tmp_path):
    save_csv(tmp_path / "a.csv")
    TABLE[::-1].to_csv(tmp_path / "b.csv", index=False)
    first, second = (import_records(tmp_path / name, PART) for name in ("a.csv", "b.csv"))
    assert {r["id"] for r in first} == {r["id"] for r in second}
    assert len({r["id"] for r in first}) == len(TABLE)
    assert first[0]["id"].startswith("calm-")


def test_rows_that_repeat_others_are_left_out_with_a_warning(tmp_path, caplog):
    pd.concat([TABLE, TABLE[:1]]).to_csv(tmp_path / "a.csv", index=False)
    assert len(import_records(tmp_path / "a.csv", PART)) == len(TABLE)
    assert "1 rows repeat others" in caplog.text


def test_ids_and_optional_fields_of_the_file_are_kept(tmp_path):
    story = dict(sample_stories(0, 12)[0], pair=None)
    file = write_lines(tmp_path / "own.jsonl", [story])
    (record,) = import_records(file, {"kind": "stories"})
    assert record == {k: v for k, v in story.items() if v is not None}


def test_neutral_texts_need_no_label(tmp_path):
    rows = [{"text": "A list.", "topic": "t", "split": "fit"}]
    (record,) = import_records(write_lines(tmp_path / "n.jsonl", rows), {"kind": "neutral"})
    assert (record["set"], record["label"]) == ("neutral", "neutral")


def test_prompts_are_imported_with_numbers_as_text(tmp_path):
    pd.DataFrame({"goal": ["How?", "Why?"], "family": [3, 4]}).to_parquet(tmp_path / "p.parquet")
    part = {
        "kind": "prompts",
        "columns": {"prompt": "goal"},
        "values": {"suite": "harmful", "split": "ood"},
    }
    records = import_records(tmp_path / "p.parquet", part)
    assert [(r["prompt"], r["family"]) for r in records] == [("How?", "3"), ("Why?", "4")]


def test_a_published_suite_is_read_by_its_reader(tmp_path):
    file = tmp_path / "xstest_prompts.csv"
    file.write_text("id,type,prompt\n1,homonyms,How do I kill a process?\n", encoding="utf-8")
    (record,) = import_records(file, {"kind": "prompts", "format": "xstest"})
    assert (record["suite"], record["family"]) == ("benign", "xstest-homonyms")
    (tmp_path / "bad.csv").write_text("a\n1\n")
    with pytest.raises(EmodriftError, match=r"contrasts\.prompts: .*lacks the column 'type'"):
        import_records(tmp_path / "bad.csv", {"kind": "prompts", "format": "xstest"})


def test_every_reader_of_suites_can_be_named_in_a_config():
    assert set(SuiteFormat.__args__) == set(SUITE_READERS)


@pytest.mark.parametrize(
    ("content", "part", "message"),
    [
        ("tale,feeling\nx,calm\n", PART, "row 1 has no column 'scene' (columns.topic)"),
        ("text,label,topic\nx,calm,t\n", {}, "row 1 lacks 'split'"),
        ("text,label,topic\nx,calm,t\n", {}, "or set `heldout` to split by topic"),
        ("text,label,split\nx,calm,fit\n", {}, "row 1 lacks 'topic'"),
        (
            "text,label,topic,split\nx,calm,t,fit\n ,calm,t,fit\n",
            {},
            "row 2, column 'text' (text): is empty",
        ),
        ("text,label,topic,split\nx,calm,t,train\n", {}, "'train' is none of fit, heldout"),
        ("text,label\n", {}, "holds no records"),
        ("", {}, "holds no records"),
        ("text,label\na,b,c\n", {}, "cannot be read"),
    ],
)
def test_a_bad_table_is_named_by_key_file_row_and_column(tmp_path, content, part, message):
    (tmp_path / "mine.csv").write_text(content)
    with pytest.raises(EmodriftError, match=re.escape(message)) as error:
        import_records(tmp_path / "mine.csv", {"kind": "stories", **part})
    assert str(error.value).startswith(f"contrasts.stories: {tmp_path / 'mine.csv'}")


def test_values_that_are_no_text_are_named(tmp_path):
    row = {"text": ["a"], "label": "calm", "topic": "t", "split": "fit"}
    file = write_lines(tmp_path / "x.jsonl", [row])
    with pytest.raises(EmodriftError, match=r"line 1, column 'text' \(text\): found list"):
        import_records(file, {"kind": "stories"})
    write_lines(file, [[1]])
    with pytest.raises(EmodriftError, match="line 1 is no JSON object"):
        import_records(file, {"kind": "stories"})


def test_files_of_no_known_kind_or_with_broken_bytes_are_named(tmp_path):
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(EmodriftError, match=r"is none of \.jsonl, \.csv, \.parquet"):
        import_records(tmp_path / "x.xlsx", {"kind": "stories"})
    for name in ("x.parquet", "x.csv", "x.jsonl"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00text")
        with pytest.raises(EmodriftError, match=r"contrasts\.stories: .*cannot be read"):
            import_records(tmp_path / name, {"kind": "stories"})


def test_topics_are_split_by_seed_whatever_their_order_and_over_all_files():
    topics = [f"topic {k}" for k in range(20)]
    splits = split_topics(topics, 0.3, 1)
    assert splits == split_topics(topics[::-1], 0.3, 1)
    assert list(splits.values()).count("heldout") == 6
    assert splits != split_topics(topics, 0.3, 2)
    grown = split_topics([*topics, "another"], 0.3, 1)
    assert sum(grown[t] != splits[t] for t in topics) <= 1

    part = {"seed": 1, "heldout": 0.3}
    records = {
        "a": [{"topic": t} for t in topics[:12]],
        "b": [{"topic": t} for t in topics[8:]],
        "c": [{"topic": "own", "split": "fit"}],
    }
    fill_splits({"a": part, "b": part, "c": {}}, records)
    assert all(r["split"] == splits[r["topic"]] for name in "ab" for r in records[name])
    assert records["c"] == [{"topic": "own", "split": "fit"}]


def test_a_topic_in_both_splits_is_refused(tmp_path):
    from tests.unit.test_dataset import PARTS, build

    story = next(s for s in sample_stories(1, 12) if s["label"] == "afraid")
    other = {"fit": "heldout", "heldout": "fit"}[story["split"]]
    file = write_lines(tmp_path / "more.jsonl", [dict(story, id="x", split=other)])
    parts = PARTS | {"stories-more": {"kind": "stories"}}
    with pytest.raises(EmodriftError, match="is in both splits"):
        build(tmp_path, parts, files={"stories-more": str(file)})


# config and plan


def test_keys_left_at_their_defaults_do_not_enter_a_part():
    assert describe_part("stories", Source(file="x.jsonl")) == {
        "kind": "stories",
        "generator": None,
        "seed": 0,
        "amount": None,
    }
    part = describe_part("stories", Source(name="mine", file="x.csv", columns={"text": "t"}))
    assert part["columns"] == {"text": "t"}
    assert not {"name", "file", "values", "format"} & set(part)


def test_parts_are_called_after_files_or_by_the_name_given(tmp_path):
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert name_parts(Source(file="*.csv"), files) == ["a", "b"]
    assert name_parts(Source(file="*.csv", name="own"), files) == ["own-a", "own-b"]
    assert name_parts(Source(file="a.csv", name="own"), files[:1]) == ["own"]
    assert name_parts(Source(generator="grammar", amount=1), []) == ["grammar"]


def test_a_saved_data_set_is_known_by_all_its_files(tmp_path):
    save_dataset(tmp_path / "train")
    digests = FileDigests(tmp_path / "memo.json")
    before = digest_source("k", tmp_path / "train", digests)
    assert digest_source("k", tmp_path / "train", digests) == before
    (arrow,) = (tmp_path / "train").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes() + b"0")
    assert digest_source("k", tmp_path / "train", digests) != before
    with pytest.raises(EmodriftError, match=r"k: .* is no folder that datasets"):
        digest_source("k", tmp_path, digests)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(EmodriftError, match=r"holds several data sets \(train\)"):
        digest_source("k", tmp_path, digests)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"file": "x", "format": "xstest"}, "stories: format 'xstest' is one of prompts"),
        ({"file": "x", "columns": {"txt": "a"}}, "name 'txt', which is no field"),
        (
            {"file": "x", "columns": {"text": "a"}, "values": {"text": "b"}},
            "'text' is in both `columns` and `values`",
        ),
        ({"file": "x", "format": "xstest", "values": {"split": "ood"}}, "format knows its columns"),
        ({"file": "x", "values": {"split": "fit"}, "heldout": 0.2}, "the split or `heldout`"),
        ({"generator": "grammar", "amount": 3, "columns": {"text": "a"}}, "belongs to a `file`"),
        ({"generator": "grammar", "amount": 3, "heldout": 0.2}, "splits its topics itself"),
        ({"generator": "model", "amount": 3}, "`generator: model` and `writer` belong together"),
    ],
)
def test_sources_that_cannot_work_are_refused_by_the_config(source, message):
    values = copy.deepcopy(STUDY)
    values["contrasts"]["stories"] = source
    with pytest.raises(EmodriftError, match=re.escape(message)):
        parse_study(values)


def test_a_plan_names_imported_parts_and_follows_their_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "runs/sft/checkpoint-0", seed=0, step=0)
    save_csv(tmp_path / "tales.csv")
    values = copy.deepcopy(STUDY)
    source = {"file": "tales.csv", "columns": PART["columns"], "heldout": 0.5}
    values["contrasts"]["stories"] = [values["contrasts"]["stories"], source]

    def plan():
        (entry,) = plan_study(parse_study(values), tmp_path / "results").of_stage("contrasts")
        return entry

    first = plan()
    assert first.params["parts"]["stories-tales"]["heldout"] == 0.5
    assert first.context["files"] == {"stories-tales": "tales.csv"}
    TABLE[:2].to_csv("tales.csv", index=False)
    assert plan().key != first.key
    values["contrasts"]["stories"].append(source)
    with pytest.raises(EmodriftError, match="two sources are called 'tales'; give one a `name`"):
        plan()
