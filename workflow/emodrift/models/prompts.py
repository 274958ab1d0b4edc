"""From texts and prompts to tokens, and from tokens to batches."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor

from emodrift.errors import EmodriftError
from emodrift.models.language_model import LanguageModel

TokenIds = list[int]

TODAY = date(2025, 1, 1)
CLOCK = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<format>.*?)(?P=quote)\s*\)""")
SAMPLE, REPLY = "Hello.", "Certainly"
THINKING = "<think>"


def encode_texts(model: LanguageModel, texts: Iterable[str]) -> list[TokenIds]:
    """Token ids of plain texts, with the tokenizer's own special tokens but no end token."""
    end = model.tokenizer.eos_token_id
    encoded = [model.tokenizer(text)["input_ids"] for text in texts]
    return [ids[:-1] if len(ids) > 1 and ids[-1] == end else ids for ids in encoded]


def encode_prompts(
    model: LanguageModel, prompts: Iterable[str], prompt_format: str, plain_prompt: str
) -> list[TokenIds]:
    """Token ids of prompts up to the reply point, the token before the reply starts.

    A chat template writes its own special tokens, so that the tokenizer adds none to them.

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
        ``chat`` is asked for and there is no template, or the template refuses the messages.
    """
    if not follows_template(model, prompt_format):
        return encode_texts(model, (plain_prompt.replace("{prompt}", p) for p in prompts))
    return [_encode_bare(model, render_prompt(model, prompt)) for prompt in prompts]


def follows_template(model: LanguageModel, prompt_format: str) -> bool:
    """Whether prompts go through the chat template.

    Raises
    ------
    EmodriftError
        They should, and there is none.
    """
    templated = bool(model.tokenizer.chat_template)
    if prompt_format == "chat" and not templated:
        raise EmodriftError(
            "activations.prompt_format is chat, but the checkpoint's tokenizer has no chat "
            "template; borrow one with activations.chat_template, or set prompt_format to plain or "
            "auto"
        )
    return templated and prompt_format != "plain"


def render_prompt(model: LanguageModel, prompt: str, reply: str | None = None) -> str:
    """A prompt as the chat template writes it, up to the reply point or with a reply.

    Raises
    ------
    EmodriftError
        The template refuses the messages or an argument.
    """
    messages = [{"role": "user", "content": prompt}]
    if model.system_prompt is not None:
        messages.insert(0, {"role": "system", "content": model.system_prompt})
    if reply is not None:
        messages.append({"role": "assistant", "content": reply})
    try:
        return model.tokenizer.apply_chat_template(
            messages,
            chat_template=stop_clock(model.tokenizer.get_chat_template()),
            tokenize=False,
            add_generation_prompt=reply is None,
            **model.template_arguments,
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise EmodriftError(
            f"the chat template refuses a prompt ({error}); set activations.system_prompt if it "
            "needs or forbids a system message, check activations.template_arguments, borrow "
            "another template with activations.chat_template, or set activations.prompt_format to "
            "plain"
        ) from None


def stop_clock(template: str) -> str:
    """A chat template that is told `TODAY` where it asks for the date, the same on any day.

    Raises
    ------
    EmodriftError
        It asks for a date in a format that it computes.
    """
    stopped = CLOCK.sub(lambda call: repr(TODAY.strftime(call["format"])), template)
    if "strftime_now(" in stopped:
        raise EmodriftError(
            "the chat template puts a date into prompts, in a format that is not written out, so "
            "that prompts would change from day to day; borrow an edited one with "
            "activations.chat_template"
        )
    return stopped


def encode_replies(
    model: LanguageModel,
    classes: Mapping[str, Sequence[str]],
    prompt_format: str,
    plain_prompt: str = "{prompt}",
) -> dict[str, list[TokenIds]]:
    """Token ids of reply phrasings as they continue a prompt.

    A phrasing is encoded together with what stands before it, for some tokenizers put a mark of
    their own before a text, and between the two stands what the chat template puts there; in the
    plain format a space, unless the prompt ends in one. Where the tokenizer joins the phrasing's
    beginning with the prompt's end, the phrasing is encoded alone, as a model that is given the
    prompt would write it.

    Parameters
    ----------
    model
        The model.
    classes
        Reply class -> phrasings.
    prompt_format, plain_prompt
        As in :func:`encode_prompts`.
    """
    if follows_template(model, prompt_format):
        before = render_prompt(model, SAMPLE)
        lead = _find_lead(model, before)
        if before.rstrip().endswith(THINKING):
            logging.warning(
                "the chat template opens a thinking block, so that replies are read inside it; "
                "if it has a switch, set it with activations.template_arguments"
            )
    else:
        before = plain_prompt.replace("{prompt}", SAMPLE)
        lead = "" if before[-1:].isspace() else " "
    base = _encode_bare(model, before)

    def encode(phrasing: str) -> TokenIds:
        whole = _encode_bare(model, before + lead + phrasing)
        if whole[: len(base)] == base:
            return whole[len(base) :]
        return _encode_bare(model, lead + phrasing)

    encoded = {name: [encode(p) for p in phrasings] for name, phrasings in classes.items()}
    for name, phrasings in encoded.items():
        if not all(phrasings):
            raise EmodriftError(f"contrasts.replies: a phrasing of {name!r} has no tokens")
    return encoded


def _find_lead(model: LanguageModel, before: str) -> str:
    """White space that the chat template puts between the reply point and a reply."""
    try:
        whole = render_prompt(model, SAMPLE, REPLY)
    except EmodriftError:
        return ""
    if not whole.startswith(before):
        return ""
    lead = whole[len(before) :].partition(REPLY)[0]
    return lead if lead.isspace() else ""


def _encode_bare(model: LanguageModel, text: str) -> TokenIds:
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


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


def list_ends(model: LanguageModel) -> set[int]:
    """Token ids that end a reply."""
    ends = model.network.generation_config.eos_token_id
    if ends is None:
        ends = model.tokenizer.eos_token_id
    return set(ends if isinstance(ends, list) else [ends]) - {None}


def find_pad(model: LanguageModel) -> int:
    """Token id that fills rows up; it is never attended to."""
    pad = model.tokenizer.pad_token_id
    return pad if pad is not None else (model.tokenizer.eos_token_id or 0)
