"""The contrast data set of a study: parts gathered, checked and written once.

A part is one generator's output, one file, or a model's stories for one emotion; activations are
kept per checkpoint and part, so that a new file costs only its own extraction.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from emodrift.contrasts.importing import fill_splits, import_records
from emodrift.contrasts.thinning import thin_parts
from emodrift.corpus.reading import KINDS, PARTS, REPLIES
from emodrift.corpus.records import STORY_SPLITS, Record
from emodrift.errors import EmodriftError
from emodrift.grammar import sampling as grammar

GENERATORS = {
    ("grammar", "stories"): grammar.sample_stories,
    ("grammar", "neutral"): grammar.sample_neutral,
    ("grammar", "controls"): grammar.sample_controls,
    ("grammar", "prompts"): grammar.sample_prompts,
}


class DatasetParams(NamedTuple):
    """What a data set is gathered from, and what it has to hold.

    parts: name -> kind, and generator, seed and amount, or what :func:`import_records` takes.
    emotions: of the study; stories of others are left out. minimum_topics: that each emotion needs
    in each split. metrics: behaviour metrics by name, each with suite and reply class; prompts of
    suites that none reads are left out.
    minimum_prompts: that each metric's suite needs in each split it has. files: part -> file or
    folder, for parts that no generator writes. replies: ``grammar`` or a YAML file of reply
    classes. amounts: kind -> how many texts are kept, and of ``phrasings``; see
    :func:`emodrift.contrasts.thinning.thin_parts`.
    """

    parts: Mapping[str, Mapping[str, Any]]
    emotions: Sequence[str]
    minimum_topics: int
    metrics: Mapping[str, Mapping[str, Any]]
    minimum_prompts: int
    files: Mapping[str, str]
    replies: str
    amounts: Mapping[str, Any] = MappingProxyType({})


def build_dataset(params: DatasetParams, out: Path) -> None:
    """Gather all parts, check them together and write them.

    Writes ``parts/<name>.jsonl``, ``parts.json`` (name -> kind) and ``replies.json``. A part of
    which nothing is kept, such as stories of an emotion that the study does not have, is left out.

    Parameters
    ----------
    params
        What is gathered.
    out
        Directory to write to.

    Raises
    ------
    EmodriftError
        A record, an emotion or a suite that later stages could not work with.
    """
    parts, files = params.parts, params.files
    records = {
        name: import_records(Path(files[name]), part)
        if name in files
        else GENERATORS[part["generator"], part["kind"]](part["seed"], part["amount"])
        for name, part in parts.items()
    }
    fill_splits(parts, records)
    kinds = {name: part["kind"] for name, part in parts.items()}
    asked = {metric["suite"] for metric in params.metrics.values()}
    wanted = {
        "stories": lambda r: r["label"] in params.emotions,
        "prompts": lambda r: r["suite"] in asked,
    }
    records = {name: list(filter(wanted.get(kinds[name]), rows)) for name, rows in records.items()}
    amounts = dict(params.amounts)
    phrasings = amounts.pop("phrasings", None)
    records = thin_parts(records, kinds, amounts, params.minimum_topics)
    stories = _of_kind("stories", records, kinds)
    prompts = _of_kind("prompts", records, kinds)
    check_stories(stories, params.emotions, params.minimum_topics)
    _check_topics(stories)
    classes = {name: said[:phrasings] for name, said in read_replies(params.replies).items()}
    check_prompts(prompts, params.metrics, classes, params.minimum_prompts)
    _check_ids([r for rows in records.values() for r in rows])

    records = {name: rows for name, rows in records.items() if rows}
    (out / PARTS).mkdir()
    for name, rows in records.items():
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)
        (out / PARTS / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        logging.info("part %s: %d records", name, len(rows))
    written = {name: kinds[name] for name in records}
    (out / KINDS).write_text(json.dumps(written, indent=1) + "\n")
    (out / REPLIES).write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n")


def read_replies(source: str) -> dict[str, list[str]]:
    """Reply classes: class -> phrasings.

    Parameters
    ----------
    source
        ``grammar`` or a YAML file.
    """
    if source == "grammar":
        return {name: list(phrasings) for name, phrasings in grammar.REPLY_CLASSES.items()}
    classes = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    if not isinstance(classes, dict) or len(classes) < 2 or not all(classes.values()):
        raise EmodriftError(
            f"{source}: expected a mapping of at least two reply classes, each a list of phrasings"
        )
    return {name: [str(p) for p in phrasings] for name, phrasings in classes.items()}


def check_stories(stories: Sequence[Record], emotions: Sequence[str], minimum_topics: int) -> None:
    """Each emotion needs stories of enough topics in both splits."""
    topics: dict[tuple[str, str], set[str]] = defaultdict(set)
    for story in stories:
        topics[story["label"], story["split"]].add(story["topic"])
    known = {label for label, _ in topics}
    for emotion in emotions:
        if emotion not in known:
            raise EmodriftError(
                f"contrasts.emotions names unknown emotion {emotion!r}: no story carries it "
                f"(stories have {', '.join(sorted(known)) or 'no emotion of the study'}); "
                "add a story file or drop the emotion"
            )
        for split in STORY_SPLITS:
            found = len(topics[emotion, split])
            if found < minimum_topics:
                raise EmodriftError(
                    f"contrasts.stories: emotion {emotion!r} has {found} topics in split "
                    f"{split!r}, contrasts.minimum_topics asks for {minimum_topics}; add stories"
                )


def check_prompts(
    prompts: Sequence[Record],
    metrics: Mapping[str, Mapping[str, Any]],
    classes: Mapping[str, Sequence[str]],
    minimum: int,
) -> None:
    """Each metric's suite needs enough prompts in each split, and its reply class phrasings."""
    counts = Counter((p["suite"], p["split"]) for p in prompts)
    for name, metric in metrics.items():
        suite, toward = metric["suite"], metric["toward"]
        if toward not in classes:
            raise EmodriftError(
                f"behaviours.metrics.{name}.toward: no reply class {toward!r}; "
                f"known: {', '.join(classes)}"
            )
        present = {split: n for (s, split), n in counts.items() if s == suite}
        if not present:
            raise EmodriftError(
                f"behaviours.metrics.{name}.suite: no prompt of suite {suite!r}; "
                f"known: {', '.join(sorted({s for s, _ in counts}))}"
            )
        for split, count in present.items():
            if count < minimum:
                raise EmodriftError(
                    f"contrasts.prompts: suite {suite!r} has {count} prompts in split {split!r}, "
                    f"not enough for metric {name!r} (behaviours.minimum_prompts is {minimum}); "
                    "add prompts or lower the minimum"
                )


def _of_kind(
    kind: str, records: Mapping[str, list[Record]], kinds: Mapping[str, str]
) -> list[Record]:
    return [r for name, rows in records.items() if kinds[name] == kind for r in rows]


def _check_topics(stories: Iterable[Record]) -> None:
    splits: dict[str, str] = {}
    for story in stories:
        if splits.setdefault(story["topic"], story["split"]) != story["split"]:
            raise EmodriftError(
                f"contrasts.stories: topic {story['topic']!r} is in both splits (story "
                f"{story['id']!r} is {story['split']}); a topic is fitted on or held out, so "
                "rename it or move its stories"
            )


def _check_ids(records: Iterable[Record]) -> None:
    twins = [name for name, count in Counter(r["id"] for r in records).items() if count > 1]
    if twins:
        raise EmodriftError(f"contrasts: id {twins[0]!r} comes twice; ids are unique in a study")
