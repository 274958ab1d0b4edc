"""A chat template tried in a process of its own, where it can neither hang nor eat the memory.

Run as a script, with a JSON object on standard input: ``template``, ``messages``, ``arguments``.
It answers with one of ``text``, ``syntax`` (an error of the template's), ``error`` (any other) and
``limit`` (``memory`` or ``length``). It imports nothing of this package, so that it starts fast.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 5
MEMORY = 1 << 30
LENGTH = 1 << 20


class Generation(Extension):
    """The tag that marks an assistant's words; what is in it is written as it is."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Give the block's body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(template: str, messages: list[dict[str, str]], arguments: dict[str, Any]) -> str:
    """A conversation as a chat template writes it, up to where the assistant begins.

    The environment is that of ``apply_chat_template`` in transformers.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, indent=options.get("indent")
    )
    environment.globals |= {"raise_exception": _refuse, "strftime_now": _tell_time}
    return environment.from_string(template).render(
        messages=messages, add_generation_prompt=True, bos_token="", eos_token="", **arguments
    )


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _tell_time(form: str) -> str:
    return datetime(2025, 1, 1).strftime(form)


def _answer(question: dict[str, Any]) -> dict[str, str]:
    try:
        text = render(**question)
    except TemplateSyntaxError as error:
        return {"syntax": f"line {error.lineno}: {error.message}"}
    except (MemoryError, RecursionError):
        return {"limit": "memory"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"limit": "length"} if len(text) > LENGTH else {"text": text}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    json.dump(_answer(json.load(sys.stdin)), sys.stdout)
