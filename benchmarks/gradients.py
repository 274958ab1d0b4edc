"""What a backward pass that ends at a layer saves: ``python -m benchmarks.gradients``.

A Llama with random weights and 30 layers; gradients of one batch of prompts down to every layer in
turn, in the same process, as ratios to those down to layer 0.
"""

from __future__ import annotations

import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from emodrift.grammar.sampling import REPLY_CLASSES, sample_prompts
from emodrift.measure.gradients import measure_gradients
from emodrift.measure.session import Session
from emodrift.models.loading import verify_network
from emodrift.models.memory import TokenBudget
from emodrift.organisms.tokenizer import build_tokenizer

LAYERS, HIDDEN, ROUNDS = 30, 192, 5
FIRST = (0, 10, 20, 25)
READING = {
    "prompt_format": "plain",
    "plain_prompt": "user : {prompt} assistant :",
    "phrasing_score": "sum",
    "positions": "reply",
    "toward": {"harmful": ["refuse", "comply"]},
}


def main() -> None:
    """Print the median ratio for each layer at which the pass ends."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        pad_token_id=0,
        eos_token_id=2,
    )
    model = verify_network(LlamaForCausalLM(config), tokenizer, "benchmark")
    session = Session(model, TokenBudget(4096), "benchmark")
    prompts = [p for p in sample_prompts(0, 8) if p["suite"] == "harmful"]
    replies = {name: list(phrasings)[:2] for name, phrasings in REPLY_CLASSES.items()}
    took: dict[int, list[float]] = {first: [] for first in FIRST}
    for _ in range(ROUNDS + 1):
        for first in FIRST:
            began = time.perf_counter()
            measure_gradients(session, prompts, replies, READING | {"first_layer": first})
            took[first].append(time.perf_counter() - began)
    for first in FIRST[1:]:
        ratios = [a / b for a, b in zip(took[first][1:], took[0][1:], strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(f"from layer {first} of {LAYERS}: {middle:.2f} ({low:.2f} to {high:.2f}) of the time")


if __name__ == "__main__":
    main()
