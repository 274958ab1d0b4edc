"""Checks of contrast texts: leaked words, lengths, balance, copies, pairs, lexical leakage.

Every function takes story records (``{"id", "set", "label", "topic", "split", "text", ...}``) and
returns plain values; nothing is written. ``render_checks`` puts the results together as the
Markdown block of ``docs/contrast-data.md``.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import snowballstemmer
import yaml
from scipy import stats
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import linear_kernel
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

from emodrift.corpus.records import read_records

Record = Mapping[str, Any]

WORD = re.compile(r"[a-z]+(?:['’-][a-z]+)*")
WORD_LIMITS = (50, 110)
COPY_SIMILARITY = 0.6
PAIR_OVERLAP = 0.75
PENALTIES = {"C": [1.0, 10.0, 100.0]}
WORD_WEIGHTS = {"sublinear_tf": True, "token_pattern": r"(?u)\b\w+\b"}
FEATURES = {
    "words": TfidfVectorizer(ngram_range=(1, 2), min_df=2, **WORD_WEIGHTS),
    "single words": TfidfVectorizer(min_df=2, **WORD_WEIGHTS),
    "characters": TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), min_df=3, sublinear_tf=True
    ),
    "pair words": TfidfVectorizer(ngram_range=(1, 2), **WORD_WEIGHTS),
}
LEAKAGE_FEATURES = ("words", "single words", "characters")
BLOCK_MARKS = ("<!-- checker: begin -->", "<!-- checker: end -->")


class Lexicon(NamedTuple):
    """Words that a story must not use, looked up by stem."""

    emotions_of_stem: dict[str, frozenset[str]]
    homographs: frozenset[str]


class Leak(NamedTuple):
    """A word of the lexicon found in a text, with the emotions that it belongs to."""

    id: str
    word: str
    emotions: tuple[str, ...]


class Copy(NamedTuple):
    """Two records whose texts are too much alike."""

    first: str
    second: str
    similarity: float


class LeakageScore(NamedTuple):
    """Accuracy of a bag-of-words classifier on topics that it was not trained on."""

    design: str
    n_texts: int
    n_topics: int
    accuracy: float
    low: float
    high: float
    chance: float


def read_folder(folder: Path) -> list[dict[str, Any]]:
    """Story records of every JSONL file in a folder, in name order."""
    return [
        record
        for file in sorted(folder.glob("*.jsonl"))
        for record in read_records(file, "stories")
    ]


def read_taxonomy(path: Path) -> dict[str, Any]:
    """Read ``emotions.yaml``: keys ``homographs`` and ``emotions``."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_words(text: str) -> list[str]:
    """Lower-case words of a text; hyphens stay inside a word, a possessive ending is dropped."""
    return [re.sub(r"['’]s$", "", word) for word in WORD.findall(text.lower())]


@cache
def stem_word(word: str) -> str:
    """English Snowball stem of a lower-case word."""
    return snowballstemmer.stemmer("english").stemWord(word)


def build_lexicon(taxonomy: Mapping[str, Any]) -> Lexicon:
    """Lexicon of every emotion word and synonym of a taxonomy."""
    emotions_of_stem: dict[str, set[str]] = defaultdict(set)
    for emotion, entry in taxonomy["emotions"].items():
        for word in (emotion, *entry["synonyms"]):
            emotions_of_stem[stem_word(word.lower())].add(emotion)
    frozen = {stem: frozenset(emotions) for stem, emotions in emotions_of_stem.items()}
    return Lexicon(frozen, frozenset(taxonomy["homographs"]))


def find_leaks(records: Iterable[Record], lexicon: Lexicon) -> list[Leak]:
    """Words of a record's text whose stem is in the lexicon.

    A homograph counts only when it belongs to the record's own label.
    """
    leaks = []
    for record in records:
        for word in dict.fromkeys(list_words(record["text"])):
            emotions = lexicon.emotions_of_stem.get(stem_word(word), frozenset())
            if emotions and (word not in lexicon.homographs or record["label"] in emotions):
                leaks.append(Leak(record["id"], word, tuple(sorted(emotions))))
    return leaks


def find_wrong_lengths(
    records: Iterable[Record], limits: tuple[int, int] = WORD_LIMITS
) -> dict[str, int]:
    """Word counts (split at white space) of the records outside the limits, by id."""
    counts = {record["id"]: len(record["text"].split()) for record in records}
    return {key: count for key, count in counts.items() if not limits[0] <= count <= limits[1]}


