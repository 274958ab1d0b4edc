"""The shipped behaviour suites, and the readers of published ones."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.feature_extraction.text import CountVectorizer

from emodrift.config.measuring import Metric
from emodrift.contrasts.suites import (
    SPLITS,
    SUITE_READERS,
    SUITES,
    read_harmbench,
    read_or_bench,
    read_sorry_bench,
    read_strongreject,
    read_suite,
    read_xstest,
    wrap_prompt,
)
from emodrift.errors import EmodriftError

FOLDER = Path(__file__).parents[2] / "resources" / "behaviours"
REPLY_CLASSES = ("refuse", "comply", "hedge", "soothe", "escalate")
DISTRACTED = ("answerable", "neutral")
RECORDS = {suite: read_suite(FOLDER / f"{suite}.jsonl") for suite in SUITES}
WRAPPERS = yaml.safe_load((FOLDER / "wrappers.yaml").read_text(encoding="utf-8"))
PROMPT = {"id": "a", "suite": "neutral", "split": "ood", "family": "f", "prompt": "Hello there."}

every_suite = pytest.mark.parametrize("suite", SUITES)


def choose_split(suite: str, *splits: str) -> list[dict]:
    return [r for r in RECORDS[suite] if r["split"] in splits]


def measure_overlap(first: list[str], second: list[str]) -> np.ndarray:
    """Jaccard overlap of word sets, (first, second)."""
    counter = CountVectorizer(binary=True, token_pattern=r"\b\w+\b").fit([*first, *second])
    a, b = (counter.transform(texts).toarray().astype(int) for texts in (first, second))
    common = a @ b.T
    return common / (a.sum(1)[:, None] + b.sum(1)[None] - common)


def write_lines(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@every_suite
def test_a_suite_file_holds_its_own_suite(suite):
    assert {r["suite"] for r in RECORDS[suite]} == {suite}


@every_suite
def test_splits_are_of_equal_size_and_the_adversarial_one_is_not_smaller(suite):
    counts = Counter(r["split"] for r in RECORDS[suite])
    assert counts == {"train_like": 60, "heldout": 60, "ood": 60, "adversarial": 80}


@every_suite
def test_every_split_has_at_least_eight_families_of_equal_size(suite):
    for split in SPLITS:
        families = Counter(r["family"] for r in choose_split(suite, split))
        assert len(families) >= 8
        assert len(set(families.values())) == 1


@every_suite
def test_heldout_shares_its_themes_with_train_like_and_ood_does_not(suite):
    themes = {s: {r["family"] for r in choose_split(suite, s)} for s in SPLITS}
    assert themes["heldout"] == themes["train_like"]
    assert not themes["ood"] & themes["train_like"]
    assert themes["adversarial"] == themes["heldout"] | themes["ood"]


def test_ids_and_prompts_are_unique_over_all_suites():
    records = [r for rows in RECORDS.values() for r in rows]
    assert len({r["id"] for r in records}) == len(records)
    assert len({r["prompt"].casefold() for r in records}) == len(records)


@every_suite
def test_no_prompt_leaks_from_train_like_into_heldout_or_ood(suite):
    train = [r["prompt"] for r in choose_split(suite, "train_like")]
    fresh = [r["prompt"] for r in choose_split(suite, "heldout", "ood")]
    assert measure_overlap(train, fresh).max() < 0.45


def test_prompts_of_different_suites_are_no_near_copies():
    for first, second in combinations(SUITES, 2):
        one, two = (
            [r["prompt"] for r in choose_split(s, "train_like", "heldout", "ood")]
            for s in (first, second)
        )
        assert measure_overlap(one, two).max() < 0.6


def test_no_worded_answer_of_train_like_comes_again_in_the_same_family():
    trained = {
        (r["family"], r["answer"].casefold()) for r in choose_split("answerable", "train_like")
    }
    repeated = [
        r["id"]
        for r in choose_split("answerable", "heldout", "ood")
        if (r["family"], r["answer"].casefold()) in trained and not r["answer"].isdigit()
    ]
    assert repeated == []


@every_suite
def test_adversarial_forms_are_balanced_over_prompts(suite):
    forms = Counter(r["wrapper"] for r in choose_split(suite, "adversarial"))
    group = WRAPPERS["distractors" if suite in DISTRACTED else "frames"]
    assert forms == {**dict.fromkeys(group, 12), "paraphrase": 20}
    sources = [r["source"] for r in choose_split(suite, "adversarial")]
    assert len(set(sources)) == len(sources)


@every_suite
def test_wrapped_prompts_are_what_the_wrappers_make_of_their_sources(suite):
    group = WRAPPERS["distractors" if suite in DISTRACTED else "frames"]
    plain = {r["id"]: r for r in choose_split(suite, "heldout", "ood")}
    used = Counter()
    for record in choose_split(suite, "adversarial"):
        form = record["wrapper"]
        if form == "paraphrase":
            continue
        template = group[form][used[form] % len(group[form])]
        used[form] += 1
        assert record == wrap_prompt(plain[record["source"]], form, template, record["id"])


@every_suite
def test_paraphrases_keep_suite_family_and_answer_but_not_the_wording(suite):
    plain = {r["id"]: r for r in choose_split(suite, "heldout", "ood")}
    for record in choose_split(suite, "adversarial"):
        if record["wrapper"] != "paraphrase":
            continue
        source = plain[record["source"]]
        for field in ("suite", "family", "answer", "aliases"):
            assert record.get(field) == source.get(field)
        assert measure_overlap([record["prompt"]], [source["prompt"]]).max() < 0.75


@pytest.mark.parametrize("split", ["train_like", "heldout", "ood"])
def test_harmful_and_benign_prompts_are_alike_in_form(split):
    prompts = {s: [r["prompt"] for r in choose_split(s, split)] for s in ("harmful", "benign")}
    questions = {s: np.mean(["?" in p for p in texts]) for s, texts in prompts.items()}
    words = {s: np.mean([len(p.split()) for p in texts]) for s, texts in prompts.items()}
    assert questions["harmful"] == pytest.approx(questions["benign"], abs=0.1)
    assert words["harmful"] == pytest.approx(words["benign"], abs=3)


def test_answers_are_short_and_no_answer_is_its_own_alias():
    for record in RECORDS["answerable"]:
        names = [record["answer"], *record.get("aliases", ())]
        assert len(set(names)) == len(names)
        assert all(0 < len(name) <= 45 for name in names)


def test_reply_classes_have_short_phrasings_that_no_two_classes_share():
    replies = yaml.safe_load((FOLDER / "replies.yaml").read_text(encoding="utf-8"))
    assert tuple(replies) == REPLY_CLASSES
    for phrasings in replies.values():
        assert 6 <= len(phrasings) <= 8
        assert len({p.split()[0].strip(",.!").casefold() for p in phrasings}) == len(phrasings)
        assert all(3 <= len(p.split()) <= 9 for p in phrasings)
    phrasings = [p.casefold() for group in replies.values() for p in group]
    assert len(set(phrasings)) == len(phrasings)


def test_reply_phrasings_name_no_emotion_of_the_study():
    emotions = yaml.safe_load((FOLDER.parent / "emotions.yaml").read_text(encoding="utf-8"))
    names = {str(name) for name in emotions.get("emotions", emotions)}
    replies = yaml.safe_load((FOLDER / "replies.yaml").read_text(encoding="utf-8"))
    words = {w.strip(",.;!").casefold() for g in replies.values() for p in g for w in p.split()}
    assert names and not names & words


def test_metrics_name_shipped_suites_and_reply_classes():
    metrics = yaml.safe_load((FOLDER / "metrics.yaml").read_text(encoding="utf-8"))
    expected = {
        "refusal": ("harmful", "refuse"),
        "over_refusal": ("benign", "refuse"),
        "hedging": ("unanswerable", "hedge"),
        "over_hedging": ("answerable", "hedge"),
        "de_escalation": ("upset", "soothe"),
        "escalation": ("upset", "escalate"),
        "boundary_pushing": ("pressure", "comply"),
    }
    for name, metric in metrics.items():
        assert Metric.model_validate(metric).description
        assert {"safety", "description"} <= set(metric)
        assert metric["suite"] in SUITES
        assert metric["toward"] in REPLY_CLASSES
        assert isinstance(metric["safety"], bool)
        assert (metric["suite"], metric["toward"]) == expected.get(
            name, (metric["suite"], metric["toward"])
        )
    assert set(expected) <= set(metrics)
    assert {m["suite"] for m in metrics.values()} == set(SUITES)


def test_the_datasheet_counts_what_is_shipped():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for suite in SUITES:
        counts = [len(choose_split(suite, split)) for split in SPLITS]
        assert f"| {suite} | {' | '.join(map(str, counts))} | {sum(counts)} |" in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "test"}, "split"),
        ({"suite": "toxic"}, "suite"),
        ({"prompt": "  "}, "prompt"),
        ({"family": None}, "family"),
        ({"label": 1}, "label"),
        ({"answer": "x"}, "answerable"),
        ({"split": "adversarial"}, "wrapper and source"),
    ],
)
def test_a_faulty_record_is_refused_with_file_line_and_field(tmp_path, change, said):
    path = write_lines(tmp_path / "mine.jsonl", [{**PROMPT, **change}])
    with pytest.raises(EmodriftError, match=rf"mine\.jsonl line 1 .*{said}"):
        read_suite(path)


def test_a_record_without_family_is_refused_by_name(tmp_path):
    path = write_lines(
        tmp_path / "mine.jsonl", [{k: v for k, v in PROMPT.items() if k != "family"}]
    )
    with pytest.raises(EmodriftError, match="'family'"):
        read_suite(path)


def test_twins_mixed_suites_and_strange_sources_are_refused(tmp_path):
    path = tmp_path / "mine.jsonl"
    other = {**PROMPT, "id": "b", "prompt": "Good day."}
    wrapped = {**other, "split": "adversarial", "wrapper": "story", "source": "z"}
    for rows, said in (
        ([PROMPT, {**other, "id": "a"}], "id 'a' comes 2 times"),
        ([PROMPT, {**PROMPT, "id": "b"}], "prompt 'Hello there.' comes 2 times"),
        ([PROMPT, {**other, "suite": "benign"}], "mixes the suites benign, neutral"),
        ([PROMPT, wrapped], "source 'z'"),
    ):
        with pytest.raises(EmodriftError, match=said):
            read_suite(write_lines(path, rows))


def test_missing_empty_and_broken_files_are_refused(tmp_path):
    with pytest.raises(EmodriftError, match="is no file"):
        read_suite(tmp_path / "nowhere.jsonl")
    for text, said in (("", "no behaviour records"), ("{", "line 1 is not valid JSON")):
        (tmp_path / "mine.jsonl").write_text(text)
        with pytest.raises(EmodriftError, match=said):
            read_suite(tmp_path / "mine.jsonl")


def test_a_wrapper_keeps_braces_of_the_prompt_and_needs_a_place_for_it():
    record = {**PROMPT, "prompt": '{"task": "{prompt}"}'}
    wrapped = wrap_prompt(record, "story", "He said: {prompt}.", "w")
    assert wrapped["prompt"] == 'He said: {"task": "{prompt}"}.'
    assert (wrapped["split"], wrapped["source"]) == ("adversarial", "a")
    with pytest.raises(EmodriftError, match=r"lacks '\{prompt\}'"):
        wrap_prompt(record, "story", "He said nothing.", "w")


def test_xstest_types_tell_safe_from_unsafe_prompts(tmp_path):
    path = tmp_path / "xstest_prompts.csv"
    path.write_text(
        "id,prompt,type,label,focus,note\n"
        '1,"How do I peel, then slice, a pear?",homonyms,safe,peel,\n'
        "2,How do I harm a pear farmer?,contrast_homonyms,unsafe,harm,violence\n"
    )
    safe, unsafe = read_xstest(path)
    assert safe == {
        "id": "xstest-1",
        "suite": "benign",
        "split": "ood",
        "family": "xstest-homonyms",
        "prompt": "How do I peel, then slice, a pear?",
    }
    assert (unsafe["suite"], unsafe["family"]) == ("harmful", "xstest-contrast_homonyms")


def test_xstest_of_the_second_version_is_read_by_its_own_id_column(tmp_path):
    path = tmp_path / "xstest_v2_prompts.csv"
    path.write_text("id_v1,id_v2,type,prompt,focus,note\nv1-3,v2-1,homonyms,Peel a pear?,peel,\n")
    assert read_xstest(path)[0]["id"] == "xstest-v2-1"


def test_or_bench_files_tell_their_suite_by_name(tmp_path):
    text = "prompt,category\nHow are locks tested?,illegal\n"
    suites = {}
    for name in ("or-bench-80k", "or-bench-hard-1k", "or-bench-toxic"):
        path = tmp_path / f"{name}.csv"
        path.write_text(text)
        (record,) = read_or_bench(path)
        suites[name] = record["suite"]
        assert (record["id"], record["family"]) == (f"{name}-1", "or-bench-illegal")
    assert suites == {
        "or-bench-80k": "benign",
        "or-bench-hard-1k": "benign",
        "or-bench-toxic": "harmful",
    }
    renamed = tmp_path / "prompts.csv"
    renamed.write_text(text)
    with pytest.raises(EmodriftError, match=r"rename it to one of or-bench-80k\.csv"):
        read_or_bench(renamed)


def test_harmbench_puts_the_context_before_the_behaviour(tmp_path):
    path = tmp_path / "harmbench_behaviors_text_all.csv"
    path.write_text(
        "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"
        "Do a bad thing,standard,illegal,,,bad_thing\n"
        'Do as it says,contextual,illegal,context,"A plan,\nin two lines",as_it_says\n'
    )
    plain, contextual = read_harmbench(path)
    assert plain["prompt"] == "Do a bad thing"
    assert contextual["prompt"] == "A plan,\nin two lines\n\n---\n\nDo as it says"
    assert contextual["id"] == "harmbench-as_it_says"
    assert {r["suite"] for r in (plain, contextual)} == {"harmful"}


def test_strongreject_rows_are_numbered(tmp_path):
    path = tmp_path / "strongreject_small_dataset.csv"
    path.write_text(
        "category,source,forbidden_prompt\nViolence,custom,Do harm.\nViolence,custom,Do more.\n"
    )
    records = read_strongreject(path)
    assert [r["id"] for r in records] == ["strongreject-1", "strongreject-2"]
    assert records[1]["prompt"] == "Do more."


def test_sorry_bench_mutations_are_adversarial_forms_of_the_base(tmp_path):
    row = {"question_id": 7, "category": "3", "turns": ["Do harm."], "prompt_style": "base"}
    (base,) = read_sorry_bench(write_lines(tmp_path / "question.jsonl", [row]))
    slang = {**row, "turns": ["do harm lol"], "prompt_style": "slang"}
    (mutated,) = read_sorry_bench(write_lines(tmp_path / "question_slang.jsonl", [slang]))
    assert (base["split"], base["family"], base["prompt"]) == ("ood", "sorry-bench-3", "Do harm.")
    assert (mutated["split"], mutated["wrapper"]) == ("adversarial", "slang")
    assert mutated["source"] == base["id"]
    twice = {**row, "turns": ["One.", "Two."]}
    with pytest.raises(EmodriftError, match="line 1: turns"):
        read_sorry_bench(write_lines(tmp_path / "question.jsonl", [twice]))


@pytest.mark.parametrize("name", [n for n in SUITE_READERS if n not in ("emodrift", "sorry-bench")])
def test_a_published_csv_without_its_columns_is_refused_by_file_column_and_fix(tmp_path, name):
    path = tmp_path / "or-bench-80k.csv"
    path.write_text("text,kind\nHello,greeting\n")
    with pytest.raises(EmodriftError, match=r"or-bench-80k\.csv lacks the column '\w+' of .*Take"):
        SUITE_READERS[name](path)
    path.write_text("")
    with pytest.raises(EmodriftError, match="is no CSV file"):
        SUITE_READERS[name](path)


def test_sorry_bench_without_its_style_is_refused_by_column(tmp_path):
    path = write_lines(tmp_path / "q.jsonl", [{"question_id": 1, "category": "1", "turns": ["A"]}])
    with pytest.raises(EmodriftError, match="lacks the column 'prompt_style' of SORRY-Bench"):
        read_sorry_bench(path)


def test_a_published_file_with_a_blank_prompt_is_refused_by_record(tmp_path):
    path = tmp_path / "strongreject_dataset.csv"
    path.write_text('category,source,forbidden_prompt\nViolence,custom,""\n')
    with pytest.raises(EmodriftError, match=r"record 1 .*'prompt'"):
        read_strongreject(path)
