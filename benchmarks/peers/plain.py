"""Plain transformers: ``output_hidden_states``, and a forward hook that adds a vector."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.rows import (
    Loaded,
    encode_batch,
    list_layers,
    load_network,
    pool_mean,
    split_batches,
)

PACKAGES = ("transformers", "torch")
load = load_network


@torch.inference_mode()
def extract(loaded: Loaded, texts: Sequence[str], batch: int) -> np.ndarray:
    """Mean of every layer (text, layer, hidden), by the network without its LM head."""
    pooled = []
    for rows in split_batches(len(texts), batch):
        inputs = encode_batch(loaded, texts[rows])
        states = loaded.network.model(
            **inputs, output_hidden_states=True, use_cache=False
        ).hidden_states
        pooled.append(pool_mean(states, inputs["attention_mask"]))
    return np.concatenate(pooled)


@contextlib.contextmanager
def steer(loaded: Loaded, layer: int, vector: Tensor) -> Iterator:
    """The network with a vector added to a layer at every token."""

    def add(_module, _args, output):
        return output + vector

    vector = vector.to(loaded.network.device, loaded.network.dtype)
    handle = list_layers(loaded.network)[layer - 1].register_forward_hook(add)
    try:
        yield loaded.network
    finally:
        handle.remove()
