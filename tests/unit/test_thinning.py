"""Fewer texts than there are: spread evenly, the same topics for every emotion."""

from collections import Counter

from emodrift.contrasts.thinning import thin_parts


def write_stories(labels, topics, each=2):
    return [
        {
            "id": f"{label}-{topic}-{n}",
            "label": label,
            "topic": f"topic-{topic:02}",
            "split": "heldout" if topic % 3 == 0 else "fit",
        }
        for label in labels
        for topic in range(topics)
        for n in range(each)
    ]


def write_prompts(suites, families, each=4):
    return [
        {"id": f"{suite}-{family}-{n}", "suite": suite, "split": "ood", "family": f"f{family}"}
        for suite in suites
        for family in range(families)
        for n in range(each)
    ]


def thin(texts=(), asked=(), minimum_topics=2, **amounts):
    records = {"stories-a": list(texts), "prompts-a": list(asked)}
    kinds = {"stories-a": "stories", "prompts-a": "prompts"}
    return thin_parts(records, kinds, amounts, minimum_topics)


def test_what_is_not_asked_for_is_kept_in_full():
    stories, prompts = write_stories("ab", 9), write_prompts("xy", 5)
    assert thin(stories, prompts) == {"stories-a": stories, "prompts-a": prompts}


def test_emotions_keep_the_same_topics_one_story_of_each_before_a_second():
    kept = thin(write_stories("ab", 9), stories=6)["stories-a"]
    assert Counter(row["label"] for row in kept) == {"a": 6, "b": 6}
    topics = {label: sorted(r["topic"] for r in kept if r["label"] == label) for label in "ab"}
    assert topics["a"] == topics["b"]
    assert len(set(topics["a"])) == 6


def test_splits_share_as_all_do_but_none_goes_under_the_minimum_of_topics():
    kept = thin(write_stories("a", 9), stories=6)["stories-a"]
    assert Counter(row["split"] for row in kept) == {"fit": 4, "heldout": 2}
    kept = thin(write_stories("a", 9), stories=3, minimum_topics=3)["stories-a"]
    assert Counter(row["split"] for row in kept) == {"fit": 3, "heldout": 3}


def test_prompts_of_each_suite_and_split_are_spread_over_families():
    kept = thin(asked=write_prompts("xy", 5), prompts=7)["prompts-a"]
    assert Counter(row["suite"] for row in kept) == {"x": 7, "y": 7}
    families = Counter(row["family"] for row in kept if row["suite"] == "x")
    assert sorted(families.values()) == [1, 1, 1, 2, 2]


def test_a_suite_may_have_an_amount_of_its_own_and_others_are_kept_in_full():
    kept = thin(asked=write_prompts("xy", 5), prompts={"x": 3})["prompts-a"]
    assert Counter(row["suite"] for row in kept) == {"x": 3, "y": 20}


def test_a_part_keeps_its_order_and_parts_share_one_amount():
    stories = write_stories("a", 9)
    records = {"one": stories[::2], "two": stories[1::2]}
    kept = thin_parts(records, dict.fromkeys(records, "stories"), {"stories": 9}, 2)
    assert sum(map(len, kept.values())) == 9
    assert all(rows == [r for r in records[name] if r in rows] for name, rows in kept.items())