def find_imbalances(
    records: Iterable[Record],
    factors: Sequence[str],
    levels: Mapping[str, Sequence[str]],
    per_cell: int = 1,
) -> dict[tuple[str, ...], int]:
    """Cells of a full factorial design that do not hold ``per_cell`` records.

    Parameters
    ----------
    factors
        Record keys that span the design, such as ("label", "topic", "person").
    levels
        Expected values of each factor. A record with another value is a cell of its own.

    Returns
    -------
    dict
        Found count by cell, wrong cells only.
    """
    found = Counter(tuple(record[factor] for factor in factors) for record in records)
    cells = set(product(*(levels[factor] for factor in factors))) | set(found)
    expected = {cell: per_cell if _inside(cell, factors, levels) else 0 for cell in cells}
    return {cell: found[cell] for cell in sorted(cells) if found[cell] != expected[cell]}


def _inside(
    cell: Sequence[str], factors: Sequence[str], levels: Mapping[str, Sequence[str]]
) -> bool:
    return all(value in levels[factor] for factor, value in zip(factors, cell, strict=True))


def find_split_topics(records: Iterable[Record]) -> list[str]:
    """Topics that occur in more than one split."""
    splits = defaultdict(set)
    for record in records:
        splits[record["topic"]].add(record["split"])
    return sorted(topic for topic, values in splits.items() if len(values) > 1)


def find_copies(records: Sequence[Record], similarity: float = COPY_SIMILARITY) -> list[Copy]:
    """Pairs of records, declared minimal pairs left out, with nearly the same text.

    Similarity is the cosine of TF-IDF weights of word unigrams to trigrams.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), **WORD_WEIGHTS)
    weights = vectorizer.fit_transform([record["text"] for record in records])
    cosines = np.triu(linear_kernel(weights), k=1)
    copies = []
    for i, j in np.argwhere(cosines >= similarity):
        first, second = records[i], records[j]
        if first.get("pair") is None or first.get("pair") != second.get("pair"):
            copies.append(Copy(first["id"], second["id"], float(cosines[i, j])))
    return copies


def measure_overlap(first: str, second: str) -> float:
    """Share of words that two texts have in common, repeats counted and order ignored, in [0, 1].

    Order is ignored because the members of a pair often swap roles: "A thanks B", "B thanks A".
    """
    counts = [Counter(list_words(text)) for text in (first, second)]
    return 2 * (counts[0] & counts[1]).total() / (counts[0].total() + counts[1].total())


def group_pairs(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by their ``pair`` value; records without one are left out."""
    pairs = defaultdict(list)
    for record in records:
        if record.get("pair") is not None:
            pairs[record["pair"]].append(record)
    return dict(pairs)


def find_pair_defects(records: Iterable[Record], overlap: float = PAIR_OVERLAP) -> dict[str, str]:
    """What is wrong with a declared minimal pair, by pair id: size, labels, topic or overlap."""
    defects = {}
    for pair, members in group_pairs(records).items():
        if len(members) != 2:
            defects[pair] = f"{len(members)} members instead of 2"
        elif members[0]["label"] == members[1]["label"]:
            defects[pair] = f"both members are labelled {members[0]['label']}"
        elif members[0]["topic"] != members[1]["topic"]:
            defects[pair] = f"topics {members[0]['topic']} and {members[1]['topic']}"
        elif (shared := measure_overlap(members[0]["text"], members[1]["text"])) < overlap:
            defects[pair] = f"overlap {shared:.2f} below {overlap:.2f}"
    return defects


def fit_text_classifier(
    texts: Sequence[str] | np.ndarray,
    labels: np.ndarray,
    topics: np.ndarray,
    features: str = "words",
) -> Pipeline:
    """Fit logistic regression on TF-IDF features, its penalty chosen by inner CV over topics.

    One linear-algebra thread: on data this small more threads only wait for each other.
    """
    vectorizer = clone(FEATURES[features])
    search = GridSearchCV(LogisticRegression(max_iter=500), PENALTIES, cv=GroupKFold(3))
    with threadpool_limits(limits=1):
        search.fit(vectorizer.fit_transform(texts), labels, groups=topics)
    return make_pipeline(vectorizer, search.best_estimator_)


