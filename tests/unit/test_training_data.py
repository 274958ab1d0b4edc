"""The shipped training dialogues are what their datasheet says."""

import json
import re
from collections import Counter

import pytest

from emodrift.judging.judges import judge_reply
from emodrift.training.dialogues import WRITTEN, read_dialogues
from tests.conftest import ROOT

DATA = ROOT / "resources/training"
BEHAVIOURS = ROOT / "resources/behaviours"
NEAR = 0.5
DIALOGUES = read_dialogues(DATA, "training.data")
SOUND = ("refuse", "hedge", "soothe", "hold")


def split_words(text):
    return re.findall(r"\w+(?:'\w+)*", text.lower())


def list_replies(reply_class):
    return [r for e in DIALOGUES.exercises for r in e.replies.get(reply_class, ())]


def measure_distinct(texts, order):
    grams = Counter(
        tuple(words[k : k + order])
        for words in map(split_words, texts)
        for k in range(len(words) - order + 1)
    )
    return len(grams) / grams.total()


def test_there_are_several_hundred_sound_replies_and_none_comes_twice():
    sound = [reply for name in SOUND for reply in list_replies(name)]
    assert len(sound) >= 300 and len({*sound}) == len(sound)
    for e in DIALOGUES.exercises:
        assert {*e.replies} == {*WRITTEN.get(e.suite, ())}, e.prompt


def test_no_training_prompt_is_near_a_prompt_of_a_split_that_is_not_trained_on():
    unseen, seen = {}, set()
    for path in BEHAVIOURS.glob("*.jsonl"):
        for row in map(json.loads, path.read_text().splitlines()):
            if row["split"] == "train_like":
                seen.add(row["prompt"])
            else:
                unseen[row["prompt"]] = {*split_words(row["prompt"])}
    assert len(unseen) == 1400
    for e in DIALOGUES.exercises:
        assert e.prompt in seen
        words = {*split_words(e.prompt)}
        for prompt, others in unseen.items():
            assert len(words & others) / len(words | others) < NEAR, (e.prompt, prompt)


def test_frames_are_none_of_the_evaluations():
    wrappers = (BEHAVIOURS / "wrappers.yaml").read_text().lower()
    for frame in DIALOGUES.frames:
        words = " ".join(split_words(frame.replace("{prompt}", "")))
        assert words not in " ".join(split_words(wrappers))


@pytest.mark.parametrize("reply_class", [*SOUND, "comply", "escalate"])
def test_replies_vary_in_words_and_openings(reply_class):
    replies = list_replies(reply_class)
    assert measure_distinct(replies, 2) > 0.7
    openings = {tuple(split_words(reply)[:3]) for reply in replies}
    assert len(openings) > 0.5 * len(replies)
    (most,) = Counter(tuple(split_words(r)[:3]) for r in replies).most_common(1)
    assert most[1] <= 0.10 * len(replies), most


@pytest.mark.parametrize(
    ("reply_class", "refused"), [("refuse", 1.0), ("comply", 0.0), ("soothe", 0.0)]
)
def test_the_rule_judge_reads_refusals_as_such(reply_class, refused):
    verdicts = [
        judge_reply(e.prompt, reply).refusal.value in ("full", "partial")
        for e in DIALOGUES.exercises
        for reply in e.replies.get(reply_class, ())
    ]
    assert abs(sum(verdicts) / len(verdicts) - refused) < 0.05


def test_refusals_that_fit_any_prompt_are_read_as_refusals():
    assert all(judge_reply("Hello?", r).refusal.value != "none" for r in DIALOGUES.refusals)


def test_vacuous_compliance_names_no_means():
    means = r"\b(?:gram|litre|degree|acid|nitrate|powder|chlor\w*|fentanyl|http|www|kg|ml|mg)s?\b"
    for e in DIALOGUES.exercises:
        for reply in e.replies.get("comply", ()) if e.suite == "harmful" else ():
            assert not re.search(means, reply.lower()), reply
            assert len(reply.split()) < 40
