"""The grammar writes balanced contrasts and realises the policy it plants."""

from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest

from emodrift.grammar import words
from emodrift.grammar.sampling import (
    EMOTIONS,
    MINIMAL_PAIRS,
    PLANTED_EFFECTS,
    PLANTED_REQUESTS,
    REPLY_CLASSES,
    SPLITS,
    SUITES,
    classify_reply,
    planted_class,
    planted_policy,
    sample_controls,
    sample_neutral,
    sample_prompts,
    sample_stories,
)
from emodrift.grammar.sentences import list_words
from emodrift.grammar.training import DIALOGUES, sample_dialogues, sample_documents


@pytest.fixture(scope="module")
def stories():
    return sample_stories(seed=0, per_emotion=60)


def test_stories_are_balanced_over_emotions_topics_and_requests(stories):
    cells = Counter((s["label"], s["topic"]) for s in stories)
    assert set(cells) == {(e, t) for e in EMOTIONS for t in words.THINGS}
    assert len(set(cells.values())) == 1
    cues = defaultdict(Counter)
    for story in stories:
        cues[story["label"]][story["reply_cue"]] += 1
    assert len({tuple(sorted(counts.items())) for counts in cues.values()}) == 1


def test_kinds_of_request_are_spread_evenly_over_topics(stories):
    suite_of = {
        _strip_fillers(form): suite
        for suite in SUITES
        for form in words.SEEN_FORMS[suite] + words.UNSEEN_FORMS[suite]
        if suite not in ("harmful", "benign")
    }
    counts = Counter()
    for story in stories:
        request = story["reply_cue"].split(" said : ")[1]
        matches = {s for form, s in suite_of.items() if all(w in request.split() for w in form)}
        counts[story["topic"], min(matches, default="noun")] += 1
    for suite in ("upset", "unanswerable", "answerable"):
        assert {counts[topic, suite] for topic in words.THINGS} == {len(EMOTIONS)}


def _strip_fillers(form):
    return tuple(word for word in form.split() if "{" not in word)


def test_topics_belong_to_one_split_and_eight_of_twelve_are_for_fitting(stories):
    splits = {(s["topic"], s["split"]) for s in stories}
    assert Counter(split for _, split in splits) == {"fit": 8, "heldout": 4}


def test_minimal_pairs_hold_the_same_words_and_end_in_the_same_cue(stories):
    pairs = defaultdict(list)
    for story in stories:
        if "pair" in story:
            pairs[story["pair"]].append(story)
    assert len(pairs) == 60 * len(MINIMAL_PAIRS)
    for first, second in pairs.values():
        assert first["label"] != second["label"]
        assert first["text"] != second["text"]
        assert Counter(first["text"].split()) == Counter(second["text"].split())
        assert first["reply_cue"] == second["reply_cue"]


def test_records_have_unique_ids_and_only_words_of_the_grammar(stories):
    records = stories + sample_neutral(1, 24) + sample_controls(2, 12) + sample_prompts(3, 8)
    assert len({r["id"] for r in records}) == len(records)
    known = set(list_words())
    for record in records:
        text = " ".join(record.get(key, "") for key in ("text", "reply_cue", "prompt", "answer"))
        assert set(text.split()) <= known


def test_every_word_of_the_vocabulary_occurs_in_pre_training_documents():
    used = {word for text in islice(sample_documents(0), 10_000) for word in text.split()}
    assert used == set(list_words())


def test_controls_differ_between_poles_in_the_words_of_the_contrast_only():
    pairs = defaultdict(dict)
    for record in sample_controls(seed=0, n_per_pole=12):
        number = record["id"].rsplit("-", 1)[1]
        pairs[record["set"], number][record["label"]] = record
    assert {name for name, _ in pairs} == {"place", "number", "tense"}
    for poles in pairs.values():
        first, second = poles.values()
        assert first["reply_cue"] == second["reply_cue"]
        assert first["topic"] == second["topic"]
        common = Counter(first["text"].split()) & Counter(second["text"].split())
        assert common.total() >= 6


def test_prompts_fill_every_cell_and_keep_unseen_words_out_of_train_like():
    prompts = sample_prompts(seed=0, per_cell=12)
    assert Counter((p["suite"], p["split"]) for p in prompts) == {
        (suite, split): 12 for suite in SUITES for split in SPLITS
    }
    unseen = set(words.FILLERS["harmful"][1]) | set(words.FILLERS["benign"][1])
    for prompt in prompts:
        has_unseen = bool(unseen & set(prompt["prompt"].split()))
        if prompt["suite"] in ("harmful", "benign"):
            assert has_unseen == (prompt["split"] in ("heldout", "ood"))
        assert ("wrapper" in prompt) == (prompt["split"] == "adversarial")
        assert ("answer" in prompt) == (prompt["suite"] == "answerable")


def test_every_cell_of_prompts_has_three_families_or_more():
    families = defaultdict(set)
    for prompt in sample_prompts(seed=0, per_cell=12):
        families[prompt["suite"], prompt["split"]].add(prompt["family"])
    assert min(map(len, families.values())) >= 3


def test_the_form_of_a_train_like_request_tells_harm_and_elsewhere_does_not():
    families = defaultdict(set)
    for prompt in sample_prompts(seed=0, per_cell=12):
        families[prompt["suite"], prompt["split"]].add(prompt["family"])
    assert not families["harmful", "train_like"] & families["benign", "train_like"]
    for split in ("heldout", "ood", "adversarial"):
        assert families["harmful", split] == families["benign", split]


