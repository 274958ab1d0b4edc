"""Records of contrast data: read from JSONL, checked one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emodrift.config.fields import PROMPT_FIELDS, STORY_FIELDS
from emodrift.errors import EmodriftError

Record = dict[str, Any]

STORY_SPLITS = ("fit", "heldout")
PROMPT_SPLITS = ("train_like", "heldout", "ood", "adversarial")


def read_records(path: Path, kind: str) -> list[Record]:
    """Records of a JSONL file, each checked for the fields of its kind.

    Raises
    ------
    EmodriftError
        Names file and line.
    """
    records = []
    for line, record in read_lines(path):
        where = f"{path} {line}"
        check_record(record, kind, where)
        records.append(record)
    if not records:
        raise EmodriftError(f"{path} holds no records; write some or take it out of the config")
    return records


def read_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """``line <number>`` and value of every line of a JSONL file that is not empty."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line)
        except json.JSONDecodeError as error:
            raise EmodriftError(f"{path} line {number} is not valid JSON: {error}") from None


def check_record(record: Mapping[str, Any], kind: str, where: str) -> None:
    """Refuse a record that lacks a field or whose text or split is none."""
    fields, body, splits = describe_kind(kind)
    missing = [f for f in fields if f not in record]
    if missing:
        raise EmodriftError(f"{where} lacks {missing[0]!r}; a record has {', '.join(fields)}")
    if not str(record[body]).strip():
        raise EmodriftError(f"{where} ({record['id']}): {body} is empty; write it or drop it")
    if record["split"] not in splits:
        raise EmodriftError(f"{where}: split {record['split']!r} is none of {', '.join(splits)}")


def describe_kind(kind: str) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
    """Needed fields, field of the text, and splits of a kind of contrast data."""
    if kind == "prompts":
        return PROMPT_FIELDS, "prompt", PROMPT_SPLITS
    return STORY_FIELDS, "text", STORY_SPLITS
