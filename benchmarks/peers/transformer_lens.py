"""TransformerLens: ``run_with_cache`` of a bridge, only the residual stream cached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge

from benchmarks.peers.rows import Loaded, encode_batch, load_network, pool_mean, split_batches

PACKAGES = ("transformer-lens", "transformers", "torch")


def load(folder: str, device: str, dtype: str) -> Loaded:
    """The checkpoint in a bridge."""
    network, tokenizer, _ = load_network(folder, device, dtype)
    bridge = TransformerBridge.boot_transformers(
        folder, hf_model=network, tokenizer=tokenizer, device=device, dtype=getattr(torch, dtype)
    )
    return Loaded(network, tokenizer, bridge)


@torch.inference_mode()
def extract(loaded: Loaded, texts: Sequence[str], batch: int) -> np.ndarray:
    """Mean of every layer (text, layer, hidden); logits are computed for the last token alone."""
    blocks = range(loaded.network.config.num_hidden_layers)
    names = ["blocks.0.hook_in", *(f"blocks.{block}.hook_out" for block in blocks)]
    pooled = []
    for rows in split_batches(len(texts), batch):
        inputs = encode_batch(loaded, texts[rows])
        _, cache = loaded.subject.run_with_cache(
            inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            names_filter=names,
            return_cache_object=False,
            return_type=None,
            logits_to_keep=1,
            use_cache=False,
        )
        pooled.append(pool_mean([cache[name] for name in names], inputs["attention_mask"]))
    return np.concatenate(pooled)
