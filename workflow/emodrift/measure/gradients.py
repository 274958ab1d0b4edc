"""Gradients of behaviour metrics with respect to the residual stream, at every layer.

One backward pass for each prompt and metric of its suite tells how the metric moves along *any*
direction: the slope along a unit vector is a dot product. The same pass scores the replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from emodrift.contrasts.dataset import Record
from emodrift.measure.arrays import PROMPT_LABELS, label_prompts
from emodrift.measure.trees import (
    Tree,
    chunk_rows,
    encode_tree,
    mark_steered,
    pack_rows,
    run_packed,
    score_classes,
)
from emodrift.models.loading import LanguageModel
from emodrift.models.prompts import TokenIds, check_lengths, encode_prompts
from emodrift.models.residual import recompute_blocks, record_residual, track_gradients


class Derivatives(NamedTuple):
    """Class scores and metric gradients of prompts.

    scores: (prompt, reply_class) nats. gradients: (target, layer, hidden), nats for a step of one
    mean residual norm. norms: (layer,) that norm, at the reply point.
    """

    scores: np.ndarray
    gradients: np.ndarray
    norms: np.ndarray


def measure_gradients(
    model: LanguageModel,
    records: Sequence[Record],
    reading: Mapping[str, Any],
    replies: Mapping[str, Sequence[str]],
    batch_tokens: int,
    recompute: bool,
    label: str,
) -> xr.Dataset:
    """Scores of all replies, and the gradient of every metric of a prompt's suite.

    Parameters
    ----------
    model
        The checkpoint.
    records
        Behaviour prompts.
    reading
        ``prompt_format``, ``plain_prompt``, ``phrasing_score``, ``positions``, and ``toward``:
        suite -> reply classes that its metrics count.
    replies
        Reply class -> phrasings.
    batch_tokens, recompute
        Config: `compute`.
    label
        Checkpoint and part, for progress and errors.

    Returns
    -------
    xr.Dataset
        ``score`` (prompt, reply_class), nats; ``gradient`` (target, layer, hidden): change of the
        log-odds of the target's reply class, against all others, when a vector of the mean residual
        norm is added along each axis at the steered positions; ``residual_norm`` (layer). A target
        is a prompt and a reply class, ``toward``.
    """
    prompts = (r["prompt"] for r in records)
    encoded = encode_prompts(model, prompts, reading["prompt_format"], reading["plain_prompt"])
    tree, names = encode_tree(model, replies, reading["prompt_format"])
    check_lengths(model, [[*ids, *[0] * tree.depth] for ids in encoded], label)
    targets = [
        (row, names.index(toward))
        for row, record in enumerate(records)
        for toward in reading["toward"].get(record["suite"], ())
    ]
    found = differentiate_prompts(
        model,
        encoded,
        tree,
        targets,
        reading["positions"],
        reading["phrasing_score"],
        batch_tokens,
        recompute,
        label,
    )
    of_target = [records[row] for row, _ in targets]
    toward = np.array([names[number] for _, number in targets], dtype=object)
    return xr.Dataset(
        {
            "score": (("prompt", "reply_class"), found.scores),
            "gradient": (("target", "layer", "hidden"), found.gradients),
            "residual_norm": (("layer",), found.norms),
        },
        coords={
            "reply_class": np.array(names, dtype=object),
            "layer": np.arange(model.layers),
            "toward": ("target", toward),
            **label_prompts("prompt", records, PROMPT_LABELS),
            **label_prompts("target", of_target, PROMPT_LABELS, "target_"),
        },
    )


def differentiate_prompts(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    tree: Tree,
    targets: Sequence[tuple[int, int]],
    positions: str,
    phrasing_score: str,
    batch_tokens: int,
    recompute: bool,
    label: str,
) -> Derivatives:
    """Score prompts, and differentiate their targets.

    Rows with as many targets share a batch, so that a batch costs one forward pass and as many
    backward passes as each of its rows has targets.

    Parameters
    ----------
    model
        The checkpoint.
    encoded
        Prompts' token ids.
    tree
        The replies.
    targets
        (target,) prompt's row and reply class's number.
    positions
        ``reply``: gradients are summed from the reply point on; ``all``: over every token.
    phrasing_score, batch_tokens, recompute, label
        As in :func:`measure_gradients`.
    """
    wanted: list[list[int]] = [[] for _ in encoded]
    for number, (row, _) in enumerate(targets):
        wanted[row].append(number)
    reply_class = torch.tensor([number for _, number in targets])
    scores = np.empty((len(encoded), tree.classes), np.float32)
    gradients = np.empty((len(targets), model.layers, model.hidden), np.float32)
    norms = np.zeros(model.layers)
    progress = tqdm(total=len(encoded), desc=f"{label}, prompts", unit="prompt", mininterval=5)
    for count in sorted({len(numbers) for numbers in wanted}):
        group = [row for row, numbers in enumerate(wanted) if len(numbers) == count]
        for rows in chunk_rows([encoded[i] for i in group], tree, batch_tokens):
            rows = [group[i] for i in rows]
            packed = pack_rows([encoded[i] for i in rows], tree, model.network.dtype)
            steered = mark_steered(packed, positions)
            with (
                torch.set_grad_enabled(count > 0),
                track_gradients(model),
                recompute_blocks(model, recompute),
                record_residual(model) as residual,
            ):
                logits = run_packed(model, packed, tree)
                found = score_classes(logits, tree, phrasing_score)
                states = [residual[layer] for layer in range(model.layers)]
                odds = compute_odds(found)
                for turn in range(count):
                    numbers = [wanted[row][turn] for row in rows]
                    picked = odds[torch.arange(len(rows)), reply_class[numbers]]
                    slopes = torch.autograd.grad(
                        picked.sum(), states, retain_graph=turn + 1 < count
                    )
                    for layer, slope in enumerate(slopes):
                        gradients[numbers, layer] = _sum_over(slope, steered)
            scores[rows] = found.detach().cpu().numpy()
            for layer, state in enumerate(states):
                at_reply = state.detach()[:, packed.width - 1].float()
                norms[layer] += float(at_reply.norm(dim=-1).sum())
            progress.update(len(rows))
    progress.close()
    norms = (norms / len(encoded)).astype(np.float32)
    return Derivatives(scores, gradients * norms[:, None], norms)


def compute_odds(scores: Tensor) -> Tensor:
    """Log-odds of each class against all others, nats, from class scores (row, reply_class)."""
    classes = scores.shape[-1]
    own = torch.eye(classes, dtype=torch.bool, device=scores.device)
    others = scores[:, None].expand(-1, classes, -1).masked_fill(own, -torch.inf)
    return scores - others.logsumexp(-1)


def _sum_over(slope: Tensor, steered: Tensor) -> np.ndarray:
    weights = steered.to(slope.device).float()
    return torch.einsum("rt,rth->rh", weights, slope.float()).cpu().numpy()
