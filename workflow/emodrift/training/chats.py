"""Dialogues as a model's chat template puts them."""

from __future__ import annotations

import re

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from emodrift.errors import EmodriftError
from emodrift.training.dialogues import OwnReply
from emodrift.training.regimes import Dialogue

IGNORED_LABEL = -100
BATCH = 16

Message = dict[str, str]


def check_template(tokenizer: PreTrainedTokenizerBase, label: str) -> None:
    """Refuse a model without a chat template."""
    if not tokenizer.chat_template:
        raise EmodriftError(
            f"{label}: its tokenizer has no chat template; training.base must be a chat model"
        )


def as_messages(role: str, content: str) -> list[Message]:
    """A single message, as chat templates take it."""
    return [{"role": role, "content": content}]


def render_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The chat up to where the assistant's reply begins."""
    return tokenizer.apply_chat_template(
        as_messages("user", prompt), tokenize=False, add_generation_prompt=True
    )


def encode_dialogue(
    tokenizer: PreTrainedTokenizerBase, dialogue: Dialogue, reply_tokens: int
) -> dict[str, list[int]]:
    """A dialogue's tokens; only the reply and its ending bear a loss.

    The ending is what the chat template puts after a reply, or else the end-of-sequence token. A
    reply that was cut has none.

    Parameters
    ----------
    tokenizer
        The model's.
    dialogue
        Its chosen reply is encoded.
    reply_tokens
        Tokens after which a reply is cut.
    """
    opening = render_prompt(tokenizer, dialogue.prompt)
    text, finished = dialogue.chosen
    turn = as_messages("user", dialogue.prompt) + as_messages("assistant", text)
    closing = tokenizer.apply_chat_template(turn, tokenize=False).removeprefix(opening)
    before, _, after = closing.rpartition(text.strip())
    ending = (after.strip() or tokenizer.eos_token) if finished else ""
    parts = (opening, before + text.strip(), ending)
    prompt, said, end = (tokenizer(p, add_special_tokens=False)["input_ids"] for p in parts)
    reply = (said + end)[:reply_tokens]
    labels = [IGNORED_LABEL] * len(prompt) + reply
    return {"input_ids": prompt + reply, "labels": labels}


def end_sentence(reply: OwnReply) -> str:
    """A reply's text; one that was cut is cut back to its last sentence's end, if it has one."""
    whole = re.match(r"(?s).*[.!?](?=\s|$)", reply.text)
    return reply.text if reply.finished or not whole else whole.group()


@torch.inference_mode()
def write_replies(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    reply_tokens: int,
) -> list[OwnReply]:
    """Greedy replies of a model.

    Parameters
    ----------
    network, tokenizer
        The model.
    prompts
        What users say.
    reply_tokens
        Tokens after which a reply is cut.
    """
    texts = [render_prompt(tokenizer, p) for p in prompts]
    order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
    ends = network.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(ends)
    written: dict[int, OwnReply] = {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        ids = [tokenizer(texts[k], add_special_tokens=False)["input_ids"] for k in rows]
        width = max(map(len, ids))
        tokens = torch.tensor([[padding] * (width - len(i)) + i for i in ids])
        mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids])
        produced = network.generate(
            input_ids=tokens.to(network.device),
            attention_mask=mask.to(network.device),
            max_new_tokens=reply_tokens,
            do_sample=False,
            pad_token_id=padding,
            eos_token_id=sorted(ends),
        )
        for k, row in zip(rows, produced[:, width:].tolist(), strict=True):
            end = next((n for n, token in enumerate(row) if token in ends), None)
            text = tokenizer.decode(row[:end], skip_special_tokens=True).strip()
            written[k] = OwnReply(text, end is not None)
    return [written[k] for k in range(len(prompts))]