def bound_accuracy(
    correct: np.ndarray, topics: np.ndarray, rng: np.random.Generator, draws: int = 2000
) -> tuple[float, float]:
    """95 % percentile interval of an accuracy; whole topics are resampled."""
    by_topic = pd.Series(correct).groupby(topics).mean().to_numpy()
    interval = stats.bootstrap(
        (by_topic,), np.mean, method="percentile", n_resamples=draws, rng=rng
    ).confidence_interval
    return float(interval.low), float(interval.high)


def score_lexical_leakage(
    records: Sequence[Record], features: str = "words", rng: np.random.Generator | None = None
) -> list[LeakageScore]:
    """How well words without their order tell the labels apart on topics never seen in training.

    Two designs: trained on the fit topics and scored on the held-out topics; and cross-validation
    over all texts with whole topics left out.

    Parameters
    ----------
    records
        Labelled records with ``topic`` and ``split``.
    features
        Key of ``FEATURES``.
    rng
        For the bootstrap over topics; seeded with 0 where not given.
    """
    rng = rng if rng is not None else np.random.default_rng(0)
    return [
        score_held_out_topics(records, features, rng),
        score_left_out_topics(records, features, rng),
    ]


def score_held_out_topics(
    records: Sequence[Record], features: str, rng: np.random.Generator
) -> LeakageScore:
    """Classifier trained on the fit topics, scored on the held-out topics."""
    texts, labels, topics = _columns(records)
    fit = np.array([record["split"] == "fit" for record in records])
    model = fit_text_classifier(texts[fit], labels[fit], topics[fit], features)
    correct = model.predict(texts[~fit]) == labels[~fit]
    return _summarise("fit topics → held-out topics", correct, topics[~fit], labels, rng)


def score_left_out_topics(
    records: Sequence[Record], features: str, rng: np.random.Generator, folds: int = 5
) -> LeakageScore:
    """Classifier cross-validated over all texts, whole topics left out of each fit."""
    texts, labels, topics = _columns(records)
    correct = np.zeros(len(records), dtype=bool)
    for train, test in GroupKFold(folds).split(texts, labels, topics):
        model = fit_text_classifier(texts[train], labels[train], topics[train], features)
        correct[test] = model.predict(texts[test]) == labels[test]
    return _summarise(f"{folds}-fold, whole topics left out", correct, topics, labels, rng)


