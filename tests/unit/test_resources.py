"""The shipped contrast texts hold what they promise, and the checker finds planted faults."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from emodrift.contrasts import checker

RESOURCES = Path(__file__).parents[2] / "resources"
PAGE = RESOURCES.parent / "docs" / "contrast-data.md"
TOPICS = [
    "kitchen",
    "garden",
    "school",
    "hospital",
    "office",
    "train",
    "workshop",
    "farm",
    "bakery",
    "library",
    "orchestra",
    "football",
    "harbour",
    "mountain",
    "shop",
    "apartment",
    "wedding",
    "newspaper",
    "laboratory",
    "theatre",
]
HELD_OUT = {"office", "library", "shop", "theatre", "farm", "mountain"}
PAIR_KINDS = [
    "guilty-angry",
    "proud-grateful",
    "worried-relieved",
    "sad-happy",
    "lonely-content",
    "embarrassed-contemptuous",
    "ashamed-resentful",
    "afraid-eager",
]
CONTROLS = {
    "colour": ["red", "blue"],
    "number": ["one", "crowd"],
    "person": ["first", "third"],
    "place": ["indoors", "outdoors"],
    "tense": ["past", "present"],
    "weather": ["dry", "rainy"],
}


@pytest.fixture(scope="module")
def taxonomy():
    return checker.read_taxonomy(RESOURCES / "emotions.yaml")


@pytest.fixture(scope="module")
def lexicon(taxonomy):
    return checker.build_lexicon(taxonomy)


@pytest.fixture(scope="module")
def parts():
    return checker.read_parts(RESOURCES)


@pytest.fixture(scope="module")
def stories(parts):
    return parts["stories"]


@pytest.fixture(scope="module")
def everything(parts):
    return [record for records in parts.values() for record in records]


def make_record(text, label="afraid", topic="kitchen", split="fit", **more):
    return {
        "id": f"{label}-{topic}-{more.get('person', 'third')}-{len(text)}",
        "set": "emotion",
        "label": label,
        "topic": topic,
        "split": split,
        "text": text,
        **more,
    }


def test_the_taxonomy_rates_171_emotions_or_more_within_bounds(taxonomy):
    emotions = taxonomy["emotions"]
    assert len(emotions) >= 171
    for entry in emotions.values():
        assert all(-1 <= entry[axis] <= 1 for axis in ("valence", "arousal", "dominance"))
    assert sum(entry["core"] for entry in emotions.values()) == 24


def test_every_core_emotion_has_a_file_of_its_own_and_rich_synonyms(taxonomy):
    core = {name for name, entry in taxonomy["emotions"].items() if entry["core"]}
    assert core == {file.stem for file in (RESOURCES / "stories").glob("*.jsonl")}
    assert min(len(taxonomy["emotions"][name]["synonyms"]) for name in core) >= 10


def test_every_emotion_has_one_story_per_topic_and_person(stories, taxonomy):
    core = [name for name, entry in taxonomy["emotions"].items() if entry["core"]]
    levels = {"label": core, "topic": TOPICS, "person": ["first", "third"]}
    assert checker.find_imbalances(stories, ("label", "topic", "person"), levels) == {}


def test_every_topic_has_its_eight_minimal_pairs_in_the_third_person(stories):
    pairs = checker.group_pairs(stories)
    assert set(pairs) == {f"{topic}:{kind}" for topic in TOPICS for kind in PAIR_KINDS}
    assert {record["person"] for members in pairs.values() for record in members} == {"third"}
    for pair, members in pairs.items():
        assert "-".join(sorted(m["label"] for m in members)) == "-".join(
            sorted(pair.split(":")[1].split("-"))
        )


def test_every_topic_has_six_neutral_texts(parts):
    assert Counter(record["topic"] for record in parts["neutral"]) == dict.fromkeys(TOPICS, 6)


def test_every_control_contrast_has_both_poles_of_every_topic(parts):
    assert {name for name in parts if name.startswith("control")} == {
        f"control: {name}" for name in CONTROLS
    }
    for name, poles in CONTROLS.items():
        records = parts[f"control: {name}"]
        levels = {"set": [name], "label": poles, "topic": TOPICS}
        assert checker.find_imbalances(records, ("set", "label", "topic"), levels) == {}


def test_the_split_goes_by_topic(everything):
    assert checker.find_split_topics(everything) == []
    assert {r["topic"] for r in everything if r["split"] == "heldout"} == HELD_OUT


def test_ids_are_unique(everything):
    assert max(Counter(record["id"] for record in everything).values()) == 1


def test_no_shipped_text_has_a_wrong_length(everything):
    assert checker.find_wrong_lengths(everything) == {}


def test_no_shipped_text_leaks_an_emotion_word(everything, lexicon):
    assert checker.find_leaks(everything, lexicon) == []


def test_no_shipped_text_is_a_near_copy_of_another(everything):
    assert checker.find_copies(everything) == []


def test_every_shipped_pair_is_minimal(everything):
    assert checker.find_pair_defects(everything) == {}


def test_words_alone_tell_fewer_than_a_quarter_of_held_out_stories_and_the_page_says_so(stories):
    score = checker.score_held_out_topics(stories, "words", np.random.default_rng(0))
    assert score.accuracy < 0.25
    row = checker.render_scores({"words": [score]}).splitlines()[-1]
    assert row in PAGE.read_text(encoding="utf-8")


def test_the_page_shows_the_counts_of_the_shipped_parts(parts, lexicon):
    table = checker.render_table(checker.tabulate_parts(parts, lexicon))
    assert table in PAGE.read_text(encoding="utf-8")


def test_a_planted_inflection_of_another_emotion_is_found(lexicon):
    (leak,) = checker.find_leaks([make_record("She worries about the pan.")], lexicon)
    assert (leak.word, "worried" in leak.emotions) == ("worries", True)


def test_a_homograph_leaks_only_in_stories_of_its_own_emotion(lexicon):
    text = "He poured out the contents of the tin."
    assert checker.find_leaks([make_record(text, label="guilty")], lexicon) == []
    assert [leak.word for leak in checker.find_leaks([make_record(text, "content")], lexicon)] == [
        "contents"
    ]


def test_a_planted_copy_is_found_unless_it_is_a_declared_pair():
    text = "The cook set eleven plates on the long table and carried the soup in from the stove."
    copy = text.replace("eleven", "twelve")
    other = "A tram crossed the bridge at noon while two men painted the railing green."
    loose = [make_record(t, topic=k) for t, k in ((text, "a"), (copy, "b"), (other, "c"))]
    (found,) = checker.find_copies(loose)
    assert {found.first, found.second} == {loose[0]["id"], loose[1]["id"]}
    paired = [{**record, "pair": "kitchen:x"} for record in loose[:2]]
    assert checker.find_copies([*paired, loose[2]]) == []


def test_swapped_roles_are_full_overlap_and_a_rewritten_member_is_a_defect():
    first, second = "Ana broke the lamp of Ben.", "Ben broke the lamp of Ana."
    assert checker.measure_overlap(first, second) == 1
    records = [
        make_record(first, "guilty", pair="kitchen:guilty-angry"),
        make_record("It rained on the roof all day.", "angry", pair="kitchen:guilty-angry"),
    ]
    assert "overlap" in checker.find_pair_defects(records)["kitchen:guilty-angry"]


def test_a_missing_and_a_doubled_cell_are_found():
    records = [make_record("x", topic=topic) for topic in ("a", "a", "c")]
    levels = {"label": ["afraid"], "topic": ["a", "b"]}
    assert checker.find_imbalances(records, ("label", "topic"), levels) == {
        ("afraid", "a"): 2,
        ("afraid", "b"): 0,
        ("afraid", "c"): 1,
    }


def plant_stories(rng, tell):
    """Stories of random words over 10 topics; with ``tell``, one word names the label."""
    words = [f"w{k}" for k in range(60)]
    return [
        make_record(
            " ".join([*rng.choice(words, 20), f"mark{label}" if tell else "mark"]),
            label=label,
            topic=f"t{topic}",
            split="heldout" if topic < 3 else "fit",
            person=str(copy),
        )
        for topic in range(10)
        for label in "abcd"
        for copy in range(4)
    ]


def test_a_planted_telling_word_is_recovered_and_its_absence_scores_at_chance():
    rng = np.random.default_rng(3)
    told, silent = (
        checker.score_lexical_leakage(plant_stories(rng, tell), rng=rng) for tell in (True, False)
    )
    assert min(score.accuracy for score in told) > 0.95
    assert all(score.low <= score.chance <= score.high for score in silent)
    telling = checker.list_telling_words(plant_stories(rng, tell=True), per_label=1)
    assert set(telling["word"]) == {"marka", "markb", "markc", "markd"}


def test_replacing_the_block_keeps_the_rest_of_the_page():
    begin, end = checker.BLOCK_MARKS
    assert (
        checker.replace_block(f"a\n{begin}\nold\n{end}\nb", "new") == f"a\n{begin}\nnew\n{end}\nb"
    )
