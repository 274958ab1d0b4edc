"""steering-vectors: ``record_activations`` of the network without its LM head, and ``apply``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from steering_vectors import SteeringVector, record_activations
from torch import Tensor

from benchmarks.peers.rows import Loaded, encode_batch, load_network, pool_mean, split_batches

PACKAGES = ("steering-vectors", "transformers", "torch")
BLOCKS = {"decoder_block": "layers.{num}"}
load = load_network


@torch.inference_mode()
def extract(loaded: Loaded, texts: Sequence[str], batch: int) -> np.ndarray:
    """Mean of every layer but the embeddings (text, layer, hidden)."""
    pooled = []
    for rows in split_batches(len(texts), batch):
        inputs = encode_batch(loaded, texts[rows])
        with record_activations(
            loaded.network.model, layer_config=BLOCKS, clone_activations=False
        ) as seen:
            loaded.network.model(**inputs, use_cache=False)
        states = [seen[block][0] for block in sorted(seen)]
        pooled.append(pool_mean(states, inputs["attention_mask"]))
    return np.concatenate(pooled)


@contextlib.contextmanager
def steer(loaded: Loaded, layer: int, vector: Tensor) -> Iterator:
    """The network with a vector added to a layer at every token."""
    vector = vector.to(loaded.network.device, loaded.network.dtype)
    with SteeringVector({layer - 1: vector}).apply(loaded.network):
        yield loaded.network
