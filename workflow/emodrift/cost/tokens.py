"""Counting tokens of texts, prompts and phrasings with a checkpoint's own tokenizer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from emodrift.checkpoints.files import read_object
from emodrift.checkpoints.gguf import is_gguf, read_header
from emodrift.checkpoints.rendering import render
from emodrift.checkpoints.templates import find_template
from emodrift.cost.shapes import KEY, locate

TOKENS_PER_WORD = 1.2
"""Tokens of a word of English prose, where there is no `tokenizer.json` to count with."""
PIECES = re.compile(r"\w+|[^\w\s]+")
"""What counts as a token of a chat template's marks and of a reply there."""
PLACE = "Words by which a prompt is known"


@dataclass(frozen=True)
class Counter:
    """Counts tokens as a checkpoint reads them.

    Parameters
    ----------
    tokenizer
        Its tokenizer; None: words are counted, `TOKENS_PER_WORD` each.
    end
        Id of its end token, which is taken off texts.
    frame
        A prompt as the chat template writes it, with `PLACE` for its words; None: prompts are put
        plainly.
    marks
        Tokens of a prompt beside those in the frame.
    identity
        What tells this counter from others.
    """

    tokenizer: Tokenizer | None
    end: int | None
    frame: str | None
    marks: int
    identity: str

    def count_text(self, text: str) -> int:
        """Tokens of a text with the tokenizer's own special tokens but no end token."""
        if self.tokenizer is None:
            return count_words(text)
        ids = self.tokenizer.encode(text).ids
        return len(ids) - (len(ids) > 1 and ids[-1] == self.end)

    def count_prompt(self, prompt: str, plain_prompt: str, prompt_format: str) -> int:
        """Tokens of a prompt up to the reply point."""
        if self.frame is None or prompt_format == "plain":
            return self.count_text(plain_prompt.replace("{prompt}", prompt))
        if self.tokenizer is None:
            return count_words(prompt) + len(PIECES.findall(self.frame.replace(PLACE, "")))
        written = self.frame.replace(PLACE, prompt.strip())
        return len(self.tokenizer.encode(written, add_special_tokens=False).ids) + self.marks

    def split_reply(self, phrasing: str) -> tuple[int | str, ...]:
        """Tokens of a reply phrasing behind a prompt."""
        if self.tokenizer is None:
            return tuple(PIECES.findall(phrasing))
        lead = "" if self.frame is not None else " "
        return tuple(self.tokenizer.encode(lead + phrasing, add_special_tokens=False).ids)


def count_words(text: str) -> int:
    """Tokens of a text, judged by its words."""
    return max(1, round(TOKENS_PER_WORD * len(text.split())))


def open_counter(location: Mapping[str, Any], chat: Mapping[str, Any]) -> Counter:
    """Counter of a checkpoint.

    Parameters
    ----------
    location
        As in :class:`emodrift.checkpoints.checkpoint.Checkpoint`. An adapter's own tokenizer and
        template go before those of its base.
    chat
        ``template`` (None: the checkpoint's own), ``system_prompt``, ``template_arguments``.
    """
    places = [locate(location), locate(location["base"]) if "base" in location else None]
    there = [place for place in places if place is not None]
    own = (_find_template(place) for place in there)
    template = chat.get("template") or next(filter(None, own), None)
    frame = _frame(template, chat) if template else None
    found = next((place for place in there if (place / "tokenizer.json").is_file()), None)
    if found is None:
        return Counter(None, None, frame, 0, f"words in {frame}")
    content = (found / "tokenizer.json").read_bytes()
    tokenizer = _parse(content)
    settings = read_object(found / "tokenizer_config.json", KEY)
    named = settings.get("eos_token")
    named = named.get("content") if isinstance(named, dict) else named
    identity = hashlib.sha256(content + repr((frame, named)).encode()).hexdigest()
    end = tokenizer.token_to_id(named) if isinstance(named, str) else None
    return Counter(tokenizer, end, frame, int("bos_token" in (template or "")), identity)


def _find_template(place: Path) -> str | None:
    if is_gguf(place):
        return read_header(place).values.get("tokenizer.chat_template")
    return find_template(place, KEY)


@cache
def _parse(content: bytes) -> Tokenizer:
    return Tokenizer.from_str(content.decode("utf-8"))


def _frame(template: str, chat: Mapping[str, Any]) -> str | None:
    messages = [{"role": "user", "content": PLACE}]
    if chat.get("system_prompt") is not None:
        messages.insert(0, {"role": "system", "content": chat["system_prompt"]})
    try:
        written = render(template, messages, dict(chat.get("template_arguments", {})))
    except Exception:  # whatever somebody else's template raises: it is told when the model loads
        return PLACE
    return written if PLACE in written else PLACE
