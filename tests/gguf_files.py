"""Tiny GGUF files, as llama.cpp's converter writes them."""

import json

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
TEXT = ("the cat sat on the mat and the dog sat on the log", "a bat and a rat ate the oat")
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>"]


def build_bpe():
    """A byte-level vocabulary of a few hundred."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


def build_llama(seed, layers=3):
    """A Llama with random weights for that vocabulary; rows are multiples of 32, as Q8_0 needs."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=build_bpe().get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=160,
        initializer_range=0.2,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(path, network, kind="F32", kind_of_file="model", tokenizer=True, blocks=None):
    """Write a Llama as a GGUF file, its matrices as `kind`; its head may claim other blocks."""
    config = network.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(kind_of_file)
    writer.add_name("Tiny")
    writer.add_block_count(blocks or config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if tokenizer:
        _add_tokenizer(writer)
    quantisation = gguf.GGMLQuantizationType[kind]
    for name, weight in network.state_dict().items():
        values = _permute(name, weight, config).float().numpy()
        matrix = values.ndim == 2
        data = gguf.quantize(values, quantisation) if matrix and kind != "F32" else values
        writer.add_tensor(_rename(name), data, raw_dtype=quantisation if matrix else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer):
    bpe = build_bpe()
    tokens = [bpe.id_to_token(k) for k in range(bpe.get_vocab_size())]
    merges = [" ".join(m) for m in json.loads(bpe.to_str())["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIAL else 1 for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _rename(name):
    stem = name.removesuffix(".weight")
    if stem in OUTER:
        return f"{OUTER[stem]}.weight"
    _, _, block, inner = stem.split(".", 3)
    return f"blk.{block}.{NAMES[inner]}.weight"


def _permute(name, weight, config):
    """Rows of queries and keys in llama.cpp's order of rotary pairs."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((n for part, n in heads.items() if part in name), None)
    if count is None:
        return weight
    pairs = weight.reshape(count, 2, weight.shape[0] // count // 2, weight.shape[1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)
