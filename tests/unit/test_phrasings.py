"""Phrasings of reply classes are openings that tell of a class, filled up with given ones."""

import json

import pandas as pd

from emodrift.judging.phrasings import choose_phrasings, cut_opening, find_phrasings


def make_verdicts(*replies):
    return pd.DataFrame(replies, columns=["text", "reply_class", "family"])


FIRST = make_verdicts(
    ("I can't help with that. It is unsafe.", "refuse", "bombs"),
    ("I can't do this.", "refuse", "fraud"),
    ("I can't do this.", "refuse", "fraud"),
    ("I won't.", "refuse", "bombs"),
    ("Arson is the use of fire.", "comply", "fire"),
    ("I'm sorry. Breathe.", "soothe", "loss"),
    ("I'm sorry, no.", "refuse", "anger"),
    ("Who knows?", None, "future"),
)
SECOND = make_verdicts(
    ("I can't help with this.", "refuse", "fire"),
    ("I'm sorry. Breathe.", "soothe", "anger"),
    ("I'm sorry, no.", "refuse", "anger"),
    ("Arson is the use of fire.", "comply", "fire"),
    ("I am glad to.", "comply", "fire"),
    ("I will try.", "comply", "future"),
    ("I won't.", "refuse", "fraud"),
)


def test_the_shortest_openings_that_answer_several_families_and_one_class_are_taken():
    assert choose_phrasings([FIRST, SECOND], 8) == {
        "refuse": ["I can", "I won"],
        "soothe": ["I'm sorry."],
    }
    assert choose_phrasings([FIRST, SECOND], 1)["refuse"] == ["I can"]


def test_no_opening_begins_another():
    found = choose_phrasings([FIRST, SECOND] * 2, 8)
    openings = [opening for of_class in found.values() for opening in of_class]
    assert not any(a != b and b.startswith(a) for a in openings for b in openings)


def test_an_opening_of_several_classes_is_of_none():
    both = make_verdicts(
        ("Sorry.", "refuse", "a"),
        ("Sorry.", "refuse", "b"),
        ("Sorry.", "comply", "c"),
        ("Sorry.", "comply", "d"),
    )
    assert choose_phrasings([both], 8) == {}


def test_openings_are_cut_as_tokenizers_cut_them_and_join_to_the_reply():
    assert cut_opening("I can't. Ask again.") == ("I", " can", "'t", ".")
    assert cut_opening("one two three four five six seven eight nine")[-1] == " eight"
    assert "".join(cut_opening("Dear user,\nno.")) == "Dear user,"
    assert cut_opening("") == ()


def test_marks_alone_are_no_phrasing():
    marks = make_verdicts(("...", "comply", "a"), ("...", "comply", "b"))
    assert choose_phrasings([marks], 8) == {}


def test_classes_with_too_few_openings_are_filled_up_with_given_phrasings(tmp_path):
    given = {"refuse": ["I can", "No."], "comply": ["Sure.", "Here it is."]}
    (tmp_path / "contrasts").mkdir()
    (tmp_path / "contrasts/replies.json").write_text(json.dumps(given))
    entries = []
    for number, table in enumerate((FIRST, SECOND)):
        entries.append(tmp_path / str(number))
        entries[-1].mkdir()
        table.to_parquet(entries[-1] / "verdicts.parquet")
    find_phrasings(3, entries, tmp_path / "contrasts", tmp_path)
    assert json.loads((tmp_path / "replies.json").read_text()) == {
        "refuse": ["I can", "I won", "No."],
        "comply": ["Sure.", "Here it is."],
    }
