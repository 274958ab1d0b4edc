"""What the peers' files share: batches of padded rows, and steering one condition at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast


class Loaded(NamedTuple):
    """A checkpoint as a peer uses it; ``subject`` is the peer's own object."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    subject: Any = None


def load_network(folder: str, device: str, dtype: str) -> Loaded:
    """A checkpoint as plain transformers load it."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    return Loaded(network.to(device).eval().requires_grad_(False), tokenizer)


def split_batches(count: int, batch: int) -> Iterator[slice]:
    """Rows of each batch, in order."""
    return (slice(first, first + batch) for first in range(0, count, batch))


def encode_batch(loaded: Loaded, texts: Sequence[str], side: str = "right") -> dict[str, Tensor]:
    """Padded token ids and attention mask (row, token)."""
    encoded = loaded.tokenizer(
        list(texts), padding=True, padding_side=side, return_tensors="pt"
    ).to(loaded.network.device)
    return {name: encoded[name] for name in ("input_ids", "attention_mask")}


def pool_mean(states: Sequence[Tensor], mask: Tensor) -> np.ndarray:
    """Mean over the real tokens of each layer, (row, layer, hidden)."""
    weights = (mask / mask.sum(1, keepdim=True))[:, None]
    pooled = [torch.bmm(weights.to(state.device).float(), state.float())[:, 0] for state in states]
    return torch.stack(pooled, 1).cpu().numpy()


def list_layers(network: nn.Module) -> nn.ModuleList:
    """The decoder blocks."""
    return network.model.layers


@torch.inference_mode()
def generate_replies(
    peer: ModuleType,
    loaded: Loaded,
    prompts: Sequence[str],
    vectors: Tensor,
    layer: int,
    new_tokens: int,
    batch: int,
) -> np.ndarray:
    """Greedy replies (condition, prompt, token), one condition at a time; -1 behind the end."""
    replies = np.full((len(vectors), len(prompts), new_tokens), -1)
    for number, vector in enumerate(vectors):
        for rows in split_batches(len(prompts), batch):
            inputs = encode_batch(loaded, prompts[rows], "left")
            with peer.steer(loaded, layer, vector) as network:
                found = network.generate(
                    **inputs, max_new_tokens=new_tokens, do_sample=False, use_cache=True
                )
            written = found[:, inputs["input_ids"].shape[1] :].cpu().numpy()
            for row, tokens in zip(range(len(prompts))[rows], written, strict=True):
                ends = np.flatnonzero(tokens == loaded.tokenizer.eos_token_id)
                tokens = tokens[: ends[0]] if len(ends) else tokens
                replies[number, row, : len(tokens)] = tokens
    return replies


@torch.inference_mode()
def score_replies(
    peer: ModuleType,
    loaded: Loaded,
    prompts: Sequence[str],
    replies: dict[str, list[str]],
    vectors: Tensor,
    layer: int,
    batch: int,
) -> np.ndarray:
    """Class scores (condition, prompt, reply_class), one condition at a time.

    Every prompt is followed by every phrasing in a row of its own; logits are computed for the
    phrasings alone.
    """
    phrasings = [
        loaded.tokenizer(" " + text)["input_ids"] for texts in replies.values() for text in texts
    ]
    owner = np.repeat(np.arange(len(replies)), [len(texts) for texts in replies.values()])
    rows = [
        (loaded.tokenizer(prompt)["input_ids"], phrasing)
        for prompt in prompts
        for phrasing in phrasings
    ]
    order = sorted(range(len(rows)), key=lambda i: -len(rows[i][0]) - len(rows[i][1]))
    found = np.empty((len(vectors), len(rows)), np.float32)
    for number, vector in enumerate(vectors):
        for part in split_batches(len(rows), batch):
            chosen = order[part]
            with peer.steer(loaded, layer, vector) as network:
                found[number, chosen] = _score_rows(network, loaded, [rows[i] for i in chosen])
    found = found.reshape(len(vectors), len(prompts), len(phrasings))
    return np.stack(
        [np.log(np.exp(found[..., owner == c]).mean(-1)) for c in range(len(replies))], -1
    )


def _score_rows(
    network: Any, loaded: Loaded, rows: Sequence[tuple[list[int], list[int]]]
) -> np.ndarray:
    width = max(len(prompt) + len(phrasing) for prompt, phrasing in rows)
    longest = max(len(phrasing) for _, phrasing in rows)
    ids = torch.full((len(rows), width), loaded.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    counted = torch.zeros(len(rows), longest)
    for i, (prompt, phrasing) in enumerate(rows):
        tokens = torch.tensor(prompt + phrasing)
        ids[i, width - len(tokens) :] = tokens
        mask[i, width - len(tokens) :] = 1
        counted[i, longest - len(phrasing) :] = 1 / len(phrasing)
    device = loaded.network.device
    logits = network(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        position_ids=(mask.cumsum(1) - 1).clamp_min(0).to(device),
        use_cache=False,
        logits_to_keep=longest + 1,
    ).logits[:, :-1]
    targets = ids[:, -longest:, None].to(device)
    logp = logits.float().log_softmax(-1).gather(-1, targets)[..., 0]
    return (logp * counted.to(device)).sum(1).cpu().numpy()
