"""A tiny network with random weights of every family that is supported, windows of five tokens."""

from __future__ import annotations

import functools

import torch
import transformers
from transformers import AutoModelForCausalLM

from emodrift.models.loading import verify_network
from emodrift.organisms.tokenizer import build_tokenizer

WINDOW = 5
SHAPE = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
LLAMA = SHAPE | {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 200}
SLIDING = LLAMA | {"sliding_window": WINDOW}
GEMMA = LLAMA | {"head_dim": 8}
GEMMA_SLIDING = GEMMA | {"sliding_window": WINDOW, "query_pre_attn_scalar": 8}
ALTERNATING = ["sliding_attention", "full_attention"] * 2

CONFIGS = {
    "gpt2": ("GPT2Config", SHAPE | {"n_positions": 200}),
    "gpt_neox": (
        "GPTNeoXConfig",
        SHAPE | {"intermediate_size": 64, "max_position_embeddings": 200},
    ),
    "llama": ("LlamaConfig", LLAMA),
    "qwen2": ("Qwen2Config", LLAMA),
    "qwen2_sliding": (
        "Qwen2Config",
        SLIDING | {"use_sliding_window": True, "max_window_layers": 2},
    ),
    "qwen3": ("Qwen3Config", GEMMA),
    "gemma": ("GemmaConfig", GEMMA),
    "gemma2": ("Gemma2Config", GEMMA_SLIDING),
    "gemma3": ("Gemma3TextConfig", GEMMA_SLIDING | {"layer_types": ALTERNATING}),
    "gemma3_multimodal": (
        "Gemma3Config",
        {
            "text_config": GEMMA_SLIDING | {"layer_types": ALTERNATING},
            "vision_config": SHAPE | {"intermediate_size": 64, "image_size": 28, "patch_size": 14},
            "mm_tokens_per_image": 1,
        },
    ),
    "gemma4": (
        "Gemma4TextConfig",
        GEMMA
        | {
            "sliding_window": WINDOW,
            "layer_types": ALTERNATING,
            "hidden_size_per_layer_input": 8,
            "num_kv_shared_layers": 2,
        },
    ),
    "olmo": ("OlmoConfig", LLAMA),
    "olmo2": ("Olmo2Config", LLAMA),
    "olmo3": ("Olmo3Config", SLIDING | {"layer_types": ALTERNATING}),
    "mistral": ("MistralConfig", SLIDING),
    "phi": ("PhiConfig", LLAMA | {"num_key_value_heads": 4}),
    "phi3": ("Phi3Config", SLIDING),
    "smollm3": ("SmolLM3Config", LLAMA),
    "falcon": ("FalconConfig", SHAPE),
    "opt": ("OPTConfig", SHAPE | {"ffn_dim": 64, "word_embed_proj_dim": 32}),
}
"""Family -> config class and arguments."""

MIXED = ["linear_attention", "full_attention"] * 2
LINEAR = {
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1}

MASKLESS = {
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 4, "n_head": 4}),
    "mpt": ("MptConfig", {"d_model": 32, "n_layers": 4, "n_heads": 4, "max_seq_len": 200}),
    "llama4": (
        "Llama4TextConfig",
        GEMMA | {"intermediate_size_mlp": 32, "num_local_experts": 2, "attention_chunk_size": 8},
    ),
    "mamba": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 4, "state_size": 8}),
    "qwen3_next": (
        "Qwen3NextConfig",
        GEMMA | LINEAR | EXPERTS | {"layer_types": MIXED, "shared_expert_intermediate_size": 16},
    ),
    "qwen3_5": ("Qwen3_5TextConfig", GEMMA | LINEAR | {"layer_types": MIXED}),
    "olmo_hybrid": ("OlmoHybridConfig", LLAMA | LINEAR | {"layer_types": MIXED}),
    "falcon_h1": ("FalconH1Config", GEMMA | MAMBA | {"mamba_d_ssm": 64}),
    "bamba": ("BambaConfig", LLAMA | MAMBA | {"attn_layer_indices": [1, 3]}),
    "lfm2": ("Lfm2Config", LLAMA | {"layer_types": ["conv", "full_attention"] * 2}),
}
"""The same of families whose attention, or what stands in its place, follows no mask."""

FAMILIES = CONFIGS | MASKLESS


@functools.cache
@torch.inference_mode(False)
def build_network(kind, dtype=torch.float32, scale=0.2):
    """A network of a family with the grammar's vocabulary."""
    name, arguments = FAMILIES[kind]
    config = getattr(transformers, name)(**arguments, pad_token_id=0)
    text = config.get_text_config()
    text.vocab_size = text.vocab_size_per_layer_input = len(build_tokenizer())
    text.initializer_range = scale
    text.bos_token_id = text.eos_token_id = text.pad_token_id = None
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()


@functools.cache
def build_model(kind, dtype=torch.float32, scale=0.2):
    """A verified model of a family; do not change it."""
    return verify_network(build_network(kind, dtype, scale), build_tokenizer(), kind)
