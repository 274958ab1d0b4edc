"""Finding a network's decoder blocks, and proof that the residual stream flows through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from emodrift.errors import EmodriftError
from emodrift.models.language_model import find_device

EXACT_TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
PROBE_LENGTH = 6


def make_probe(network: PreTrainedModel, start: float) -> dict[str, Tensor]:
    """Input of a short forward pass: token ids from a place in the vocabulary on, all of them real.

    Parameters
    ----------
    network
        The network.
    start
        Place in the vocabulary, from 0 to 1, away from the special tokens.
    """
    device = find_device(network)
    size = network.config.get_text_config().vocab_size
    ids = (torch.arange(PROBE_LENGTH, device=device)[None] * 3 + int(start * size)) % size
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def find_blocks(network: PreTrainedModel, label: str, path: str | None = None) -> nn.ModuleList:
    """The list of decoder blocks whose outputs are the network's hidden states.

    Parameters
    ----------
    network
        The network.
    label
        Checkpoint to name in errors.
    path
        Config: `compute.blocks`. Left out, every list of modules that is as long as the config has
        layers is tried.

    Raises
    ------
    EmodriftError
        There is no such list, or what is read there differs from ``output_hidden_states``.
    """
    candidates = _list_candidates(network)
    if path is not None:
        found = dict(network.named_modules()).get(path)
        if not isinstance(found, nn.ModuleList):
            raise EmodriftError(
                f"{label}: compute.blocks names {path!r}, which is no list of modules of "
                f"{type(network).__name__}; {_name_lists(network)}"
            )
        candidates = {path: found}
    problems = []
    for name, blocks in candidates.items():
        problem = check_reading(network, blocks)
        if problem is None:
            return blocks
        problems.append(f"{name}: {problem}")
    if path is not None:
        raise EmodriftError(
            f"{label}: compute.blocks {problems[0]}; drop the key or name the list of decoder "
            f"blocks of {type(network).__name__} ({_name_lists(network)})"
        )
    depth = network.config.get_text_config().num_hidden_layers
    raise EmodriftError(
        f"{label}: no list of {depth} modules of {type(network).__name__} gives its hidden states"
        + (f" ({'; '.join(problems)})" if problems else "")
        + f"; if another list holds its decoder blocks, name it with compute.blocks "
        f"({_name_lists(network)}), else this architecture is not supported"
    )


@torch.inference_mode()
def check_reading(network: PreTrainedModel, blocks: nn.ModuleList) -> str | None:
    """What is wrong with reading the residual stream at these blocks; None if it is right.

    Every layer but the last is compared with ``output_hidden_states``, whose last member usually
    has a norm behind it; for the last layer see
    :func:`emodrift.models.verification.verify_blocks`. Some networks (Mamba) leave out the input of
    the first block and give the last block's output without and with the norm.
    """
    seen: dict[int, tuple[Any, Any]] = {}

    def see(layer: int, state: Any) -> None:
        state = state[0] if isinstance(state, tuple) else state
        seen[layer] = (state, state.clone() if isinstance(state, Tensor) else state)

    def see_input(_module: nn.Module, args: Any, kwargs: Any) -> None:
        see(0, args[0] if args else kwargs.get("hidden_states"))

    handles = [blocks[0].register_forward_pre_hook(see_input, with_kwargs=True)]
    for layer, block in enumerate(blocks, 1):
        handles.append(block.register_forward_hook(lambda _m, _a, out, k=layer: see(k, out)))
    try:
        probe = make_probe(network, 0.4)
        states = network(**probe, output_hidden_states=True, use_cache=False).hidden_states
    finally:
        for handle in handles:
            handle.remove()
    if len(states) != len(blocks) + 1:
        return f"it has {len(blocks)} members, the network {len(states)} hidden states"
    shape = (1, PROBE_LENGTH, network.config.get_text_config().hidden_size)
    for layer in range(len(blocks) + 1):
        if layer not in seen:
            return f"member {max(layer - 1, 0)} is not called in a forward pass"
        now, then = seen[layer]
        if not isinstance(now, Tensor) or now.shape != shape:
            given = tuple(now.shape) if isinstance(now, Tensor) else type(now).__name__
            return f"layer {layer} is {given}, not a residual stream of shape {shape}"
        if not torch.equal(now, then):
            return f"layer {layer} is changed in place after it was read"
    read = [seen[layer][0] for layer in range(len(blocks) + 1)]
    differing = _find_difference(read, states)
    if differing is not None and _find_difference(read[1:], states) is not None:
        return f"layer {differing} differs from output_hidden_states"
    return None


def _find_difference(read: Sequence[Tensor], states: Sequence[Tensor]) -> int | None:
    pairs = zip(read, states[:-1], strict=False)
    return next(
        (place for place, (a, b) in enumerate(pairs) if not is_close(a, b, EXACT_TOLERANCE)), None
    )


def find_tolerance(network: PreTrainedModel) -> float:
    """Relative difference that two ways to the same end may have in a network's data types."""
    exact = all(weight.dtype == torch.float32 for weight in network.parameters())
    return EXACT_TOLERANCE if exact else HALF_TOLERANCE


def is_close(found: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether the norm of a difference is within a tolerance of the expected norm."""
    found, expected = found.float().cpu(), expected.float().cpu()
    return bool((found - expected).norm() <= tolerance * expected.norm() + 1e-6)


def _list_candidates(network: PreTrainedModel) -> dict[str, nn.ModuleList]:
    depth = network.config.get_text_config().num_hidden_layers
    lists = _list_module_lists(network)
    return {name: blocks for name, blocks in lists.items() if len(blocks) == depth}


def _list_module_lists(network: PreTrainedModel) -> dict[str, nn.ModuleList]:
    return {n: m for n, m in network.named_modules() if isinstance(m, nn.ModuleList) and len(m)}


def _name_lists(network: PreTrainedModel) -> str:
    lists = [f"{name} ({len(m)})" for name, m in _list_module_lists(network).items()]
    outer = [entry for entry in lists if not any(part.isdigit() for part in entry.split("."))]
    return f"lists of modules in it: {', '.join(outer or lists[:8]) or 'none'}"
