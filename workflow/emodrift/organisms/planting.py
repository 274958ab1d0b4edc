"""Geometric ground truth: tiny decoders whose weights hold known directions.

Nothing is trained. Embeddings are random; a trigger word's is a key that the first block's
feed-forward layer answers by writing the direction of the word's emotion in its place; the second
block's attention carries directions to all later tokens; the head reads reply words off known
directions. So a direction can be turned, scaled, merged or read otherwise by a known amount, and a
checkpoint that differs from another in that alone is measured like anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import silu
from transformers import LlamaConfig, LlamaForCausalLM

BLOCKS = 3
EMBEDDING = 4.0
WRITTEN = 8.0
CARRIED = 1.0
UNPLANTED = 0.1


class Planted(NamedTuple):
    """What the weights of a decoder hold.

    directions: (emotion, hidden) what trigger words write, in units of ``WRITTEN``. triggers: words
    of each emotion. readouts: reply word -> (hidden,) what the head reads it off.
    """

    directions: np.ndarray
    triggers: Sequence[Sequence[str]]
    readouts: Mapping[str, np.ndarray]


def draw_embeddings(words: int, hidden: int, rng: np.random.Generator) -> np.ndarray:
    """Random embeddings (word, hidden) of length ``EMBEDDING``."""
    return _stretch(rng.standard_normal((words, hidden)))


def mix_embeddings(embeddings: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Embeddings of a later checkpoint, a share of whose variance is new."""
    fresh = draw_embeddings(len(embeddings), embeddings.shape[1], rng)
    return _stretch(np.sqrt(1 - share) * embeddings + np.sqrt(share) * fresh)


def plant_decoder(
    planted: Planted, vocabulary: Mapping[str, int], embeddings: np.ndarray
) -> LlamaForCausalLM:
    """A Llama-shaped decoder with planted directions.

    Block 1 writes at trigger words, block 2 adds at every token the mean direction so far, block 3
    does nothing, so that all layers but the last can be steered. Attention is uniform. Other words
    than replies are read off their own embeddings.

    Parameters
    ----------
    planted
        What its weights hold.
    vocabulary
        Word -> token.
    embeddings
        (word, hidden); the part of other words' along the keys of triggers is taken out.
    """
    size, hidden = embeddings.shape
    emotions = len(planted.directions)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=emotions,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        max_position_embeddings=128,
        rms_norm_eps=1e-9,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in network.model.layers.parameters():
            if weight.ndim == 2:
                weight.zero_()
        keys = _find_keys(planted.directions)
        table = _stretch(embeddings - embeddings @ keys.T @ keys)
        for key, words in zip(keys, planted.triggers, strict=True):
            table[[vocabulary[word] for word in words]] = EMBEDDING * key
        _copy(network.model.embed_tokens.weight, table)
        first, second = network.model.layers[:2]
        _copy(first.mlp.gate_proj.weight, keys)
        _copy(first.mlp.up_proj.weight, keys)
        answer = np.sqrt(hidden) * float(silu(torch.tensor(np.sqrt(hidden))))
        written = (WRITTEN * planted.directions - EMBEDDING * keys) / answer
        _copy(first.mlp.down_proj.weight, written.T)
        carried = planted.directions.T @ np.linalg.pinv(planted.directions.T)
        _copy(second.self_attn.v_proj.weight, carried)
        _copy(second.self_attn.o_proj.weight, CARRIED * np.eye(hidden))
        head = UNPLANTED * table
        for word, readout in planted.readouts.items():
            head[vocabulary[word]] = readout
        _copy(network.lm_head.weight, head)
    return network.eval()


def rotate_decoder(network: LlamaForCausalLM, rotation: np.ndarray) -> LlamaForCausalLM:
    """The same function in another orthonormal basis of the residual stream.

    Exact, since the norms of a planted decoder weigh all coordinates alike.

    Parameters
    ----------
    network
        From :func:`plant_decoder`.
    rotation
        (hidden, hidden), orthogonal; rows of the residual stream are multiplied by it.
    """
    turned = LlamaForCausalLM(network.config)
    turned.load_state_dict(network.state_dict())
    basis = torch.from_numpy(rotation).float()
    with torch.no_grad():
        for name, weight in turned.named_parameters():
            if name.endswith(("embed_tokens.weight", "lm_head.weight")) or weight.ndim == 2:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                weight.copy_(basis.T @ weight if writes else weight @ basis)
    return turned.eval()


def _find_keys(directions: np.ndarray) -> np.ndarray:
    """Orthonormal keys (emotion, hidden), orthogonal to all directions."""
    hidden = directions.shape[1]
    rank = np.linalg.matrix_rank(directions)
    free = np.linalg.svd(directions)[2][rank:]
    if len(free) < len(directions):
        raise ValueError(f"{len(directions)} emotions of rank {rank} do not fit in {hidden} axes")
    return free[: len(directions)]


def _stretch(embeddings: np.ndarray) -> np.ndarray:
    return EMBEDDING * embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def _copy(weight: torch.nn.Parameter, values: np.ndarray) -> None:
    weight.copy_(torch.from_numpy(np.ascontiguousarray(values)))
