"""From texts and prompts to tokens, and from tokens to batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from emodrift.errors import EmodriftError
from emodrift.models.loading import LanguageModel

TokenIds = list[int]


class Batch(NamedTuple):
    """Right-padded rows: which prompts, their token ids and attention mask (row, token)."""

    rows: list[int]
    ids: Tensor
    mask: Tensor


def encode_texts(model: LanguageModel, texts: Iterable[str]) -> list[TokenIds]:
    """Token ids of plain texts, with the tokenizer's own special tokens."""
    return [model.tokenizer(text)["input_ids"] for text in texts]


def encode_prompts(
    model: LanguageModel, prompts: Iterable[str], prompt_format: str, plain_prompt: str
) -> list[TokenIds]:
    """Token ids of prompts up to the reply point, the token before the reply starts.

    Parameters
    ----------
    model
        The model.
    prompts
        The user's words.
    prompt_format
        ``chat``, ``plain``, or ``auto``: chat where the tokenizer has a template.
    plain_prompt
        Format of plain prompts, with ``{prompt}``.

    Raises
    ------
    EmodriftError
        ``chat`` is asked for and the tokenizer has no template.
    """
    templated = bool(model.tokenizer.chat_template)
    if prompt_format == "chat" and not templated:
        raise EmodriftError(
            "activations.prompt_format is chat, but the checkpoint's tokenizer has no chat "
            "template; set it to plain or auto"
        )
    if prompt_format == "plain" or not templated:
        return encode_texts(model, (plain_prompt.replace("{prompt}", p) for p in prompts))
    return [
        model.tokenizer(
            model.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
            ),
            add_special_tokens=False,
        )["input_ids"]
        for prompt in prompts
    ]


def encode_replies(
    model: LanguageModel, classes: dict[str, list[str]], prompt_format: str
) -> dict[str, list[TokenIds]]:
    """Token ids of reply phrasings as they continue a prompt.

    In the plain format, which ends in a word, a phrasing starts with a space.
    """
    templated = bool(model.tokenizer.chat_template) and prompt_format != "plain"
    lead = "" if templated else " "
    encoded = {
        name: [
            model.tokenizer(lead + phrasing, add_special_tokens=False)["input_ids"]
            for phrasing in phrasings
        ]
        for name, phrasings in classes.items()
    }
    for name, phrasings in encoded.items():
        if not all(phrasings):
            raise EmodriftError(f"contrasts.replies: a phrasing of {name!r} has no tokens")
    return encoded


def make_batches(
    model: LanguageModel, encoded: Sequence[TokenIds], batch_tokens: int
) -> Iterator[Batch]:
    """Right-padded batches of length-sorted rows within a token budget."""
    order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
    while order:
        width = len(encoded[order[0]])
        size = max(1, batch_tokens // width)
        rows, order = order[:size], order[size:]
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(encoded[row])] = torch.tensor(encoded[row])
            mask[i, : len(encoded[row])] = 1
        yield Batch(rows, ids.to(model.device), mask.to(model.device))


def check_lengths(model: LanguageModel, encoded: Sequence[TokenIds], what: str) -> None:
    """Refuse texts longer than the model's context."""
    limit: Any = getattr(model.network.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, encoded))
    if limit and longest > limit:
        raise EmodriftError(
            f"{what}: a text has {longest} tokens, the model's context holds {limit}; shorten it"
        )
