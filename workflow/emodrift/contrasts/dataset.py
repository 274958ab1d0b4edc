"""The contrast data set of a study: parts gathered, checked and written once.

A part is one generator's output or one resource file; activations are kept per checkpoint and
part, so that a new file costs only its own extraction.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from emodrift.contrasts import grammar
from emodrift.errors import EmodriftError

Record = dict[str, Any]

STORY_FIELDS = ("id", "set", "label", "topic", "split", "text")
PROMPT_FIELDS = ("id", "suite", "split", "family", "prompt")
STORY_SPLITS = ("fit", "heldout")
PROMPT_SPLITS = ("train_like", "heldout", "ood", "adversarial")

GENERATORS = {
    ("grammar", "stories"): grammar.sample_stories,
    ("grammar", "neutral"): grammar.sample_neutral,
    ("grammar", "controls"): grammar.sample_controls,
    ("grammar", "prompts"): grammar.sample_prompts,
}


def build_dataset(
    parts: Mapping[str, Mapping[str, Any]],
    emotions: Sequence[str],
    minimum_topics: int,
    metrics: Mapping[str, Mapping[str, Any]],
    minimum_prompts: int,
    files: Mapping[str, str],
    replies: str,
    out: Path,
) -> None:
    """Gather all parts, check them together and write them.

    Writes ``parts/<name>.jsonl``, ``parts.json`` (name -> kind) and ``replies.json``.

    Parameters
    ----------
    parts
        Name -> kind, generator, seed and amount.
    emotions
        Emotions of the study; stories of others are left out.
    minimum_topics
        Topics that each emotion needs in each split.
    metrics
        Behaviour metrics by name, each with suite and reply class.
    minimum_prompts
        Prompts that each metric's suite needs in each split it has.
    files
        Part name -> JSONL file, for parts that no generator writes.
    replies
        ``grammar`` or a YAML file of reply classes.
    out
        Directory to write to.

    Raises
    ------
    EmodriftError
        A record, an emotion or a suite that later stages could not work with.
    """
    records = {
        name: read_records(Path(files[name]), part["kind"])
        if name in files
        else GENERATORS[part["generator"], part["kind"]](part["seed"], part["amount"])
        for name, part in parts.items()
    }
    kinds = {name: part["kind"] for name, part in parts.items()}
    records = {
        name: [r for r in rows if r["label"] in emotions] if kinds[name] == "stories" else rows
        for name, rows in records.items()
    }
    stories = _of_kind("stories", records, kinds)
    prompts = _of_kind("prompts", records, kinds)
    check_stories(stories, emotions, minimum_topics)
    classes = read_replies(replies)
    check_prompts(prompts, metrics, classes, minimum_prompts)
    _check_ids([r for rows in records.values() for r in rows])

    (out / "parts").mkdir()
    for name, rows in records.items():
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows)
        (out / "parts" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        logging.info("part %s: %d records", name, len(rows))
    (out / "parts.json").write_text(json.dumps(kinds, indent=1) + "\n")
    (out / "replies.json").write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n")


def read_records(path: Path, kind: str) -> list[Record]:
    """Records of a JSONL file, each checked for the fields of its kind.

    Raises
    ------
    EmodriftError
        Names file and line.
    """
    fields = PROMPT_FIELDS if kind == "prompts" else STORY_FIELDS
    splits = PROMPT_SPLITS if kind == "prompts" else STORY_SPLITS
    body = "prompt" if kind == "prompts" else "text"
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise EmodriftError(f"{where} is not valid JSON: {error}") from None
        missing = [f for f in fields if f not in record]
        if missing:
            raise EmodriftError(f"{where} lacks {missing[0]!r}; a record has {', '.join(fields)}")
        if not str(record[body]).strip():
            raise EmodriftError(f"{where} ({record['id']}): {body} is empty; write it or drop it")
        if record["split"] not in splits:
            raise EmodriftError(
                f"{where}: split {record['split']!r} is none of {', '.join(splits)}"
            )
        records.append(record)
    if not records:
        raise EmodriftError(f"{path} holds no records; write some or take it out of the config")
    return records


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


def load_part(contrasts: Path, name: str) -> list[Record]:
    """Records of a part of a written data set."""
    lines = (contrasts / "parts" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def load_kinds(contrasts: Path) -> dict[str, str]:
    """Part name -> kind of a written data set."""
    return json.loads((contrasts / "parts.json").read_text())


def load_prompts(contrasts: Path) -> list[Record]:
    """All behaviour prompts of a written data set."""
    kinds = load_kinds(contrasts)
    return [
        r for name, kind in kinds.items() if kind == "prompts" for r in load_part(contrasts, name)
    ]


def load_replies(contrasts: Path) -> dict[str, list[str]]:
    """Reply classes of a written data set."""
    return json.loads((contrasts / "replies.json").read_text(encoding="utf-8"))


def _of_kind(
    kind: str, records: Mapping[str, list[Record]], kinds: Mapping[str, str]
) -> list[Record]:
    return [r for name, rows in records.items() if kinds[name] == kind for r in rows]


def _check_ids(records: Iterable[Record]) -> None:
    twins = [name for name, count in Counter(r["id"] for r in records).items() if count > 1]
    if twins:
        raise EmodriftError(f"contrasts: id {twins[0]!r} comes twice; ids are unique in a study")
