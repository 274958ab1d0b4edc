"""The residual stream: recording every layer in one pass, and steering one layer."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from emodrift.models.language_model import LanguageModel


@contextlib.contextmanager
def record_residual(model: LanguageModel) -> Iterator[dict[int, Tensor]]:
    """Record the residual stream of every forward pass inside the block.

    Yields
    ------
    dict
        Layer -> tensor (batch, token, hidden) of the latest pass; layer 0 is the input of the
        first block, layer k the output of block k, each on the device where its block runs.
    """
    seen: dict[int, Tensor] = {}

    def record_input(_module: nn.Module, args: Any, kwargs: Any) -> None:
        seen.clear()
        seen[0] = args[0] if args else kwargs["hidden_states"]

    def record_output(layer: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            seen[layer] = _hidden_of(output)

        return hook

    with contextlib.ExitStack() as stack:
        first = model.blocks[0].register_forward_pre_hook(record_input, with_kwargs=True)
        stack.callback(first.remove)
        for layer, block in enumerate(model.blocks, 1):
            stack.callback(block.register_forward_hook(record_output(layer)).remove)
        yield seen


@contextlib.contextmanager
def steer_residual(model: LanguageModel, layer: int, addition: Tensor) -> Iterator[None]:
    """Add a tensor to one layer of the residual stream during the block.

    Parameters
    ----------
    model
        The model.
    layer
        Layer to steer (0 = embeddings).
    addition
        (batch, token, hidden), or anything that broadcasts to it; units of the residual stream.
    """

    def steer_input(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        if args:
            return (args[0] + addition.to(args[0]), *args[1:]), kwargs
        hidden = kwargs["hidden_states"]
        return args, {**kwargs, "hidden_states": hidden + addition.to(hidden)}

    def steer_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        hidden = _hidden_of(output)
        steered = hidden + addition.to(hidden)
        return (steered, *output[1:]) if isinstance(output, tuple) else steered

    handle = (
        model.blocks[0].register_forward_pre_hook(steer_input, with_kwargs=True)
        if layer == 0
        else model.blocks[layer - 1].register_forward_hook(steer_output)
    )
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def track_gradients(model: LanguageModel, layer: int = 0) -> Iterator[None]:
    """Start autograd's graph at a layer, so that weights and what lies below need no gradient.

    Enter it before :func:`record_residual`, whose tensors are then part of the graph.
    """

    def begin(hidden: Tensor) -> Tensor:
        return hidden.detach().requires_grad_(torch.is_grad_enabled())

    def begin_at_input(_module: nn.Module, args: Any, kwargs: Any) -> Any:
        if args:
            return (begin(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": begin(kwargs["hidden_states"])}

    def begin_at_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        return (begin(output[0]), *output[1:]) if isinstance(output, tuple) else begin(output)

    handle = (
        model.blocks[0].register_forward_pre_hook(begin_at_input, with_kwargs=True)
        if layer == 0
        else model.blocks[layer - 1].register_forward_hook(begin_at_output)
    )
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def recompute_blocks(model: LanguageModel, recompute: bool) -> Iterator[None]:
    """Keep only the blocks' inputs for the backward pass and run each block again there."""
    with contextlib.ExitStack() as stack:
        for block in model.blocks if recompute else ():
            again = functools.partial(checkpoint, block.forward, use_reentrant=False)
            stack.enter_context(replace_forward(block, again))
        yield


@contextlib.contextmanager
def resume_residual(model: LanguageModel, layer: int, hidden: Tensor) -> Iterator[None]:
    """Go on from a residual stream that was recorded at a layer, whatever lies below.

    Parameters
    ----------
    model
        The model. Its blocks up to the layer are passed over if it `resumes`, else their outcome is
        replaced.
    layer
        Layer, 1 or above.
    hidden
        (batch, token, hidden) residual stream at that layer.
    """
    if model.resumes:
        with _pass_over(model, layer, hidden):
            yield
        return

    def replace_output(_module: nn.Module, _args: Any, output: Any) -> Any:
        value = hidden.to(_hidden_of(output))
        return (value, *output[1:]) if isinstance(output, tuple) else value

    handle = model.blocks[layer - 1].register_forward_hook(replace_output)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def stop_residual(model: LanguageModel, layer: int) -> Iterator[None]:
    """Run only the blocks up to a layer; those above hand on what they are given.

    Parameters
    ----------
    model
        The model.
    layer
        Last layer of the residual stream that is computed.
    """

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        return _give(model, args[0] if args else kwargs["hidden_states"])

    with contextlib.ExitStack() as stack:
        for block in model.blocks[layer:]:
            stack.enter_context(replace_forward(block, hand_on))
        yield


def predict_from(model: LanguageModel, hidden: Tensor) -> Tensor:
    """Logits (batch, token, vocabulary) from the residual stream of the last layer.

    The network's own norm, LM head, scales and caps are applied, and no block runs, so that a few
    tokens' logits can be had at a time.

    Parameters
    ----------
    model
        The model.
    hidden
        (batch, token, hidden) residual stream at layer ``len(blocks)``.
    """
    ids = torch.zeros(hidden.shape[:2], dtype=torch.long, device=model.device)
    with _pass_over(model, len(model.blocks), hidden):
        return model.network(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False
        ).logits


@contextlib.contextmanager
def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Give a module another ``forward`` during the block."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


@contextlib.contextmanager
def _pass_over(model: LanguageModel, layer: int, hidden: Tensor) -> Iterator[None]:
    value = _give(model, hidden)
    with contextlib.ExitStack() as stack:
        for block in model.blocks[:layer]:
            stack.enter_context(replace_forward(block, lambda *_args, **_kwargs: value))
        yield


def _give(model: LanguageModel, hidden: Tensor) -> Tensor | tuple:
    """What a block gives whose residual stream this is."""
    return (hidden, *[None] * (model.block_outputs - 1)) if model.block_outputs else hidden


def _hidden_of(output: Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
