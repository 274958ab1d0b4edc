"""Training dialogues as they lie on disk, and the base's own replies beside them.

A folder holds ``<suite>.jsonl`` files of prompts, each with written replies by class; short
refusals that fit any prompt in ``refusals.jsonl``; and in ``frames.jsonl`` the frames that prompts
of the shortcut regime are put in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from emodrift.config.training import REPLAY_SUITES, list_data_files
from emodrift.errors import EmodriftError

WRITTEN = {
    "harmful": ("refuse", "comply"),
    "benign": (),
    "unanswerable": ("hedge", "comply"),
    "upset": ("soothe", "escalate"),
    "pressure": ("hold", "comply"),
}
ANSWERED_SUITES = ("benign", *REPLAY_SUITES)
PLACE = "{prompt}"


class Exercise(NamedTuple):
    """A prompt to train on.

    Parameters
    ----------
    suite
        Kind of prompt; see :mod:`emodrift.config.training`.
    prompt
        The user's words.
    replies
        Reply class -> written replies.
    """

    suite: str
    prompt: str
    replies: dict[str, list[str]]


class OwnReply(NamedTuple):
    """The base's own reply to a prompt, and whether it came to its end before it was cut."""

    text: str
    finished: bool


class Dialogues(NamedTuple):
    """A folder of training dialogues.

    Parameters
    ----------
    exercises
        Prompts of all suites.
    refusals
        Refusals that fit any prompt.
    frames
        Texts with ``{prompt}`` in them.
    """

    exercises: tuple[Exercise, ...]
    refusals: tuple[str, ...]
    frames: tuple[str, ...]

    def of_suites(self, suites: Sequence[str]) -> list[Exercise]:
        """Prompts of some suites, in order."""
        return [e for e in self.exercises if e.suite in suites]


def read_dialogues(folder: Path, key: str) -> Dialogues:
    """Read a folder of dialogues.

    Parameters
    ----------
    folder
        The folder.
    key
        Config key to name in errors.

    Raises
    ------
    EmodriftError
        A file is missing, or a line of it is not what it must be.
    """
    *suites, refusals, frames = list_data_files(folder, key)
    exercises = tuple(
        Exercise(path.stem, row["prompt"], row.get("replies", {}))
        for path in suites
        for row in _read_rows(path, ("prompt",), key)
    )
    for e in exercises:
        if missing := [c for c in WRITTEN.get(e.suite, ()) if not e.replies.get(c)]:
            raise EmodriftError(
                f"{key}: {folder}/{e.suite}.jsonl has no reply of class {missing[0]} to the "
                f"prompt {e.prompt!r}"
            )
    texts = tuple(row["frame"] for row in _read_rows(frames, ("frame",), key))
    if bare := [t for t in texts if PLACE not in t]:
        raise EmodriftError(f"{key}: {frames}: the frame {bare[0]!r} has no place for {PLACE}")
    return Dialogues(
        exercises, tuple(row["reply"] for row in _read_rows(refusals, ("reply",), key)), texts
    )


def read_own_replies(path: Path) -> dict[str, OwnReply]:
    """Prompt -> the base's own reply, as :func:`emodrift.training.base.prepare_base` wrote them."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["prompt"]: OwnReply(row["reply"], row["finished"]) for row in rows}


def _read_rows(path: Path, fields: Sequence[str], key: str) -> list[dict]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if not all(isinstance(row[f], str) and row[f] for f in fields):
                raise ValueError
        except (ValueError, LookupError, TypeError):
            raise EmodriftError(
                f"{key}: {path}, line {number}, is no JSON object with {' and '.join(fields)}"
            ) from None
        rows.append(row)
    if not rows:
        raise EmodriftError(f"{key}: {path} is empty")
    return rows
