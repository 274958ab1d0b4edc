"""What is proved on a probe when a checkpoint is loaded, before anything is measured with it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from emodrift.errors import EmodriftError
from emodrift.models.blocks import PROBE_LENGTH, find_tolerance, is_close, make_probe
from emodrift.models.language_model import LanguageModel
from emodrift.models.masks import shape_masks
from emodrift.models.residual import (
    predict_from,
    record_residual,
    resume_residual,
    steer_residual,
)


@torch.inference_mode()
def verify_blocks(model: LanguageModel, label: str) -> LanguageModel:
    """Prove that the residual stream can be steered, resumed, read out and packed in trees.

    The blocks are those of :func:`emodrift.models.blocks.find_blocks`, where reading is proved for
    all layers but the last. Here, with another text's last layer in the place of its own, a text
    must give the other's logits: so the last layer is the whole input of the read-out, whatever
    norm lies behind it. At three depths, a pass that resumes from a steered residual stream must
    equal a pass that is steered by a hook; if it does not, no block is passed over later. Two
    replies packed behind a prompt must give what they give alone; if they do not, replies are not
    packed. Last, padding behind a text must not change it.

    Returns
    -------
    LanguageModel
        The model, with what was seen of its blocks.

    Raises
    ------
    EmodriftError
        The read-out or the padding is not what is expected of a decoder.
    """
    kind = type(model.network).__name__
    tolerance = find_tolerance(model.network)
    one, other = (make_probe(model.network, start) for start in (0.4, 0.6))
    with record_residual(model) as residual, _count_outputs(model) as outputs:
        plain = model.network(**one, use_cache=False).logits
        states = {layer: state.clone() for layer, state in residual.items()}
        expected = model.network(**other, use_cache=False).logits
        last = residual[model.layers - 1].clone()
    model = replace(model, block_outputs=outputs[0])
    if not is_close(predict_from(model, last), expected, tolerance):
        raise EmodriftError(
            f"{label}: the logits of {kind} do not follow from the output of its last block; if "
            "another list holds its decoder blocks, name it with compute.blocks"
        )
    layers = sorted({1, max(1, len(model.blocks) // 2), max(1, len(model.blocks) - 1)})
    for layer in layers:
        problem = _check_resuming(model, layer, states[layer], one, plain, tolerance)
        if problem == "not steered":
            raise EmodriftError(
                f"{label}: a vector added to layer {layer} of {kind} does not reach its logits; if "
                "another list holds its decoder blocks, name it with compute.blocks"
            )
        if problem:
            logging.info("%s: %s runs all blocks when it is steered (%s)", label, kind, problem)
            model = replace(model, resumes=False)
            break
    if not _packs_trees(model, one["input_ids"], tolerance):
        logging.info("%s: %s follows no mask, so that replies are not packed", label, kind)
        model = replace(model, packs=False)
    if not _ignores_padding(model, one["input_ids"], tolerance):
        raise EmodriftError(
            f"{label}: padding behind a text changes its activations in {kind}; this architecture "
            "is not supported"
        )
    return model


def _check_resuming(
    model: LanguageModel,
    layer: int,
    state: Tensor,
    probe: Mapping[str, Tensor],
    plain: Tensor,
    tolerance: float,
) -> str | None:
    generator = torch.Generator().manual_seed(layer)
    addition = torch.randn(state.shape, generator=generator).to(state)
    addition *= 0.5 * state.norm() / addition.norm()
    with steer_residual(model, layer, addition):
        steered = model.network(**probe, use_cache=False).logits
    if torch.equal(steered, plain):
        return "not steered"
    try:
        with resume_residual(model, layer, state + addition):
            resumed = model.network(**probe, use_cache=False).logits
    except Exception as error:
        return f"resuming at layer {layer} failed: {error}"
    if not is_close(resumed, steered, tolerance):
        return f"resuming at layer {layer} differs from steering there"
    return None


def _packs_trees(model: LanguageModel, ids: Tensor, tolerance: float) -> bool:
    """Four tokens, then branches of one and of one token; against each branch by itself."""
    prompt = PROBE_LENGTH - 2
    column = torch.arange(PROBE_LENGTH)
    visible = column[:, None] >= column
    visible[-1, -2] = False
    positions = column.clamp_max(prompt)[None].to(ids.device)
    with record_residual(model) as residual:
        try:
            model.network(
                input_ids=ids,
                attention_mask=shape_masks(model, visible[None].to(ids.device), positions),
                position_ids=positions,
                use_cache=False,
            )
        except (TypeError, ValueError, RuntimeError, KeyError, IndexError):
            return False
        packed = residual[model.layers - 1][0, prompt:].clone()
        alone = []
        for branch in (prompt, prompt + 1):
            row = torch.cat([ids[:, :prompt], ids[:, branch : branch + 1]], dim=1)
            model.network(input_ids=row, attention_mask=torch.ones_like(row), use_cache=False)
            alone.append(residual[model.layers - 1][0, -1].clone())
    return is_close(packed, torch.stack(alone), tolerance)


def _ignores_padding(model: LanguageModel, ids: Tensor, tolerance: float) -> bool:
    real = torch.ones_like(ids)
    real[:, -2:] = 0
    with record_residual(model) as residual:
        model.network(input_ids=ids, attention_mask=real, use_cache=False)
        padded = residual[model.layers - 1][:, :-2].clone()
        alone = ids[:, :-2]
        model.network(input_ids=alone, attention_mask=torch.ones_like(alone), use_cache=False)
        return is_close(padded, residual[model.layers - 1], tolerance)


@contextlib.contextmanager
def _count_outputs(model: LanguageModel) -> Iterator[list[int]]:
    seen: list[int] = []
    handle = model.blocks[0].register_forward_hook(
        lambda _module, _args, output: seen.append(len(output) if isinstance(output, tuple) else 0)
    )
    try:
        yield seen
    finally:
        handle.remove()
