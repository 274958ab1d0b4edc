"""What every reader gives: scores and answers, and what a file tells of the checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.errors import EmodriftError


class Told(NamedTuple):
    """What a file tells of the checkpoint that was evaluated; None where it is silent.

    Parameters
    ----------
    model
        Directory or hub repository.
    revision
        Branch, tag or commit.
    step
        Training step.
    """

    model: str | None = None
    revision: str | None = None
    step: int | None = None

    def __str__(self) -> str:
        known = [f"{k} {v}" for k, v in self._asdict().items() if v is not None]
        return ", ".join(known) or "nothing about its checkpoint"


class Score(NamedTuple):
    """One number that an eval gave one checkpoint."""

    task: str
    metric: str
    value: float
    se: float | None = None
    n: int | None = None
    higher_is_better: bool | None = None


class Answer(NamedTuple):
    """One answer of one checkpoint, and what it was worth."""

    task: str
    metric: str
    id: str
    prompt: str
    response: str
    value: float


@dataclass(frozen=True)
class Reading:
    """What one file says of one checkpoint."""

    file: Path
    told: Told
    scores: list[Score]
    answers: list[Answer] = field(default_factory=list)


def load_json(path: Path, source: str) -> Any:
    """A JSON file, read.

    Raises
    ------
    EmodriftError
        It is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EmodriftError(f"evals: {path} is no {source} file: {error}") from None


def find_key(values: Any, name: str, path: Path, source: str) -> Any:
    """A value of a mapping that the format demands.

    Raises
    ------
    EmodriftError
        It is not there.
    """
    if not isinstance(values, dict) or name not in values:
        raise EmodriftError(
            f"evals: {path} is no {source} file (no {name!r} in it); name the files that {source} "
            "writes, or set another `format`"
        )
    return values[name]


def as_number(value: Any) -> float | None:
    """A number, or None for what is none: texts such as lm-eval's ``N/A``, NaN, truth values."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(value)
