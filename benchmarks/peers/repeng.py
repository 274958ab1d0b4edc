"""repeng: the hidden states of ``ControlVector.train``, and a ``ControlModel``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from repeng import ControlModel
from repeng.extract import batched_get_hiddens
from torch import Tensor

from benchmarks.peers.rows import Loaded, load_network

PACKAGES = ("repeng", "transformers", "torch")


def load(folder: str, device: str, dtype: str) -> Loaded:
    """The checkpoint."""
    loaded = load_network(folder, device, dtype)
    loaded.network.config.use_cache = False
    return loaded


@torch.inference_mode()
def extract(loaded: Loaded, texts: Sequence[str], batch: int) -> np.ndarray:
    """Last token of every layer but the embeddings (text, layer, hidden)."""
    blocks = list(range(loaded.network.config.num_hidden_layers))
    found = batched_get_hiddens(loaded.network.model, loaded.tokenizer, list(texts), blocks, batch)
    return np.stack([found[block] for block in blocks], 1)


@contextlib.contextmanager
def steer(loaded: Loaded, layer: int, vector: Tensor) -> Iterator:
    """The network with a vector added to a layer at every token."""
    steered = ControlModel(loaded.network, [layer - 1])
    try:
        steered.set_raw_control({layer - 1: vector.to(loaded.network.device, loaded.network.dtype)})
        yield steered
    finally:
        steered.unwrap()
