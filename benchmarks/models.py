"""Checkpoints with random weights, in the shape of a Llama."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

CONTEXT = 1024


class Shape(NamedTuple):
    """Size of a network."""

    layers: int
    hidden: int
    inner: int
    heads: int
    key_heads: int
    vocabulary: int

    @property
    def block_weights(self) -> int:
        """Weights of all blocks' matrices."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden * head * (self.heads + self.key_heads)
        return self.layers * (attention + 3 * self.hidden * self.inner)


SHAPES = {
    "tiny": Shape(4, 128, 344, 4, 4, 16_000),
    "small": Shape(12, 512, 1344, 8, 8, 16_000),
    "1b": Shape(16, 2048, 8192, 32, 8, 32_000),
    "7b": Shape(32, 4096, 11_008, 32, 32, 32_000),
}


def save_checkpoint(
    folder: Path,
    shape: Shape,
    tokenizer: PreTrainedTokenizerFast,
    device: str,
    dtype: str,
    seed: int,
) -> None:
    """Write a network with random weights and its tokenizer; a folder that is there is kept."""
    if (folder / "config.json").exists():
        return
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=CONTEXT,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype=getattr(torch, dtype),
    )
    logging.disable_progress_bar()
    torch.manual_seed(seed)
    with torch.device(device):
        network = LlamaForCausalLM(config).to(getattr(torch, dtype))
    tokenizer.save_pretrained(folder)
    network.save_pretrained(folder)
