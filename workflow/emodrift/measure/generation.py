"""Steered generation: many vectors in one batch, with a KV cache.

What no vector has touched is read once for each prompt and repeated over the vectors: all blocks
where vectors are added from the reply point on, else the blocks up to the steered layer, if they
keep keys and values alone. Prompts of models that keep more, such as a state, share a batch with
prompts of their length, since padding would reach it. From there on each row carries its own
vector, at every token it generates. The replies are those of adding a vector for one prompt at a
time without a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers.cache_utils import Cache

from emodrift.errors import EmodriftError
from emodrift.models.blocks import find_tolerance, is_close, make_probe
from emodrift.models.cache import extend_cache, holds_keys_alone, name_cache, reserve_cache
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget, resume_within_memory, run_within_memory
from emodrift.models.prompts import TokenIds, check_lengths, find_pad, list_ends
from emodrift.models.residual import (
    record_residual,
    resume_residual,
    steer_residual,
    stop_residual,
)
from emodrift.store.digest import digest_value
from emodrift.store.partial import KeptRows

WORTH_DROPPING = 0.75
"""Rows that have ended leave the batch when no more than this share of its rows goes on."""


class Sampling(NamedTuple):
    """How tokens are chosen: temperature 0 takes the likeliest."""

    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0


class Steering(NamedTuple):
    """What is added, where.

    additions: (condition, hidden) vectors, in units of the residual stream; zero leaves the model
    as it is. layer: they are added to. positions: ``reply``, from the reply point on; ``all``, at
    every token.
    """

    additions: Tensor
    layer: int
    positions: str


class Reply(NamedTuple):
    """Generated token ids up to the end token, and whether there was one."""

    tokens: TokenIds
    ended: bool


class Prefill(NamedTuple):
    """Left-padded prompts, read but for their last token as far as no vector is added.

    ids, mask, positions: (prompt, token); cache: keys and values of the blocks that were read;
    hidden: (prompt, token, hidden) residual stream above them; draws: (prompt, new token) in
    [0, 1).
    """

    ids: Tensor
    mask: Tensor
    positions: Tensor
    cache: Cache
    hidden: Tensor
    draws: Tensor


def generate_replies(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    steering: Steering,
    sampling: Sampling,
    budget: TokenBudget,
    names: Sequence[str],
    partial: Path | None = None,
) -> list[list[Reply]]:
    """Generate a reply to every prompt with each vector added.

    Parameters
    ----------
    model
        The checkpoint.
    encoded
        Prompts' token ids up to the reply point.
    steering
        What is added, where.
    sampling
        How tokens are chosen. A prompt's draws depend on the seed and its tokens alone: they are
        the same under all conditions and however prompts are batched.
    budget
        Tokens per batch, new ones included.
    names
        (prompt,) what a person calls each prompt, for errors.
    partial
        Where finished rows are kept for a job that is interrupted.

    Returns
    -------
    list of list of Reply
        (prompt, condition).

    Raises
    ------
    EmodriftError
        The model's context is too short, it reads otherwise with a cache than without, or a prompt
        does not fit in memory.
    """
    verify_cache(model)
    additions, layer, positions = steering
    new = sampling.max_new_tokens
    longest = max(range(len(encoded)), key=lambda row: len(encoded[row]))
    what = f"{names[longest]}, with the {new} tokens of generation.max_new_tokens"
    check_lengths(model, [[*encoded[longest], *[0] * new]], what)
    has_states = not holds_keys_alone(reserve_cache(model, 0))
    untouched = layer if model.resumes and not has_states else 0
    if positions == "reply":
        untouched = len(model.blocks)
    shortest = min(range(len(encoded)), key=lambda row: len(encoded[row]))
    if has_states and len(encoded[shortest]) == 1:
        kind = type(model.network).__name__
        raise EmodriftError(
            f"{names[shortest]} has one token, and {kind} writes replies to two and more"
        )
    tokens = np.zeros((len(encoded), len(additions), new), np.int32)
    sizes = np.zeros(tokens.shape[:2], np.int32)

    @torch.inference_mode()
    def reply(rows: list[int]) -> dict[str, np.ndarray]:
        prefill = _read_prompts(model, [encoded[row] for row in rows], untouched, sampling)
        found = {"tokens": tokens[rows], "sizes": sizes[rows]}

        def add(some: list[int]) -> tuple[np.ndarray, np.ndarray]:
            vectors = additions[some].to(model.device)
            return _continue_prompts(model, prefill, vectors, layer, untouched, sampling)

        each = [prefill.ids.numel() + len(rows) * new] * len(additions)
        for some, written in run_within_memory(each, budget, add, lambda _: names[rows[0]]):
            found["tokens"][:, some], found["sizes"][:, some] = written
        return found

    widths = [len(ids) + new for ids in encoded]
    with tqdm(total=len(encoded), desc="replies", unit="prompt", mininterval=5) as progress:
        lengths = [len(ids) if has_states else 0 for ids in encoded]
        for length in sorted(set(lengths)):
            group = [row for row, own in enumerate(lengths) if own == length]
            recipe = ["replies", length, len(encoded), str(model.network.dtype)]
            with KeptRows(partial, recipe) if partial else nullcontext() as kept:
                for rows, found in resume_within_memory(
                    widths, budget, reply, names.__getitem__, kept, group
                ):
                    tokens[rows], sizes[rows] = found["tokens"], found["sizes"]
                    progress.update(len(rows))
    return [
        [Reply(row[:size].tolist(), size < new) for row, size in zip(*of_prompt, strict=True)]
        for of_prompt in zip(tokens, sizes.tolist(), strict=True)
    ]


@torch.inference_mode()
def verify_cache(model: LanguageModel) -> None:
    """Prove on a probe that reading with a cache gives what reading without one gives.

    Two tokens are read one by one: some faults show only at the second.

    Raises
    ------
    EmodriftError
        It does not.
    """
    probe = make_probe(model.network, 0.4)
    ids, mask = probe["input_ids"], probe["attention_mask"]
    expected = model.network(**probe, use_cache=False).logits[:, -2:]
    places = mask.cumsum(1) - 1
    end = ids.shape[1]
    cache = reserve_cache(model, end)
    try:
        _read(model, ids[:, :-2], mask[:, :-2], places[:, :-2], cache)
        found = [
            _read(model, ids[:, k : k + 1], mask[:, : k + 1], places[:, k : k + 1], cache, True)
            for k in (end - 2, end - 1)
        ]
        same = is_close(torch.stack(found, 1), expected, find_tolerance(model.network))
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
        same = False
    if not same:
        raise EmodriftError(
            f"{type(model.network).__name__} reads otherwise with a cache than without, so that it "
            "cannot write replies; drop the `generation` section"
        )


def choose_tokens(logits: Tensor, temperature: float, draws: Tensor) -> Tensor:
    """Next tokens: the likeliest, or where a uniform draw falls in the cumulative distribution.

    Parameters
    ----------
    logits
        (row, vocabulary).
    temperature
        Divides the logits; 0 takes the likeliest.
    draws
        (row,) in [0, 1), unused at temperature 0.

    Returns
    -------
    Tensor
        (row,) token ids.
    """
    if temperature == 0:
        return logits.argmax(-1)
    share = (logits.double() / temperature).softmax(-1).cumsum(-1)
    whole = share[:, -1:]
    place = torch.minimum(draws[:, None] * whole, whole.nextafter(torch.zeros_like(whole)))
    return torch.searchsorted(share, place, right=True)[:, 0]


def _read_prompts(
    model: LanguageModel, encoded: Sequence[TokenIds], untouched: int, sampling: Sampling
) -> Prefill:
    """Read all but the last token of prompts in the blocks up to a layer."""
    width = max(2, *map(len, encoded))
    ids = torch.full((len(encoded), width), find_pad(model))
    mask = torch.zeros(len(encoded), width, dtype=torch.long)
    for i, prompt in enumerate(encoded):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    positions = (mask.cumsum(1) - 1).clamp_min(0)
    draws = torch.from_numpy(np.stack([_draw(sampling, prompt) for prompt in encoded]))
    ids, mask, positions, draws = (t.to(model.device) for t in (ids, mask, positions, draws))
    cache = reserve_cache(model, width - 1)
    with record_residual(model) as residual, stop_residual(model, untouched):
        _read(model, ids[:, :-1], mask[:, :-1], positions[:, :-1], cache)
    return Prefill(ids, mask, positions, cache, residual[untouched], draws)


def _draw(sampling: Sampling, prompt: TokenIds) -> np.ndarray:
    seed = int(digest_value([sampling.seed, prompt])[:16], 16)
    return np.random.default_rng(seed).random(sampling.max_new_tokens)


def _continue_prompts(
    model: LanguageModel,
    prefill: Prefill,
    additions: Tensor,
    layer: int,
    untouched: int,
    sampling: Sampling,
) -> tuple[np.ndarray, np.ndarray]:
    """Reply tokens (prompt, condition, token) and their number (prompt, condition)."""
    prompts, copies, new = len(prefill.ids), len(additions), sampling.max_new_tokens
    additions = additions.repeat(prompts, 1)
    mask, draws = (t.repeat_interleave(copies, 0) for t in (prefill.mask, prefill.draws))
    lengths = mask.sum(1)
    token = prefill.ids[:, -1].repeat_interleave(copies, 0)
    cache = _branch(model, prefill, additions, layer, untouched, new)

    rows = torch.arange(len(additions), device=model.device)
    ends = torch.tensor(sorted(list_ends(model)), dtype=torch.long, device=model.device)
    written = torch.zeros(len(rows), new, dtype=torch.long, device=model.device)
    sizes = torch.full_like(rows, new)
    for step in range(new):
        with steer_residual(model, layer, additions[:, None]):
            places = (lengths[rows] + step - 1)[:, None]
            logits = _read(model, token[:, None], mask, places, cache, predict=True)
        token = choose_tokens(logits, sampling.temperature, draws[rows, step])
        written[rows, step] = token
        over = rows[torch.isin(token, ends)]
        sizes[over] = sizes[over].clamp_max(step)
        going = sizes[rows] > step
        if not going.any():
            break
        if going.sum() <= WORTH_DROPPING * len(rows):
            rows, token, mask, additions = (t[going] for t in (rows, token, mask, additions))
            cache.reorder_cache(going.nonzero()[:, 0])
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
    return (
        written.unflatten(0, (prompts, copies)).cpu().numpy(),
        sizes.unflatten(0, (prompts, copies)).cpu().numpy(),
    )


def _branch(
    model: LanguageModel,
    prefill: Prefill,
    additions: Tensor,
    layer: int,
    untouched: int,
    new_tokens: int,
) -> Cache:
    """Cache of every prompt with every addition, all but the prompt's last token read."""
    copies = len(additions) // len(prefill.ids)
    cache = reserve_cache(model, prefill.ids.shape[1] + new_tokens)
    if untouched < len(model.blocks):
        ids, mask, places = (
            p[:, :-1].repeat_interleave(copies, 0)
            for p in (prefill.ids, prefill.mask, prefill.positions)
        )
        addition = additions[:, None] * mask[..., None]
        if untouched:
            hidden = prefill.hidden.repeat_interleave(copies, 0)
            steering = resume_residual(model, layer, hidden + addition.to(hidden))
        else:
            steering = steer_residual(model, layer, addition)
        with steering:
            _read(model, ids, mask, places, cache)
    rows = torch.arange(len(prefill.ids), device=model.device).repeat_interleave(copies)
    extend_cache(cache, prefill.cache, untouched, rows)
    return cache


def _read(
    model: LanguageModel,
    ids: Tensor,
    mask: Tensor,
    positions: Tensor,
    cache: Cache,
    predict: bool = False,
) -> Tensor | None:
    """Read tokens into the cache; with `predict`, logits (row, vocabulary) of the next one."""
    network: Any = type(model.network)
    reading = {
        "input_ids": ids,
        "attention_mask": mask if holds_keys_alone(cache) else None,
        "position_ids": positions,
        name_cache(network): cache,
        "use_cache": True,
    }
    if predict:
        return model.network(**reading, logits_to_keep=1).logits[:, -1]
    model.network.base_model(**reading)
    return None
