"""Tiny adapters as peft saves them."""

import torch

from tests.conftest import make_llama


def save_adapter(folder, base, seed, *, revision=None, added_tokens=0, template=None, **settings):
    """Save a LoRA of the tiny Llama of seed 0, and what the adapted model answers.

    Parameters
    ----------
    folder
        Where to.
    base
        Name of the base model that it is to carry.
    seed
        Of its weights.
    revision
        The base's revision that it is to carry.
    added_tokens
        Tokens added for its training.
    template
        Chat template of a tokenizer of its own.
    settings
        Further settings of the adapter.

    Returns
    -------
    torch.Tensor
        Logits (prompt, token, vocabulary) at the tokens 1 to 8.
    """
    from peft import LoraConfig, get_peft_model

    network, tokenizer = make_llama(0)
    if added_tokens:
        tokenizer.add_tokens([f"<added {k}>" for k in range(added_tokens)])
        network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    torch.manual_seed(seed)
    settings = {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": False} | settings
    adapted = get_peft_model(network, LoraConfig(**settings))
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.peft_config["default"].revision = revision
    adapted.save_pretrained(folder, save_embedding_layers=bool(added_tokens))
    if added_tokens or template:
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
    with torch.inference_mode():
        return adapted.eval()(torch.arange(1, 9)[None]).logits
