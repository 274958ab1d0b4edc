"""Loading a checkpoint: weights, tokenizer, and proof that its residual stream can be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from emodrift.errors import EmodriftError
from emodrift.models.blocks import find_blocks
from emodrift.models.devices import (
    SPREADS,
    choose_device,
    choose_dtype,
    use_deterministic_algorithms,
)
from emodrift.models.language_model import LanguageModel
from emodrift.models.products import speed_products
from emodrift.models.verification import verify_blocks


def load_model(
    location: dict[str, str],
    loading: dict[str, Any],
    dtype: str,
    label: str,
    chat: Mapping[str, Any] | None = None,
) -> LanguageModel:
    """Load a checkpoint and verify on a probe all that is done with it later.

    Parameters
    ----------
    location
        ``{"path"}`` or ``{"repo", "commit", "subfolder"}``, and for adapters ``"base"``.
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
        The device is not there, weights hold NaN or infinity or cannot be read, or the blocks
        cannot be found or do not behave as a decoder's.
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
    if "base" in location:
        network = _load_adapter(location, options)
        tokenizer = AutoTokenizer.from_pretrained(*_split_base(location["base"]))
    else:
        where, revision = _locate(location)
        network = AutoModelForCausalLM.from_pretrained(where, **revision, **options)
        tokenizer = AutoTokenizer.from_pretrained(where, **revision)
    if not spread:
        network = network.to(device)
    _refuse_broken_weights(network, label)
    model = verify_network(network, tokenizer, label, loading.get("blocks"))
    logging.info("%s: loaded on %s as %s", label, loading["device"], network.dtype)
    return put_template(model, chat) if chat else model


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


def _locate(location: dict[str, str]) -> tuple[str, dict[str, str]]:
    if "path" in location:
        return location["path"], {}
    return location["repo"], {
        "revision": location["commit"],
        "subfolder": location.get("subfolder", ""),
    }


def _split_base(base: str) -> tuple[str]:
    return (base.partition("@")[0] if not Path(base).exists() else base,)


def _load_adapter(location: dict[str, str], options: dict[str, Any]) -> PreTrainedModel:
    from peft import PeftModel

    base = location["base"]
    revision = {} if Path(base).exists() else {"revision": base.partition("@")[2]}
    network = AutoModelForCausalLM.from_pretrained(*_split_base(base), **revision, **options)
    where, adapter_revision = _locate(location)
    return PeftModel.from_pretrained(network, where, **adapter_revision).merge_and_unload()


def _refuse_broken_weights(network: PreTrainedModel, label: str) -> None:
    for name, weight in network.named_parameters():
        if not weight.is_meta and not torch.isfinite(weight).all():
            raise EmodriftError(
                f"{label}: weight {name} holds NaN or infinity; the checkpoint is broken: "
                "drop it from the run, or copy it again"
            )
