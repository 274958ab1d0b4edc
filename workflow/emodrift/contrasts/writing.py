"""Stories that a language model writes: asked for, filtered, asked for again.

After Sofroniew et al. 2026: some stories for every emotion and topic, in which the emotion is felt
but neither its word nor a synonym is used.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.contrasts.answers import Asker, Question
from emodrift.contrasts.checker import (
    Lexicon,
    build_lexicon,
    find_copies,
    find_leaks,
    find_wrong_lengths,
)
from emodrift.contrasts.endpoint import Answer
from emodrift.contrasts.topics import split_topics
from emodrift.corpus.records import Record
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value

SEPARATOR = re.compile(r"^[ \t]*(?:-{3,}|={3,}|\*{3,}|_{3,})[ \t]*$", re.MULTILINE)
THOUGHTS = re.compile(r"^.*</think>", re.DOTALL)
LEAD = re.compile(r"\A[^\n]{0,200}:[ \t]*\n")
HEADING = re.compile(
    r"\A(?:\#+[^\n]*\n+|[\W_]*story\s*\d+[\s:.)\]*_–—-]*|\d+[.)]\s+)", re.IGNORECASE
)
TEXT_KEYS = ("story", "text")


class Rejection(NamedTuple):
    """A text, or a whole answer, that was not taken, and why."""

    label: str
    topic: str
    round: int
    reason: str
    text: str


class StoryParams(NamedTuple):
    """What stories are wanted.

    writer: see :class:`Task`. topics: what they are about. heldout: share of topics that are held
    out. amount: stories for each emotion and topic. seed: chooses the held-out topics. forbidden:
    emotion -> its word and synonyms. homographs: words that count as a leak only in stories of
    their own emotion.
    """

    writer: Mapping[str, Any]
    topics: Sequence[str]
    heldout: float
    amount: int
    seed: int
    forbidden: Mapping[str, Sequence[str]]
    homographs: Sequence[str]


@dataclass(frozen=True)
class Task:
    """What is asked of the writer.

    Parameters
    ----------
    writer
        Settings: instructions, answers, minimum_words, maximum_words, similarity, rounds,
        forbidden.
    topics
        Topic -> split.
    amount
        Stories for each emotion and topic.
    forbidden
        Emotion -> its word and synonyms.
    lexicon
        The same words, looked up by stem.
    """

    writer: Mapping[str, Any]
    topics: Mapping[str, str]
    amount: int
    forbidden: Mapping[str, Sequence[str]]
    lexicon: Lexicon


@dataclass
class Shelf:
    """Stories taken so far, and what was not taken."""

    stories: list[Record] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)


def write_stories(params: StoryParams, ask: Asker, out: Path) -> None:
    """Have stories written for every emotion and topic.

    Writes ``stories/<emotion>.jsonl``, ``rejected.jsonl`` (every text not taken, with the reason)
    and ``summary.json`` (emotion -> stories, rejections by reason, topics with too few stories).
    Emotions are written in order, and none depends on those after it.

    Parameters
    ----------
    params
        What is wanted.
    ask
        Asks the model.
    out
        Directory to write to.

    Raises
    ------
    EmodriftError
        No story of an emotion could be used.
    """
    forbidden = params.forbidden
    taxonomy = {
        "emotions": {emotion: {"synonyms": words} for emotion, words in forbidden.items()},
        "homographs": params.homographs,
    }
    splits = split_topics(params.topics, params.heldout, params.seed)
    task = Task(params.writer, splits, params.amount, forbidden, build_lexicon(taxonomy))
    shelf = Shelf()
    summary = {}
    (out / "stories").mkdir()
    for emotion in forbidden:
        write_emotion(emotion, task, ask, shelf)
        summary[emotion] = summarise(emotion, task, shelf)
        _write_lines(
            out / "stories" / f"{emotion}.jsonl",
            (s for s in shelf.stories if s["label"] == emotion),
        )
    _write_lines(out / "rejected.jsonl", (r._asdict() for r in shelf.rejections))
    (out / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


def write_emotion(emotion: str, task: Task, ask: Asker, shelf: Shelf) -> None:
    """Ask for one emotion's stories, round by round, until no topic lacks any or rounds end.

    Parameters
    ----------
    emotion, task, ask
        What is asked, and of whom.
    shelf
        Takes the stories and the rejections.
    """
    for number in range(1, task.writer["rounds"] + 1):
        held = Counter(s["topic"] for s in shelf.stories if s["label"] == emotion)
        missing = {t: task.amount - held[t] for t in task.topics if held[t] < task.amount}
        if not missing:
            return
        questions = [
            Question(render_prompt(emotion, topic, count, task), number)
            for topic, count in missing.items()
        ]
        answers = dict(ask(questions))
        candidates = []
        for k, (topic, count) in enumerate(missing.items()):
            candidates += _take_candidates(answers[k], emotion, topic, count, number, task, shelf)
        kept = drop_copies(candidates, shelf, number, task.writer["similarity"])
        logging.info(
            "%s, round %d: %d answers, %d stories taken", emotion, number, len(questions), kept
        )


def render_prompt(emotion: str, topic: str, count: int, task: Task) -> str:
    """The question for one emotion and topic."""
    return task.writer["instructions"].format(
        count=count,
        topic=topic,
        emotion=emotion,
        forbidden=", ".join(task.forbidden[emotion]),
        minimum_words=task.writer["minimum_words"],
        maximum_words=task.writer["maximum_words"],
    )


def split_answer(answer: Answer, form: str) -> list[str]:
    """Texts of an answer; a last text that was cut off is left out.

    Parameters
    ----------
    answer
        What the model wrote.
    form
        ``separated`` or ``json``.

    Returns
    -------
    list of str
        Empty where the answer has not the asked form.
    """
    text = THOUGHTS.sub("", answer.text).strip()
    if form == "json":
        return _split_json(text)
    texts = SEPARATOR.split(LEAD.sub("", text))
    texts = texts if answer.complete else texts[:-1]
    return [clean for t in texts if (clean := " ".join(HEADING.sub("", t.strip()).split()))]


def find_fault(record: Record, task: Task) -> str | None:
    """Why a story cannot be taken, length and words alone; None if it can."""
    limits = task.writer["minimum_words"], task.writer["maximum_words"]
    if record["id"] in (counts := find_wrong_lengths([record], limits)):
        return "too short" if counts[record["id"]] < limits[0] else "too long"
    if not re.search(r"\w", record["text"]):
        return "no words"
    for leak in find_leaks([record], task.lexicon):
        if task.writer["forbidden"] == "study" or record["label"] in leak.emotions:
            return f"leaked word {leak.word}"
    return None


def drop_copies(candidates: Sequence[Record], shelf: Shelf, number: int, similarity: float) -> int:
    """Take candidates that resemble no earlier story of their emotion or of their topic.

    Returns
    -------
    int
        How many were taken.
    """
    copies: set[str] = set()
    for shared in ("label", "topic"):
        for value in dict.fromkeys(c[shared] for c in candidates):
            new = [c for c in candidates if c[shared] == value and c["id"] not in copies]
            old = [s for s in shelf.stories if s[shared] == value]
            copies |= _find_new_copies(old, new, similarity)
    for record in candidates:
        if record["id"] in copies:
            shelf.rejections.append(
                Rejection(record["label"], record["topic"], number, "copy", record["text"])
            )
        else:
            shelf.stories.append(record)
    return len(candidates) - len(copies)


def summarise(emotion: str, task: Task, shelf: Shelf) -> dict[str, Any]:
    """Counts of one emotion: stories, rejections by reason, topics with too few stories.

    Raises
    ------
    EmodriftError
        There is no story.
    """
    held = Counter(s["topic"] for s in shelf.stories if s["label"] == emotion)
    reasons = Counter(
        "leaked word" if r.reason.startswith("leaked") else r.reason
        for r in shelf.rejections
        if r.label == emotion
    )
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common()) or "none"
    if not held:
        raise EmodriftError(
            f"contrasts.stories: the writer wrote no story of {emotion!r} that can be "
            f"used (dropped: {told}); change writer.instructions, minimum_words, maximum_words "
            "or maximum_tokens, or take another model"
        )
    short = {t: held[t] for t in task.topics if held[t] < task.amount}
    if short:
        logging.warning(
            "%s: %d of %d topics have fewer than %d stories after %d rounds (dropped: %s)",
            emotion,
            len(short),
            len(task.topics),
            task.amount,
            task.writer["rounds"],
            told,
        )
    return {"stories": held.total(), "rejected": dict(reasons), "short_topics": short}


def _take_candidates(
    answer: Answer,
    emotion: str,
    topic: str,
    count: int,
    number: int,
    task: Task,
    shelf: Shelf,
) -> list[Record]:
    texts = split_answer(answer, task.writer["answers"])
    if not texts:
        reason = "malformed" if answer.complete else "cut off"
        shelf.rejections.append(Rejection(emotion, topic, number, reason, answer.text))
    taken: dict[str, Record] = {}
    for text in texts:
        record = {
            "id": f"written-{emotion}-{digest_value([topic, text])[:12]}",
            "set": "emotion",
            "label": emotion,
            "topic": topic,
            "split": task.topics[topic],
            "text": text,
        }
        fault = "copy" if record["id"] in taken else find_fault(record, task)
        if fault is None and len(taken) == count:
            fault = "more than asked"
        if fault:
            shelf.rejections.append(Rejection(emotion, topic, number, fault, text))
        else:
            taken[record["id"]] = record
    return list(taken.values())


def _find_new_copies(old: Sequence[Record], new: Sequence[Record], similarity: float) -> set[str]:
    if not new:
        return set()
    fresh = {record["id"] for record in new}
    dropped: set[str] = set()
    for copy in find_copies([*old, *new], similarity):
        if copy.first not in dropped and copy.second in fresh:
            dropped.add(copy.second)
    return dropped


def _split_json(text: str) -> list[str]:
    start, end = text.find("["), text.rfind("]")
    try:
        items = json.loads(text[start : end + 1]) if 0 <= start < end else None
    except json.JSONDecodeError:
        return []
    if not isinstance(items, list):
        return []
    texts = [_read_item(item) for item in items]
    return [" ".join(t.split()) for t in texts if t and t.strip()]


def _read_item(item: Any) -> str | None:
    if isinstance(item, dict):
        item = next((item[key] for key in TEXT_KEYS if key in item), None)
    return item if isinstance(item, str) else None


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
