"""Models from GGUF files: dequantised by transformers, then models like any other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from emodrift.checkpoints.gguf import read_header
from emodrift.errors import EmodriftError
from emodrift.models.weights import check_loaded

ROTARY = ".attn_rot_embd."
"""Frequencies that older files hold for each block and that follow from the config."""


def name_source(place: Path) -> tuple[Path, dict[str, str]]:
    """Folder of a checkpoint, and what ``from_pretrained`` must be told beside it.

    Parameters
    ----------
    place
        A directory, or a GGUF file.
    """
    return (place.parent, {"gguf_file": place.name}) if place.is_file() else (place, {})


def load_gguf(file: Path, options: dict[str, Any], label: str) -> PreTrainedModel:
    """Load a GGUF file's model with its weights dequantised.

    What transformers makes of such a file passes for quantised: it cannot be saved, and adapters
    do not merge into it. It is therefore made anew from its weights, as an ordinary model.

    Parameters
    ----------
    file
        The file.
    options
        Of ``from_pretrained``.
    label
        Checkpoint to name in errors.

    Raises
    ------
    EmodriftError
        transformers cannot read models of its architecture, a weight is missing, or one is left
        over.
    """
    options = {k: v for k, v in options.items() if k != "use_safetensors"}
    try:
        read = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, trust_remote_code=False, **options
        )
    except (ValueError, KeyError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise EmodriftError(
            f"{label}: transformers cannot read {file} ({reason}); give the model as safetensors"
        ) from None
    check_gguf_weights(read, file, label)
    config = copy.deepcopy(read.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = type(read).from_pretrained(
        None, config=config, state_dict=read.state_dict(), trust_remote_code=False, **options
    )
    plain.generation_config = read.generation_config
    return plain


def check_gguf_weights(network: PreTrainedModel, file: Path, label: str) -> None:
    """Refuse a network any of whose weights is not in its GGUF file, or a block's that it leaves.

    transformers draws weights that it does not find at random, and passes over those that it has
    no place for.

    Parameters
    ----------
    network
        What transformers made of the file.
    file
        The file.
    label
        Checkpoint to name in errors.

    Raises
    ------
    EmodriftError
        See :func:`emodrift.models.weights.check_loaded`.
    """
    header = read_header(file)
    processor = TENSOR_PROCESSORS.get(header.values["general.architecture"], TensorProcessor)
    places = get_gguf_hf_weights_map(network, processor(config=network.config.to_dict()))
    there = {places[name] for name in header.tensors if name in places}
    tied = set(network.all_tied_weights_keys)
    found = {
        "missing_keys": sorted({*places.values()} - there - tied),
        "unexpected_keys": [n for n in header.tensors if n not in places and ROTARY not in n],
        "mismatched_keys": (),
    }
    check_loaded(network, found, label, "head")


def save_plain(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model and its tokenizer as an ordinary checkpoint directory.

    Parameters
    ----------
    network
        A model of :func:`load_gguf` or any other that is not quantised.
    tokenizer
        Its tokenizer, chat template included.
    folder
        The directory to write.
    """
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
