"""Responses of one checkpoint: how likely each class of reply is, unsteered and steered.

A prompt and all reply phrasings are packed in one row as a tree: every phrasing is a branch that
sees the prompt and itself, so one forward pass scores all classes. Blocks up to the steered layer
run once per prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from emodrift.contrasts.dataset import Record, load_prompts, load_replies
from emodrift.measure.arrays import save_array
from emodrift.models.loading import LanguageModel
from emodrift.models.prompts import (
    TokenIds,
    check_lengths,
    encode_prompts,
    encode_replies,
)
from emodrift.models.residual import record_residual, resume_residual, steer_residual

PROMPT_LABELS = ("id", "suite", "split", "family")


class Tree(NamedTuple):
    """Reply phrasings as branches behind a prompt.

    ids, branch, offset, parent: (token,) token id, branch number from 1, place in the branch, and
    the column of the token before it (-1: the prompt's last). reply_class: (branch,).
    """

    ids: Tensor
    branch: Tensor
    offset: Tensor
    parent: Tensor
    reply_class: Tensor


class Packed(NamedTuple):
    """Rows of left-padded prompts, each with the tree behind it.

    ids, positions: (row, token); mask: (row, 1, token, token) additive; width: prompt columns;
    starts: (row,) first column that is no padding.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    width: int
    starts: Tensor


def measure_responses(
    model: LanguageModel,
    steering: dict[str, Any],
    prompt_format: str,
    plain_prompt: str,
    phrasing_score: str,
    batch_tokens: int,
    contrasts: Path,
    directions: xr.DataArray,
    out: Path,
    label: str,
) -> None:
    """Score all prompts unsteered, and a spread of them under every locked direction.

    Writes ``responses.zarr``: ``score`` (prompt, reply_class) and ``steered_score`` (direction,
    strength, steered_prompt, reply_class) in nats, ``residual_norm`` at the steered layer.

    Parameters
    ----------
    model
        The checkpoint.
    steering, prompt_format, plain_prompt, phrasing_score, batch_tokens
        Config values.
    contrasts
        Entry of the contrast data.
    directions
        (direction, hidden), the locked unit vectors, with ``name`` and the scalar ``layer``.
    out, label
        See :class:`emodrift.store.job.Job`.
    """
    prompts = load_prompts(contrasts)
    encoded = encode_prompts(model, (p["prompt"] for p in prompts), prompt_format, plain_prompt)
    classes = encode_replies(model, load_replies(contrasts), prompt_format)
    tree = grow_tree(classes)
    longest = max(max(map(len, ids)) for ids in classes.values())
    check_lengths(model, [ids + [0] * longest for ids in encoded], label)

    baseline = score_prompts(model, encoded, tree, phrasing_score, batch_tokens, label)
    chosen = choose_spread(prompts, steering["prompts_per_cell"])
    layer = int(directions["layer"])
    steered, norm = score_steered(
        model,
        [encoded[i] for i in chosen],
        tree,
        torch.from_numpy(directions.values),
        layer,
        steering["strengths"],
        steering["positions"],
        phrasing_score,
        batch_tokens,
        label,
    )
    names = np.array(list(classes), dtype=object)
    dataset = xr.Dataset(
        {
            "score": (("prompt", "reply_class"), baseline),
            "steered_score": (("direction", "strength", "steered_prompt", "reply_class"), steered),
            "residual_norm": norm,
        },
        coords={
            "reply_class": names,
            "direction": directions["name"].values,
            "strength": np.array(steering["strengths"], np.float64),
            "layer": layer,
            **_label("prompt", "", prompts),
            **_label("steered_prompt", "steered_", [prompts[i] for i in chosen]),
        },
    )
    save_array(dataset, out / "responses.zarr")


def grow_tree(classes: dict[str, list[TokenIds]]) -> Tree:
    """Lay out every phrasing of every class as a branch."""
    ids, branch, offset, parent, owner = [], [], [], [], []
    for number, phrasings in enumerate(classes.values()):
        for phrasing in phrasings:
            owner.append(number)
            for place, token in enumerate(phrasing):
                parent.append(len(ids) - 1 if place else -1)
                ids.append(token)
                branch.append(len(owner))
                offset.append(place)
    return Tree(*(torch.tensor(column) for column in (ids, branch, offset, parent, owner)))


def pack_rows(encoded: Sequence[TokenIds], tree: Tree, dtype: torch.dtype) -> Packed:
    """Left-pad prompts and put the tree behind each.

    Parameters
    ----------
    encoded
        Prompts' token ids.
    tree
        The replies.
    dtype
        Of the additive mask: the model's.
    """
    width = max(map(len, encoded))
    rows, behind = len(encoded), len(tree.ids)
    starts = torch.tensor([width - len(ids) for ids in encoded])
    ids = torch.zeros(rows, width + behind, dtype=torch.long)
    for i, prompt in enumerate(encoded):
        ids[i, starts[i] : width] = torch.tensor(prompt)
    ids[:, width:] = tree.ids
    lengths = width - starts
    positions = torch.cat(
        [
            (torch.arange(width) - starts[:, None]).clamp_min(0),
            lengths[:, None] + tree.offset,
        ],
        dim=1,
    )
    branch = torch.cat([torch.zeros(width, dtype=torch.long), tree.branch])
    column = torch.arange(width + behind)
    visible = (column[:, None] >= column) & ((branch == 0) | (branch[:, None] == branch))
    real = column >= starts[:, None]
    visible = (visible & real[:, None]) | torch.eye(width + behind, dtype=torch.bool)
    mask = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
    return Packed(ids, positions, mask[:, None], width, starts)


def score_prompts(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    tree: Tree,
    phrasing_score: str,
    batch_tokens: int,
    label: str,
) -> np.ndarray:
    """Unsteered class scores.

    Returns
    -------
    np.ndarray
        (prompt, reply_class), float32, nats.
    """
    scores = np.empty((len(encoded), int(tree.reply_class.max()) + 1), np.float32)
    progress = tqdm(total=len(encoded), desc=f"{label}, prompts", unit="prompt", mininterval=5)
    with torch.inference_mode():
        for rows in _chunk_by_length(encoded, len(tree.ids), batch_tokens):
            packed = pack_rows([encoded[i] for i in rows], tree, model.network.dtype)
            logits = _run(model, packed, tree)
            scores[rows] = score_classes(logits, tree, phrasing_score).cpu().numpy()
            progress.update(len(rows))
    progress.close()
    return scores


def score_steered(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    tree: Tree,
    directions: Tensor,
    layer: int,
    strengths: Sequence[float],
    positions: str,
    phrasing_score: str,
    batch_tokens: int,
    label: str,
) -> tuple[np.ndarray, float]:
    """Class scores with each direction added at each strength.

    Parameters
    ----------
    model, encoded, tree, phrasing_score, batch_tokens, label
        As in :func:`score_prompts`.
    directions
        (direction, hidden), unit vectors.
    layer
        Layer that is steered.
    strengths
        In units of the mean residual norm at the reply point of these prompts.
    positions
        ``reply``: from the reply point on; ``all``: every token.

    Returns
    -------
    scores : np.ndarray
        (direction, strength, prompt, reply_class), float32, nats.
    norm : float
        The mean residual norm.
    """
    norm = _measure_norm(model, encoded, tree, layer, batch_tokens)
    conditions = [(d, s) for d in range(len(directions)) for s in range(len(strengths))]
    additions = torch.stack([norm * strengths[s] * directions[d] for d, s in conditions])
    scores = np.empty((len(conditions), len(encoded), int(tree.reply_class.max()) + 1), np.float32)
    total = len(conditions) * len(encoded)
    progress = tqdm(total=total, desc=f"{label}, steered", unit="reply", mininterval=5)
    with torch.inference_mode():
        for rows in _chunk_by_length(encoded, len(tree.ids), batch_tokens):
            packed = pack_rows([encoded[i] for i in rows], tree, model.network.dtype)
            with record_residual(model) as residual:
                _run(model, packed, tree)
            below = residual[layer]
            at_a_time = max(1, batch_tokens // packed.ids.numel())
            for first in range(0, len(conditions), at_a_time):
                some = additions[first : first + at_a_time].to(model.device)
                logits = _run_steered(model, packed, tree, layer, below, some, positions)
                values = score_classes(logits, tree, phrasing_score).cpu().numpy()
                values = values.reshape(len(some), len(rows), -1)
                scores[first : first + len(some), rows] = values
                progress.update(values.shape[0] * values.shape[1])
    progress.close()
    shape = (len(directions), len(strengths), len(encoded), scores.shape[-1])
    return scores.reshape(shape), norm


def score_classes(logits: Tensor, tree: Tree, phrasing_score: str) -> Tensor:
    """Class scores from the logits that predict each token of the tree.

    A phrasing's score is the mean (or sum) of its tokens' log-probabilities; a class's score the
    log of the mean likelihood of its phrasings.

    Parameters
    ----------
    logits
        (row, token, vocabulary).
    tree
        The replies.
    phrasing_score
        ``mean`` or ``sum``.

    Returns
    -------
    Tensor
        (row, reply_class), nats.
    """
    ids = tree.ids.to(logits.device)
    logp = logits.float().log_softmax(-1)
    logp = logp.gather(-1, ids[None, :, None].expand(len(logits), -1, 1))[..., 0]
    member = torch.nn.functional.one_hot(tree.branch - 1).float().to(logits.device)
    if phrasing_score == "mean":
        member = member / member.sum(0)
    phrasing = logp @ member
    owner = tree.reply_class
    return torch.stack(
        [
            phrasing[:, owner == c].logsumexp(-1) - float((owner == c).sum().log())
            for c in range(int(owner.max()) + 1)
        ],
        dim=-1,
    )


def choose_spread(prompts: Sequence[Record], per_cell: int) -> list[int]:
    """Rows of a spread of prompts: per suite and split, its families in turn."""
    cells: dict[tuple[str, str], dict[str, list[int]]] = {}
    for row, prompt in enumerate(prompts):
        families = cells.setdefault((prompt["suite"], prompt["split"]), {})
        families.setdefault(prompt["family"], []).append(row)
    chosen = []
    for families in cells.values():
        in_turn = sorted((place, n) for rows in families.values() for place, n in enumerate(rows))
        chosen += sorted(row for _, row in in_turn[:per_cell])
    return chosen


def _run(model: LanguageModel, packed: Packed, tree: Tree) -> Tensor:
    device = model.device
    predicting = torch.where(tree.parent < 0, packed.width - 1, packed.width + tree.parent)
    return model.network(
        input_ids=packed.ids.to(device),
        attention_mask=packed.mask.to(device),
        position_ids=packed.positions.to(device),
        use_cache=False,
        logits_to_keep=predicting.to(device),
    ).logits


def _run_steered(
    model: LanguageModel,
    packed: Packed,
    tree: Tree,
    layer: int,
    below: Tensor,
    additions: Tensor,
    positions: str,
) -> Tensor:
    column = torch.arange(packed.ids.shape[1])
    first = (
        torch.full_like(packed.starts, packed.width - 1) if positions == "reply" else packed.starts
    )
    steered = (column >= first[:, None]).to(additions)
    addition = (additions[:, None, None] * steered[None, :, :, None]).flatten(0, 1)
    copies = len(additions)
    repeated = Packed(
        packed.ids.repeat(copies, 1),
        packed.positions.repeat(copies, 1),
        packed.mask.repeat(copies, 1, 1, 1),
        packed.width,
        packed.starts.repeat(copies),
    )
    if layer == 0:
        with steer_residual(model, 0, addition):
            return _run(model, repeated, tree)
    hidden = below.repeat(copies, 1, 1) + addition.to(below.dtype)
    with resume_residual(model, layer, hidden):
        return _run(model, repeated, tree)


@torch.inference_mode()
def _measure_norm(
    model: LanguageModel, encoded: Sequence[TokenIds], tree: Tree, layer: int, batch_tokens: int
) -> float:
    norms = []
    with record_residual(model) as residual:
        for rows in _chunk_by_length(encoded, len(tree.ids), batch_tokens):
            packed = pack_rows([encoded[i] for i in rows], tree, model.network.dtype)
            _run(model, packed, tree)
            norms += residual[layer][:, packed.width - 1].float().norm(dim=-1).tolist()
    return float(np.mean(norms))


def _chunk_by_length(
    encoded: Sequence[TokenIds], behind: int, batch_tokens: int
) -> list[list[int]]:
    order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
    chunks = []
    while order:
        size = max(1, batch_tokens // (len(encoded[order[0]]) + behind))
        chunks.append(order[:size])
        order = order[size:]
    return chunks


def _label(dim: str, prefix: str, prompts: Sequence[Record]) -> dict[str, Any]:
    return {
        prefix + name: (dim, np.array([p[name] for p in prompts], dtype=object))
        for name in PROMPT_LABELS
    }
