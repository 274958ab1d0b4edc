"""Loading a checkpoint: weights, tokenizer, and access to its residual stream."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from emodrift.errors import EmodriftError

PROBE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LanguageModel:
    """A loaded checkpoint.

    Parameters
    ----------
    network
        The causal language model, in evaluation mode, without gradients.
    tokenizer
        Its tokenizer.
    blocks
        Its decoder blocks; the output of ``blocks[k - 1]`` is layer k of the residual stream, the
        input of ``blocks[0]`` is layer 0.
    blocks_return_tuples
        Whether a block's output is a tuple that starts with the residual stream.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    blocks: nn.ModuleList
    blocks_return_tuples: bool = False

    @property
    def device(self) -> torch.device:
        """Where the input goes."""
        return self.network.device

    @property
    def layers(self) -> int:
        """Hidden states there are: embeddings and the output of every block."""
        return len(self.blocks) + 1

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return self.network.config.get_text_config().hidden_size


def load_model(
    location: dict[str, Any], loading: dict[str, Any], dtype: str, label: str
) -> LanguageModel:
    """Load a checkpoint and verify that its residual stream is read where it is thought to be.

    Parameters
    ----------
    location
        ``{"path"}`` or ``{"repo", "commit", "subfolder"}``, and for adapters ``"base"``. With
        ``"initialise"``, a seed, the weights are random and only the shape is the checkpoint's.
    loading
        The `compute` section: device, allow_pickle.
    dtype
        ``auto`` or a torch dtype's name.
    label
        Checkpoint to name in errors.

    Raises
    ------
    EmodriftError
        Weights hold NaN or infinity, cannot be read, or the blocks cannot be found.
    """
    device = _choose_device(loading["device"])
    options = {
        "dtype": _choose_dtype(dtype, device),
        "use_safetensors": None if loading["allow_pickle"] else True,
        "trust_remote_code": False,
    }
    if "initialise" in location:
        network, tokenizer = _initialise(location, options)
    elif "base" in location:
        network = _load_adapter(location, options)
        tokenizer = AutoTokenizer.from_pretrained(*_split_base(location["base"]))
    else:
        where, revision = _locate(location)
        network = AutoModelForCausalLM.from_pretrained(where, **revision, **options)
        tokenizer = AutoTokenizer.from_pretrained(where, **revision)
    network = network.to(device).eval().requires_grad_(False)
    _refuse_broken_weights(network, label)
    model = verify_blocks(LanguageModel(network, tokenizer, find_blocks(network, label)), label)
    logging.info("%s: loaded on %s as %s", label, device, network.dtype)
    return model


def find_blocks(network: PreTrainedModel, label: str) -> nn.ModuleList:
    """The list of decoder blocks, recognised by its length.

    Raises
    ------
    EmodriftError
        No list of modules has as many members as the config has layers.
    """
    depth = network.config.get_text_config().num_hidden_layers
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise EmodriftError(
        f"{label}: {type(network).__name__} has no list of {depth} decoder blocks; "
        "this architecture is not supported"
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


def _initialise(location: dict[str, Any], options: dict[str, Any]) -> tuple[Any, Any]:
    if "base" in location:
        (where,), revision = _split_base(location["base"]), {}
    else:
        where, revision = _locate(location)
    config = AutoConfig.from_pretrained(where, **revision)
    dtype = torch.float32 if options["dtype"] == "auto" else options["dtype"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(location["initialise"])
        network = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return network, AutoTokenizer.from_pretrained(where, **revision)


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise EmodriftError(f"compute.device is {device!r} but torch sees no GPU; set cpu or auto")
    return torch.device(device)


def _choose_dtype(dtype: str, device: torch.device) -> torch.dtype | str:
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return getattr(torch, dtype)


def _refuse_broken_weights(network: PreTrainedModel, label: str) -> None:
    for name, weight in network.named_parameters():
        if not torch.isfinite(weight).all():
            raise EmodriftError(
                f"{label}: weight {name} holds NaN or infinity; the checkpoint is broken: "
                "drop it from the run, or copy it again"
            )


@torch.inference_mode()
def verify_blocks(model: LanguageModel, label: str) -> LanguageModel:
    """Check on a probe that the blocks give what ``output_hidden_states`` gives.

    Returns
    -------
    LanguageModel
        The model, with what was seen of its blocks' output.

    Raises
    ------
    EmodriftError
        They differ.
    """
    vocabulary = model.network.config.get_text_config().vocab_size
    probe = torch.arange(1, 7, device=model.device)[None] % vocabulary
    outputs: dict[int, Any] = {}
    handles = [
        block.register_forward_hook(lambda _m, _a, output, k=k: outputs.__setitem__(k, output))
        for k, block in enumerate(model.blocks, 1)
    ]
    try:
        states = model.network(probe, output_hidden_states=True, use_cache=False).hidden_states
    finally:
        for handle in handles:
            handle.remove()
    tuples = isinstance(outputs[1], tuple)
    for layer in range(1, len(model.blocks)):
        ours = (outputs[layer][0] if tuples else outputs[layer]).float()
        theirs = states[layer].float()
        if (ours - theirs).norm() > PROBE_TOLERANCE * theirs.norm() + 1e-6:
            raise EmodriftError(
                f"{label}: layer {layer} read at the blocks of {type(model.network).__name__} "
                "differs from its output_hidden_states; this architecture is not supported"
            )
    return replace(model, blocks_return_tuples=tuples)
