"""A network in training as its saved checkpoint would load, over the same weights in memory.

Loading makes fresh modules: evaluation mode, no dropout, no autocast, the attention that is loaded
by default. Given the trained weights instead of a file they are the same, and the network in
training is left alone. That the weights are those of the file is proved, tensor by tensor.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from emodrift.models.devices import choose_dtype
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import check_vocabulary, put_template, verify_network
from emodrift.models.weights import check_loaded, explain_loading, refuse_broken_weights

WRAPPERS = ("module", "_orig_mod")
"""Attributes under which distributed training and torch.compile keep the network."""


def share_model(
    network: nn.Module,
    folder: Path,
    loading: Mapping[str, Any],
    dtype: str,
    label: str,
    chat: Mapping[str, Any],
) -> LanguageModel | None:
    """The checkpoint in a folder, over the weights of the network that it was saved from.

    Weights of the data type that is asked for are shared, others converted; nothing of the network
    in training changes.

    Parameters
    ----------
    network
        In training, whatever is wrapped around it.
    folder
        Where it was saved just now.
    loading, dtype, label, chat
        As in :func:`emodrift.models.loading.load_model`. The device is the network's.

    Returns
    -------
    LanguageModel or None
        None where the folder does not hold the network's weights one to one: adapters, which are
        merged when they are loaded, weights spread over devices, files of another format.

    Raises
    ------
    EmodriftError
        As in :func:`emodrift.models.loading.load_model`.
    """
    bare = unwrap(network)
    if not isinstance(bare, PreTrainedModel) or len({w.device for w in bare.parameters()}) != 1:
        return None
    with explain_loading(label, folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        with torch.device("meta"):
            kind = type(AutoModelForCausalLM.from_config(config, trust_remote_code=False))
    weights = bare.state_dict()
    if type(bare) is not kind or not are_saved(weights, folder):
        return None
    with explain_loading(label, folder), _without_progress():
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        shared, found = kind.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=choose_dtype(dtype, bare.device),
            device_map={"": bare.device},
            trust_remote_code=False,
            output_loading_info=True,
        )
        written = folder / "generation_config.json"
        if written.is_file():
            shared.generation_config = GenerationConfig.from_dict(json.loads(written.read_text()))
    check_loaded(shared, found, label)
    refuse_broken_weights(shared, label)
    check_vocabulary(shared, tokenizer, label)
    model = verify_network(shared, tokenizer, label, loading.get("blocks"))
    return put_template(model, chat)


def unwrap(network: nn.Module) -> nn.Module:
    """A network without what distributed training and compilation wrap around it."""
    while inner := next((w for w in WRAPPERS if hasattr(network, w)), None):
        network = getattr(network, inner)
    return network


def are_saved(weights: Mapping[str, Tensor], folder: Path) -> bool:
    """Whether the safetensors files of a folder hold these weights, all of them, to the last bit.

    Of weights that are tied the files need hold one only.
    """
    stored: set[str] = set()
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (no mapping)
                weight, saved = weights.get(name), tensors.get_tensor(name)
                if weight is None or weight.dtype != saved.dtype:
                    return False
                if not torch.equal(weight, saved.to(weight.device)):
                    return False
                stored.add(name)
    places = {weights[name].data_ptr() for name in stored}
    return all(name in stored or weight.data_ptr() in places for name, weight in weights.items())


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
