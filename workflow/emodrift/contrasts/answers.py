"""Answers of a writing model: each is kept as it comes, so that nothing is asked twice."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.contrasts.endpoint import Answer, ChatServer, complete_chat
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value


class Question(NamedTuple):
    """A prompt and the round it is asked in: a later round of the same prompt is a new question."""

    prompt: str
    round: int


Asker = Callable[[Sequence[Question]], Iterator[tuple[int, Answer]]]
"""Asks questions and gives (index, answer) pairs as they come, in any order."""


def keep_answers(ask: Asker, folder: Path, identity: Any) -> Asker:
    """Ask only what was never asked, and keep each answer as it comes.

    A job that is killed goes on where it stopped, and a job whose code changed asks nothing anew.

    Parameters
    ----------
    ask
        Asks the model.
    folder
        Where answers are kept, one file each, in a folder of their model's own.
    identity
        Everything beside the question that an answer depends on, JSON-able: the model and how it is
        sampled.

    Returns
    -------
    callable
        Same shape as `ask`.
    """
    place = folder / digest_value(identity)[:20]

    def ask_missing(questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        files = [place / f"{digest_value(list(question))}.json" for question in questions]
        missing = []
        for k, file in enumerate(files):
            known = _read_answer(file)
            if known is None:
                missing.append(k)
            else:
                yield k, known
        if missing:
            for k, answer in ask([questions[m] for m in missing]):
                _write_answer(files[missing[k]], answer)
                yield missing[k], answer

    return ask_missing


def ask_endpoint(server: Callable[[], ChatServer], request: dict[str, Any], parallel: int) -> Asker:
    """Asker of a model behind an address.

    Parameters
    ----------
    server
        Gives the server when the first question is asked, so that no API key is needed before.
    request
        Fields of the request beside the messages; those that are None are left out.
    parallel
        Requests at a time.
    """
    fields = {k: v for k, v in request.items() if v is not None}

    def ask(questions: Sequence[Question]) -> Iterator[tuple[int, Answer]]:
        place = server()
        pool = ThreadPoolExecutor(parallel)
        try:
            waiting = {
                pool.submit(complete_chat, place, fields | {"messages": _as_messages(q)}): k
                for k, q in enumerate(questions)
            }
            failure: EmodriftError | None = None
            for future in as_completed(waiting):
                if future.cancelled():
                    continue
                try:
                    answer = future.result()
                except EmodriftError as error:
                    failure = failure or error
                    for other in waiting:
                        other.cancel()
                    continue
                yield waiting[future], answer
            if failure:
                raise failure
        finally:
            pool.shutdown(cancel_futures=True)

    return ask


def read_key(variable: str | None, setting: str) -> str:
    """API key from the environment variable that a setting names; "" if it names none."""
    if variable is None:
        return ""
    if not os.environ.get(variable):
        raise EmodriftError(
            f"environment variable {variable} ({setting}) is not set; export the endpoint's API "
            "key under this name, or drop key_variable"
        )
    return os.environ[variable]


def _as_messages(question: Question) -> list[dict[str, str]]:
    return [{"role": "user", "content": question.prompt}]


def _read_answer(file: Path) -> Answer | None:
    try:
        return Answer(**json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write_answer(file: Path, answer: Answer) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=file.parent, suffix=".tmp", delete=False, encoding="utf-8"
    ) as scratch:
        scratch.write(json.dumps(answer._asdict(), ensure_ascii=False))
    Path(scratch.name).replace(file)
