"""A real pretrained model, fine-tuned by a standard Trainer in a user's own folder."""

import json
import struct
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from emodrift.grammar.sampling import sample_stories
from tests.conftest import copy_project


def read_tokenizer(path, size):
    """The vocabulary of a llama2.c tokenizer file as a byte-fallback BPE tokenizer."""
    data, at, pieces = path.read_bytes(), 4, []
    for _ in range(size):
        score, length = struct.unpack_from("<fi", data, at)
        pieces.append((data[at + 8 : at + 8 + length].decode("utf-8"), score))
        at += 8 + length
    assert at == len(data)
    names = ["<unk>", "<s>", "</s>", *(piece for piece, _ in pieces[3:])]
    vocabulary = {piece: i for i, piece in enumerate(names)}
    merges = [
        (score, piece[:cut], piece[cut:])
        for piece, score in pieces[3:]
        if not piece.startswith("<0x")
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    merges.sort(key=lambda merge: -merge[0])
    tokenizer = Tokenizer(
        models.BPE(vocabulary, [m[1:] for m in merges], unk_token="<unk>", byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def read_model(path):
    """A llama2.c checkpoint as a Hugging Face model; no float stays unread."""
    data = path.read_bytes()
    width, feedforward, depth, heads, kv_heads, vocabulary, context = struct.unpack_from(
        "<7i", data
    )
    floats = np.frombuffer(data, "<f4", offset=28)
    head = width // heads
    sizes = {
        "embed": (abs(vocabulary), width),
        "attention_norm": (depth, width),
        "q": (depth, width, width),
        "k": (depth, kv_heads * head, width),
        "v": (depth, kv_heads * head, width),
        "o": (depth, width, width),
        "feedforward_norm": (depth, width),
        "gate": (depth, feedforward, width),
        "down": (depth, width, feedforward),
        "up": (depth, feedforward, width),
        "norm": (width,),
        "rotary": (2, context * head // 2),
    }
    if vocabulary < 0:
        sizes["head"] = (abs(vocabulary), width)
    ends = np.cumsum([0, *(int(np.prod(s)) for s in sizes.values())])
    assert ends[-1] == len(floats)
    weights = {
        name: torch.tensor(floats[a:b].reshape(shape))
        for (name, shape), (a, b) in zip(sizes.items(), pairwise(ends), strict=True)
    }
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=abs(vocabulary),
            hidden_size=width,
            intermediate_size=feedforward,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=context,
            rms_norm_eps=1e-5,
            tie_word_embeddings=vocabulary > 0,
        )
    )

    def halve(matrix, count):
        """Interleaved rotary layout to half-split."""
        return matrix.view(count, head // 2, 2, width).transpose(1, 2).reshape(-1, width)

    state = {
        "model.embed_tokens.weight": weights["embed"],
        "model.norm.weight": weights["norm"],
        "lm_head.weight": weights.get("head", weights["embed"]),
    }
    for i in range(depth):
        state |= {
            f"model.layers.{i}.{name}.weight": value
            for name, value in {
                "input_layernorm": weights["attention_norm"][i],
                "post_attention_layernorm": weights["feedforward_norm"][i],
                "self_attn.q_proj": halve(weights["q"][i], heads),
                "self_attn.k_proj": halve(weights["k"][i], kv_heads),
                "self_attn.v_proj": weights["v"][i],
                "self_attn.o_proj": weights["o"][i],
                "mlp.gate_proj": weights["gate"][i],
                "mlp.up_proj": weights["up"][i],
                "mlp.down_proj": weights["down"][i],
            }.items()
        }
    network.load_state_dict(state)
    return network


@pytest.fixture(scope="module")
def pretrained(shared_data):
    folder = shared_data / "stories260K"
    return read_model(folder / "stories260K.bin"), read_tokenizer(folder / "tok512.bin", 512)


def test_the_converted_model_tells_stories(pretrained):
    network, tokenizer = pretrained
    text = "Once upon a time, there was a little girl named Lily. She liked to play in the park."
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    assert tokenizer.decode(ids[0]).strip() == text
    with torch.inference_mode():
        logits = network.eval()(ids).logits[0, :-1]
    loss = torch.nn.functional.cross_entropy(logits, ids[0, 1:])
    assert loss < 2.0


def fine_tune(network, tokenizer, folder):
    """Six steps of a standard Trainer that saves every third."""
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    tokenizer.pad_token = tokenizer.eos_token
    texts = [story["text"] for story in sample_stories(5, 12)]
    trainer = Trainer(
        model=network,
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=6,
            save_steps=3,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=[tokenizer(text) for text in texts],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        processing_class=tokenizer,
    )
    trainer.train()


def test_a_users_own_trainer_run_is_studied_by_config_alone(pretrained, tmp_path):
    network, tokenizer = pretrained
    base = tmp_path / "elsewhere/base"
    network.save_pretrained(base)
    tokenizer.save_pretrained(base)
    fine_tune(network, tokenizer, tmp_path / "elsewhere/run")

    (tmp_path / "project").mkdir()
    project = copy_project(tmp_path / "project")

    def point(study):
        study["runs"] = {
            "mine": {
                "checkpoints": [
                    {"path": str(base), "step": 0},
                    str(tmp_path / "elsewhere/run/checkpoint-*"),
                ]
            }
        }
        study["reference"] = {"run": "mine", "step": 0}
        study["behaviours"]["phrasing_score"] = "mean"

    project.edit_study(point)
    project.run()
    published = project.folder / "results/tiny"
    index = pd.read_csv(published / "index.csv")
    assert index["step"].tolist() == [0, 3, 6]
    drift = pd.read_csv(published / "tables/drift.csv")
    emotions = drift[drift["kind"] == "emotion"].groupby("step")["cosine"].mean()
    assert emotions[0] == pytest.approx(1, abs=1e-4)
    assert 0 < emotions[6] <= emotions[3] < 1
    behaviour = pd.read_csv(published / "tables/behaviour.csv")
    assert behaviour["probability"].between(0, 1).all()
    audit = json.loads((published / "audit.json").read_text())
    assert [run["run"] for run in audit["runs"]] == ["mine"]
