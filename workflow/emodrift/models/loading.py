"""Loading a checkpoint: weights, tokenizer, and proof that its residual stream can be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from emodrift.errors import EmodriftError
from emodrift.models.blocks import find_blocks
from emodrift.models.devices import (
    SPREADS,
    choose_device,
    choose_dtype,
    use_deterministic_algorithms,
)
from emodrift.models.gguf import load_gguf, name_source
from emodrift.models.language_model import LanguageModel
from emodrift.models.products import speed_products
from emodrift.models.verification import verify_blocks
from emodrift.models.weights import check_loaded, explain_loading, refuse_broken_weights
from emodrift.store.downloads import fetch_snapshot

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


def load_model(
    location: dict[str, Any],
    loading: dict[str, Any],
    dtype: str,
    label: str,
    chat: Mapping[str, Any] | None = None,
) -> LanguageModel:
    """Load a checkpoint and verify on a probe all that is done with it later.

    Parameters
    ----------
    location
        ``{"path"}``, a directory or a GGUF file, or ``{"repo", "commit", "subfolder"}``, and
        for adapters the same of their base model as ``"base"``. With ``"initialise"``, a seed, the
        weights are random and only the shape is the checkpoint's.
    loading
        The `compute` section: device, allow_pickle; optional: blocks, deterministic.
    dtype
        ``auto`` or a torch dtype's name.
    label
        Checkpoint to name in errors.
    chat
        How prompts go through the chat template: ``template`` (None: the checkpoint's own),
        ``system_prompt`` and ``template_arguments``.

    Raises
    ------
    EmodriftError
        See :func:`load_network` and :func:`verify_network`.

    Examples
    --------
    >>> location = {"path": "runs/sft/checkpoint-500"}
    >>> loading = {"device": "cpu", "allow_pickle": False}
    >>> model = load_model(location, loading, "float32", "sft step 500")
    >>> len(model.blocks), model.network.dtype
    (3, torch.float32)
    """
    network, tokenizer = load_network(location, loading, dtype, label)
    model = verify_network(network, tokenizer, label, loading.get("blocks"))
    return put_template(model, chat) if chat else model


def load_network(
    location: dict[str, Any], loading: dict[str, Any], dtype: str, label: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a network that generates text, and its tokenizer; parameters as in :func:`load_model`.

    Raises
    ------
    EmodriftError
        The device is not there, or weights are missing, left over, of another shape than the
        config says, NaN or infinite, or cannot be read; or the checkpoint needs code of its own.
    """
    if loading.get("deterministic"):
        use_deterministic_algorithms()
    device = choose_device(loading["device"])
    options = {
        "dtype": choose_dtype(dtype, device),
        "use_safetensors": None if loading["allow_pickle"] else True,
    }
    spread = loading["device"] in SPREADS
    if spread:
        options["device_map"] = loading["device"]
    folder = fetch_folder(location, loading["allow_pickle"], label)
    base = folder
    if "base" in location:
        base = fetch_folder(location["base"], loading["allow_pickle"], label)
    tokenizer = _load_tokenizer(folder if base == folder or has_tokenizer(folder) else base, label)
    if "initialise" in location:
        network = _initialise(base, location["initialise"], options, label)
    else:
        network = _load_weights(base, options, label)
        if "base" in location:
            from emodrift.models.adapters import merge_adapter

            network = merge_adapter(network, folder, label)
    if not spread:
        network = network.to(device)
    refuse_broken_weights(network, label)
    check_vocabulary(network, tokenizer, label)
    logging.info("%s: loaded on %s as %s", label, loading["device"], network.dtype)
    return network.eval().requires_grad_(False), tokenizer


def verify_network(
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    label: str,
    blocks: str | None = None,
) -> LanguageModel:
    """Find a network's blocks and verify them.

    Parameters
    ----------
    network
        A causal language model; it is put in evaluation mode, without gradients.
    tokenizer
        Its tokenizer.
    label
        Checkpoint to name in errors.
    blocks
        Config: `compute.blocks`.

    Raises
    ------
    EmodriftError
        See :func:`emodrift.models.blocks.find_blocks` and
        :func:`emodrift.models.verification.verify_blocks`.
    """
    network = network.eval().requires_grad_(False)
    speed_products(network)
    found = find_blocks(network, label, blocks)
    return verify_blocks(LanguageModel(network, tokenizer, found), label)


def put_template(model: LanguageModel, chat: Mapping[str, Any]) -> LanguageModel:
    """The model with its prompts put as `chat` says; see :func:`load_model`."""
    if chat["template"] is not None:
        model.tokenizer.chat_template = chat["template"]
    return replace(
        model,
        system_prompt=chat["system_prompt"],
        template_arguments=chat["template_arguments"],
    )


def fetch_folder(location: dict[str, Any], allow_pickle: bool, label: str) -> Path:
    """Directory of a checkpoint, or its GGUF file; downloaded where it is on the hub."""
    if "path" in location:
        return Path(location["path"])
    return fetch_snapshot(location, allow_pickle, label)


def has_tokenizer(folder: Path) -> bool:
    """Whether an adapter's folder holds a tokenizer of its own, which then goes with it."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def check_vocabulary(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, label: str
) -> None:
    """Refuse a tokenizer that writes tokens for which the network has no embedding.

    Special tokens that have no part, such as padding, and are not in the chat template are let
    pass: no text becomes one, and transformers adds some of its own.

    Raises
    ------
    EmodriftError
        A token id lies beyond the embedding.
    """
    rows = network.get_input_embeddings().num_embeddings
    beyond = {token: k for token, k in tokenizer.get_vocab().items() if k >= rows}
    named, template = set(tokenizer.all_special_tokens), str(tokenizer.chat_template or "")
    spare = {
        token
        for token, k in beyond.items()
        if getattr(tokenizer.added_tokens_decoder.get(k), "special", False)
        and token not in named
        and token not in template
    }
    used = beyond.keys() - spare
    if used:
        token = max(used, key=lambda token: beyond[token])
        raise EmodriftError(
            f"{label}: the tokenizer has token id {beyond[token]} ({token[:40]!r}), but the "
            f"embedding only {rows} rows; copy the files of the tokenizer that the model was "
            "trained with beside it"
        )


def _load_tokenizer(place: Path, label: str) -> PreTrainedTokenizerBase:
    folder, named = name_source(place)
    with explain_loading(label, place):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **named)


def _load_weights(folder: Path, options: dict[str, Any], label: str) -> PreTrainedModel:
    if folder.is_file():
        return load_gguf(folder, options, label)
    with explain_loading(label, folder):
        network, found = AutoModelForCausalLM.from_pretrained(
            folder,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused by name
            **options,
        )
    check_loaded(network, found, label)
    return network


def _initialise(place: Path, seed: int, options: dict[str, Any], label: str) -> PreTrainedModel:
    folder, named = name_source(place)
    with explain_loading(label, place):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, **named)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        return type(drawn).from_pretrained(
            None,
            config=config,
            state_dict=drawn.state_dict(),
            trust_remote_code=False,
            **options,
        )