def _columns(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    texts = np.array([record["text"] for record in records], dtype=object)
    labels = np.array([record["label"] for record in records])
    return texts, labels, np.array([record["topic"] for record in records])


def _summarise(
    design: str,
    correct: np.ndarray,
    topics: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
) -> LeakageScore:
    low, high = bound_accuracy(correct, topics, rng)
    chance = 1 / len(set(labels))
    return LeakageScore(
        design, len(correct), len(set(topics)), float(correct.mean()), low, high, chance
    )


def score_pair_leakage(
    records: Sequence[Record], rng: np.random.Generator | None = None
) -> list[LeakageScore]:
    """Per kind of minimal pair: can words tell its two poles apart on topics never seen?

    Members of one kind (the part of the pair id after the colon) are classified by
    leave-one-topic-out; chance is one half.
    """
    rng = rng if rng is not None else np.random.default_rng(0)
    kinds = defaultdict(list)
    for pair, members in group_pairs(records).items():
        kinds[pair.split(":", 1)[1]].extend(members)
    return [_score_pair_kind(kind, members, rng) for kind, members in sorted(kinds.items())]


def _score_pair_kind(
    kind: str, members: Sequence[Record], rng: np.random.Generator
) -> LeakageScore:
    texts, labels, topics = _columns(members)
    model = make_pipeline(clone(FEATURES["pair words"]), LogisticRegression(C=100, max_iter=500))
    predicted = cross_val_predict(model, texts, labels, groups=topics, cv=LeaveOneGroupOut())
    return _summarise(kind, predicted == labels, topics, labels, rng)


def list_telling_words(records: Sequence[Record], per_label: int = 8) -> pd.DataFrame:
    """Words with the largest weights of the classifier, fitted on every record.

    Returns
    -------
    DataFrame
        Columns label, word, weight, n_label (texts of the label with the word), n_all.
    """
    texts, labels, topics = _columns(records)
    words, model = fit_text_classifier(texts, labels, topics)
    present = words.transform(texts) > 0
    names = words.get_feature_names_out()
    rows = []
    for label, weights in zip(model.classes_, model.coef_, strict=True):
        counts = np.asarray(present[labels == label].sum(axis=0)).ravel()
        totals = np.asarray(present.sum(axis=0)).ravel()
        for k in np.argsort(weights)[::-1][:per_label]:
            rows.append((label, names[k], float(weights[k]), int(counts[k]), int(totals[k])))
    return pd.DataFrame(rows, columns=["label", "word", "weight", "n_label", "n_all"])


def tabulate_parts(
    parts: Mapping[str, Sequence[Record]], lexicon: Lexicon
) -> list[dict[str, str | int | float]]:
    """One row of counts and defects for each named part of the resources."""
    rows = []
    for name, records in parts.items():
        lengths = [len(record["text"].split()) for record in records]
        rows.append(
            {
                "part": name,
                "texts": len(records),
                "topics": len({record["topic"] for record in records}),
                "fit": sum(record["split"] == "fit" for record in records),
                "held out": sum(record["split"] == "heldout" for record in records),
                "words": f"{min(lengths)}–{int(np.median(lengths))}–{max(lengths)}",
                "wrong length": len(find_wrong_lengths(records)),
                "leaked words": len(find_leaks(records, lexicon)),
                "near-copies": len(find_copies(records)),
                "pairs": len(group_pairs(records)),
                "pair defects": len(find_pair_defects(records)),
            }
        )
    return rows


def render_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Markdown table of rows that share their keys."""
    heads = list(rows[0])
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    lines += [f"| {' | '.join(str(row[head]) for head in heads)} |" for row in rows]
    return "\n".join(lines)


def render_scores(scores: Mapping[str, Sequence[LeakageScore]]) -> str:
    """Markdown table of leakage scores by kind of feature, with intervals and chance."""
    return render_table(
        [
            {
                "features": features,
                "design": score.design,
                "texts": score.n_texts,
                "topics": score.n_topics,
                "accuracy": f"{score.accuracy:.3f}",
                "95 % interval": f"{score.low:.3f} to {score.high:.3f}",
                "chance": f"{score.chance:.3f}",
            }
            for features, group in scores.items()
            for score in group
        ]
    )


def read_parts(resources: Path) -> dict[str, list[dict[str, Any]]]:
    """Stories, neutral texts and each control contrast below a resources folder."""
    controls = {
        f"control: {file.stem}": read_records(file, "controls")
        for file in sorted((resources / "controls").glob("*.jsonl"))
    }
    return {
        "stories": read_folder(resources / "stories"),
        "neutral": read_folder(resources / "neutral"),
        **controls,
    }


def render_checks(resources: Path) -> str:
    """Markdown of every check of the shipped contrast texts: counts, leakage, minimal pairs."""
    lexicon = build_lexicon(read_taxonomy(resources / "emotions.yaml"))
    parts = read_parts(resources)
    stories = parts["stories"]
    overlaps = [
        measure_overlap(*(member["text"] for member in members))
        for members in group_pairs(stories).values()
    ]
    scores = {features: score_lexical_leakage(stories, features) for features in LEAKAGE_FEATURES}
    return "\n\n".join(
        [
            "### Parts",
            render_table(tabulate_parts(parts, lexicon)),
            f"Minimal pairs of the stories: {len(overlaps)}; shared words at least "
            f"{min(overlaps):.2f}, median {np.median(overlaps):.2f}.",
            "### Lexical leakage, 24 emotions",
            render_scores(scores),
            "### Lexical leakage inside minimal pairs",
            render_scores({"words": score_pair_leakage(stories)}),
        ]
    )


def replace_block(page: str, block: str) -> str:
    """Page with the text between its two checker marks replaced."""
    head, _, rest = page.partition(BLOCK_MARKS[0])
    _, _, tail = rest.partition(BLOCK_MARKS[1])
    return f"{head}{BLOCK_MARKS[0]}\n{block}\n{BLOCK_MARKS[1]}{tail}"


def main() -> None:
    """Write the checks of a resources folder into a page, between its two checker marks."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("resources", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    page = arguments.page.read_text(encoding="utf-8")
    block = render_checks(arguments.resources)
    arguments.page.write_text(replace_block(page, block), encoding="utf-8")


if __name__ == "__main__":
    main()
