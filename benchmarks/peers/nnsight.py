"""nnsight: a trace of the network without its LM head, pooled inside the trace."""

from __future__ import annotations

from collections.abc import Sequence

import nnsight
import numpy as np
import torch

from benchmarks.peers.rows import Loaded, encode_batch, load_network, split_batches

PACKAGES = ("nnsight", "transformers", "torch")


def load(folder: str, device: str, dtype: str) -> Loaded:
    """The checkpoint, wrapped."""
    network, tokenizer, _ = load_network(folder, device, dtype)
    return Loaded(network, tokenizer, nnsight.NNsight(network.model))


@torch.inference_mode()
def extract(loaded: Loaded, texts: Sequence[str], batch: int) -> np.ndarray:
    """Mean of every layer (text, layer, hidden)."""
    model = loaded.subject
    pooled = []
    for rows in split_batches(len(texts), batch):
        inputs = encode_batch(loaded, texts[rows])
        mask = inputs["attention_mask"]
        weights = (mask / mask.sum(1, keepdim=True))[:, None].float()
        with model.trace(**inputs, use_cache=False):
            means = nnsight.save([])
            means.append(torch.bmm(weights, model.embed_tokens.output.float())[:, 0])
            for block in model.layers:
                means.append(torch.bmm(weights, block.output.float())[:, 0])
        pooled.append(torch.stack(means, 1).cpu().numpy())
    return np.concatenate(pooled)
