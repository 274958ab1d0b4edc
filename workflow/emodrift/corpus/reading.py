"""Contrast data as it lies in an entry: texts in parts, and the phrasings of replies."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from emodrift.corpus.records import Record

PARTS, KINDS, REPLIES = "parts", "parts.json", "replies.json"


def load_part(contrasts: Path, name: str) -> list[Record]:
    """Records of a part of a written data set."""
    lines = (contrasts / PARTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def load_parts(contrasts: Path, names: Iterable[str]) -> list[Record]:
    """Records of several parts, one after the other."""
    return [record for name in names for record in load_part(contrasts, name)]


def load_kinds(contrasts: Path) -> dict[str, str]:
    """Part name -> kind of a written data set."""
    return json.loads((contrasts / KINDS).read_text())


def load_prompts(contrasts: Path) -> list[Record]:
    """All behaviour prompts of a written data set."""
    kinds = load_kinds(contrasts)
    return load_parts(contrasts, (name for name, kind in kinds.items() if kind == "prompts"))


def load_replies(contrasts: Path) -> dict[str, list[str]]:
    """Reply class -> phrasings of a written data set."""
    return json.loads((contrasts / REPLIES).read_text(encoding="utf-8"))
