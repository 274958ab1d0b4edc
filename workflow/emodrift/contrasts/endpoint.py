"""A chat model behind an OpenAI-compatible address.

No key, question or answer is written anywhere: errors name the host and the status only. Redirects
are not followed, so that the key goes to the configured host alone.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from emodrift.config.address import find_address_problem
from emodrift.errors import EmodriftError

PASSING = (408, 429, 500, 502, 503, 504)
LONGEST_PAUSE = 60.0


class Answer(NamedTuple):
    """What a chat model wrote, and whether it came to an end by itself."""

    text: str
    complete: bool


@dataclass(frozen=True)
class ChatServer:
    """Where a chat model is and how patiently it is asked.

    Parameters
    ----------
    url
        Base address, up to and including the version, such as ``http://localhost:8000/v1``.
    key
        Bearer token; "" for none. Never shown.
    timeout
        Seconds to wait for a connection and for each answer.
    retries
        Further tries after a refused connection, a timeout, 408, 429, a 5xx status, or an answer
        that is no chat completion.
    backoff
        Seconds before the second try; doubled before each further one, up to a minute.
    name
        What errors call it, such as ``judge endpoint``.
    settings
        Where its settings are made, for errors.
    """

    url: str
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    retries: int = 5
    backoff: float = 1.0
    name: str = "endpoint"
    settings: str = "its settings"

    def __post_init__(self) -> None:
        problem = find_address_problem(self.url)
        if problem:
            raise EmodriftError(f"{self.name}: {problem}; correct {self.settings}")


def complete_chat(server: ChatServer, question: dict[str, Any]) -> Answer:
    """Ask a chat model.

    Parameters
    ----------
    server
        Where to ask.
    question
        Body of the request: model, messages and sampling.

    Raises
    ------
    EmodriftError
        The server stays unreachable, answers with an error, or gives no chat completion.
    """
    host = f"{server.name} {urlsplit(server.url).hostname}"
    with _open_session(server) as session:
        for attempt in range(server.retries + 1):
            if attempt:
                time.sleep(min(server.backoff * 2 ** (attempt - 1), LONGEST_PAUSE))
            answer = _read_answer(_post(session, server, question, host))
            if answer is not None:
                return answer
    raise EmodriftError(
        f"{host}: the answer is no chat completion; check {server.settings} and that the server "
        "speaks OpenAI's chat completions"
    )


def _post(
    session: requests.Session, server: ChatServer, question: dict[str, Any], host: str
) -> requests.Response:
    try:
        response = session.post(
            f"{server.url.rstrip('/')}/chat/completions",
            json=question,
            timeout=server.timeout,
            allow_redirects=False,
            auth=functools.partial(_authorise, key=server.key),
        )
    except requests.RequestException as error:
        raise EmodriftError(
            f"{host}: no answer after {server.retries + 1} tries ({type(error).__name__}); "
            f"check {server.settings} and that the server runs"
        ) from None
    if response.status_code != requests.codes.ok:
        raise EmodriftError(f"{host}: status {response.status_code}; check {server.settings}")
    return response


def _read_answer(response: requests.Response) -> Answer | None:
    try:
        choice = response.json()["choices"][0]
        text = choice["message"]["content"] or ""
        complete = choice.get("finish_reason") != "length"
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return Answer(text, complete) if isinstance(text, str) else None


def _open_session(server: ChatServer) -> requests.Session:
    retry = Retry(
        total=server.retries,
        backoff_factor=server.backoff,
        backoff_max=LONGEST_PAUSE,
        respect_retry_after_header=False,
        status_forcelist=PASSING,
        allowed_methods=("POST",),
        raise_on_status=False,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _authorise(request: requests.PreparedRequest, key: str) -> requests.PreparedRequest:
    if key:
        request.headers["Authorization"] = f"Bearer {key}"
    return request
