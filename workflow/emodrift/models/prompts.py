"""From texts and prompts to tokens, and from tokens to batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from emodrift.errors import EmodriftError
from emodrift.models.loading import LanguageModel

TokenIds = list[int]


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


def pad_rows(encoded: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
    """Right-padded token ids and attention mask, both (row, token)."""
    width = max(map(len, encoded))
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    mask = torch.zeros(len(encoded), width, dtype=torch.long)
    for row, tokens in enumerate(encoded):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def check_lengths(model: LanguageModel, encoded: Sequence[TokenIds], what: str) -> None:
    """Refuse texts longer than the model's context."""
    limit: Any = getattr(model.network.config.get_text_config(), "max_position_embeddings", None)
    longest = max(map(len, encoded))
    if limit and longest > limit:
        raise EmodriftError(
            f"{what}: a text has {longest} tokens, the model's context holds {limit}; shorten it"
        )