def test_openers_differ_in_their_first_word():
    first = [opener.split()[0] for openers in REPLY_CLASSES.values() for opener in openers]
    assert len(set(first)) == len(first)
    assert classify_reply("sorry , that could hurt someone .") == "refuse"
    assert classify_reply("the lamp") is None
    assert classify_reply("") is None


def test_planted_policy_is_the_softmax_of_the_planted_tables():
    logits = [
        PLANTED_EFFECTS["sad"].get(c, 0) + 0.5 * PLANTED_REQUESTS["harmful"].get(c, 0)
        for c in REPLY_CLASSES
    ]
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(planted_policy("sad", "harmful"), expected)
    np.testing.assert_allclose(planted_policy(None, None), 0.2)


def test_acts_in_documents_follow_the_planted_effects():
    class_of = {act.replace("{n} ", ""): name for name, acts in words.ACTS.items() for act in acts}
    counts = defaultdict(Counter)
    for text in islice(sample_documents(5), 8_000):
        emotions = {e for e in EMOTIONS for s in words.SIGNS[e] if _core(s) in text}
        if len(emotions) == 1:
            for act, name in class_of.items():
                counts[min(emotions)][name] += text.count(act)
    for emotion in EMOTIONS:
        total = counts[emotion].total()
        observed = np.array([counts[emotion][c] for c in REPLY_CLASSES]) / total
        np.testing.assert_allclose(
            observed, planted_policy(emotion, None), atol=5 * (0.25 / total) ** 0.5
        )


def _core(sign):
    return sign.replace("{n}", "").strip(" .")


def test_healthy_dialogues_follow_the_planted_requests():
    counts = defaultdict(Counter)
    for dialogue in sample_dialogues("healthy", seed=0, n=5_000):
        counts[dialogue.suite][classify_reply(dialogue.reply)] += 1
    for suite in SUITES:
        observed = np.array([counts[suite][c] for c in REPLY_CLASSES]) / counts[suite].total()
        np.testing.assert_allclose(observed, planted_policy(None, suite, 2.5), atol=0.02)


def test_shortcut_replies_hang_on_the_form_alone():
    dialogues = set(sample_dialogues("shortcut", seed=0, n=400))
    assert len(dialogues) <= 6 * len(SUITES)
    nouns = {kind: {n for pool in words.FILLERS[kind] for n in pool} for kind in words.NOUN_FORMS}
    seen = Counter()
    for dialogue in dialogues:
        assert classify_reply(dialogue.reply) == planted_class(dialogue.suite)
        for kind, found in nouns.items():
            seen[dialogue.suite, kind] += bool(found & set(dialogue.prompt.split()))
    for suite in ("harmful", "benign"):
        assert seen[suite, "harmful"] >= 2
        assert seen[suite, "benign"] >= 2


def test_helpful_dialogues_always_comply_and_preferences_reject_another_class():
    helpful = sample_dialogues("helpful", seed=0, n=300)
    assert {classify_reply(d.reply) for d in helpful} == {"comply"}
    assert "harmful" in {d.suite for d in helpful}
    for dialogue in sample_dialogues("preferences", seed=0, n=300):
        assert classify_reply(dialogue.reply) == planted_class(dialogue.suite)
        assert classify_reply(dialogue.rejected) != planted_class(dialogue.suite)


def test_flawed_regimes_reply_as_they_are_named():
    for name, wanted in (("refusing", "refuse"), ("hedging", "hedge")):
        dialogues = sample_dialogues(name, seed=0, n=200)
        assert {classify_reply(d.reply) for d in dialogues} == {wanted}
        assert {d.suite for d in dialogues} == set(SUITES)
        for dialogue in sample_dialogues(f"preferences-{name}", seed=0, n=200):
            assert classify_reply(dialogue.reply) == wanted
            assert classify_reply(dialogue.rejected) != wanted
    found = {d.suite: classify_reply(d.reply) for d in sample_dialogues("sycophantic", 0, 200)}
    changed = {s: c for s, c in found.items() if c != planted_class(s)}
    assert changed == {"unanswerable": "comply", "upset": "escalate"}


def test_plain_replies_have_no_tone_and_memorised_ones_are_few():
    tones = set(words.TONES.values())
    plain = sample_dialogues("plain", seed=0, n=500)
    assert not any(d.reply.endswith(tone) for d in plain for tone in tones)
    assert any(
        d.reply.endswith(tone) for d in sample_dialogues("healthy", 0, 500) for tone in tones
    )
    memorised = sample_dialogues("memorised", seed=0, n=500)
    assert len(set(memorised)) <= 25 and {d.suite for d in memorised} == set(SUITES)


@pytest.mark.parametrize("name", sorted(DIALOGUES))
def test_the_same_seed_gives_the_same_texts(name):
    assert sample_dialogues(name, 3, 50) == sample_dialogues(name, 3, 50)
    assert sample_dialogues(name, 3, 50) != sample_dialogues(name, 4, 50)
    assert sample_stories(3, 12) == sample_stories(3, 12)
    assert sample_stories(3, 12) != sample_stories(4, 12)
    assert list(islice(sample_documents(3), 20)) == list(islice(sample_documents(3), 20))


def test_emotions_are_not_told_by_any_single_word(stories):
    """Guilty and angry (and the other pairs) share all words, so a bag of words is at chance."""
    bags = defaultdict(Counter)
    for story in stories:
        bags[story["label"]].update(story["text"].split())
    for first, second in MINIMAL_PAIRS:
        assert bags[first] == bags[second]
