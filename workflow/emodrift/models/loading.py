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
from emodrift.store.downloads import fetch_snapshot


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
    """
    network, tokenizer = load_network(location, loading, dtype, label)
    model = verify_network(network, tokenizer, label, loading.get("blocks"))
    return put_template(model, chat) if chat else model


def load_network(
    location: dict[str, str], loading: dict[str, Any], dtype: str, label: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a network that generates text, and its tokenizer; parameters as in :func:`load_model`.

    Raises
    ------
    EmodriftError
        The device is not there, or weights hold NaN or infinity or cannot be read.
    """
    if loading.get("deterministic"):
        use_deterministic_algorithms()
    device = choose_device(loading["device"])
    options = {
        "dtype": choose_dtype(dtype, device),
        "use_safetensors": None if loading["allow_pickle"] else True,
        "trust_remote_code": False,
    }
    spread = loading["device"] in SPREADS
    if spread:
        options["device_map"] = loading["device"]
    folder = fetch_folder(location, loading["allow_pickle"], label)
    if "base" in location:
        from emodrift.models.adapters import has_tokenizer, merge_adapter

        base = fetch_folder(location["base"], loading["allow_pickle"], label)
        tokenizer = _load_tokenizer(folder if has_tokenizer(folder) else base)
    else:
        base = folder
        tokenizer = _load_tokenizer(base)
    if "initialise" in location:
        network = _initialise(base, location["initialise"], options)
    else:
        network = (
            load_gguf(base, options, label)
            if base.is_file()
            else AutoModelForCausalLM.from_pretrained(base, **options)
        )
        if "base" in location:
            network = merge_adapter(network, folder, label)
    if not spread:
        network = network.to(device)
    _refuse_broken_weights(network, label)
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


def _load_tokenizer(place: Path) -> PreTrainedTokenizerBase:
    folder, named = name_source(place)
    return AutoTokenizer.from_pretrained(folder, **named)


def _initialise(place: Path, seed: int, options: dict[str, Any]) -> PreTrainedModel:
    folder, named = name_source(place)
    config = AutoConfig.from_pretrained(folder, **named)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        drawn = AutoModelForCausalLM.from_config(config)
    return type(drawn).from_pretrained(
        None, config=config, state_dict=drawn.state_dict(), **options
    )


def _refuse_broken_weights(network: PreTrainedModel, label: str) -> None:
    for name, weight in network.named_parameters():
        if not weight.is_meta and not torch.isfinite(weight).all():
            raise EmodriftError(
                f"{label}: weight {name} holds NaN or infinity; the checkpoint is broken: "
                "drop it from the run, or copy it again"
            )
