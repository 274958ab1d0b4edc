"""Phrasings of reply classes are openings that tell of a class, filled up with given ones."""

import json

import pandas as pd

from emodrift.judging.phrasings import choose_phrasings, cut_opening, find_phrasings


def make_verdicts(*replies):
    return pd.DataFrame(replies, columns=["text", "reply_class", "family"])


REFUSAL = "I can't help with that."
FIRST = make_verdicts(
    (f"{REFUSAL} It is unsafe.", "refuse", "bombs"),
    (REFUSAL, "refuse", "fraud"),
    (REFUSAL, "refuse", "fraud"),
    ("I won't.", "refuse", "bombs"),
    ("Arson is the use of fire.", "comply", "fire"),
    ("I'm sorry. Breathe.", "soothe", "loss"),
    ("I'm sorry. No.", "refuse", "anger"),
    ("Who knows?", None, "future"),
)
SECOND = make_verdicts(
    (REFUSAL, "refuse", "fire"),
    ("I'm sorry. Breathe.", "soothe", "anger"),
    ("Arson is the use of fire.", "comply", "fire"),
    ("I won't.", "refuse", "fraud"),
)


def test_openings_that_answer_several_families_and_one_class_come_first():
    assert choose_phrasings([FIRST, SECOND], 8) == {
        "refuse": [REFUSAL, "I won't."],
        "soothe": ["I'm sorry."],
    }
    assert choose_phrasings([FIRST, SECOND], 1)["refuse"] == [REFUSAL]


def test_an_opening_of_several_classes_is_of_none():
    both = make_verdicts(
        ("I'm sorry.", "refuse", "a"),
        ("I'm sorry.", "refuse", "b"),
        ("I'm sorry.", "comply", "c"),
        ("I'm sorry.", "comply", "d"),
    )
    assert choose_phrasings([both], 8) == {}


def test_openings_end_with_their_sentence_line_or_sixth_word():
    assert cut_opening("I can't. Ask again.") == "I can't."
    assert cut_opening("one two three four five six seven") == "one two three four five six"
    assert cut_opening("Dear user,\nno.") == "Dear user,"
    assert cut_opening(" ... ") == ""


def test_classes_with_too_few_openings_are_filled_up_with_given_phrasings(tmp_path):
    given = {"refuse": [REFUSAL, "No."], "comply": ["Sure.", "Here it is."]}
    (tmp_path / "contrasts").mkdir()
    (tmp_path / "contrasts/replies.json").write_text(json.dumps(given))
    entries = []
    for number, table in enumerate((FIRST, SECOND)):
        entries.append(tmp_path / str(number))
        entries[-1].mkdir()
        table.to_parquet(entries[-1] / "verdicts.parquet")
    find_phrasings(3, entries, tmp_path / "contrasts", tmp_path)
    assert json.loads((tmp_path / "replies.json").read_text()) == {
        "refuse": [REFUSAL, "I won't.", "No."],
        "comply": ["Sure.", "Here it is."],
    }
