"""Responses of one checkpoint under steering: how likely each class of reply becomes.

Every locked direction is added at every strength to a spread of prompts. Blocks up to the steered
layer run once per prompt, for all directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from emodrift.contrasts.dataset import Record, load_prompts, load_replies
from emodrift.measure.arrays import PROMPT_LABELS, label_prompts, save_array
from emodrift.measure.trees import (
    Packed,
    Tree,
    chunk_rows,
    encode_tree,
    mark_steered,
    pack_rows,
    run_packed,
    score_classes,
)
from emodrift.models.loading import LanguageModel
from emodrift.models.prompts import TokenIds, encode_prompts
from emodrift.models.residual import record_residual, resume_residual, steer_residual


def measure_responses(
    model: LanguageModel,
    steering: dict[str, Any],
    prompt_format: str,
    plain_prompt: str,
    phrasing_score: str,
    batch_tokens: int,
    contrasts: Path,
    directions: xr.DataArray,
    norms: xr.DataArray,
    out: Path,
    label: str,
) -> None:
    """Score a spread of prompts under every locked direction.

    Writes ``responses.zarr``: ``steered_score`` (direction, strength, prompt, reply_class) in nats,
    and ``residual_norm``, the unit of strength.

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
    norms
        (layer,) mean residual norm at the reply point of all prompts.
    out, label
        See :class:`emodrift.store.job.Job`.
    """
    prompts = load_prompts(contrasts)
    chosen = [prompts[i] for i in choose_spread(prompts, steering["prompts_per_cell"])]
    encoded = encode_prompts(model, (p["prompt"] for p in chosen), prompt_format, plain_prompt)
    tree, classes = encode_tree(model, load_replies(contrasts), prompt_format)
    layer = int(directions["layer"])
    norm = float(norms.sel(layer=layer))
    steered = score_steered(
        model,
        encoded,
        tree,
        torch.from_numpy(directions.values),
        layer,
        [norm * strength for strength in steering["strengths"]],
        steering["positions"],
        phrasing_score,
        batch_tokens,
        label,
    )
    dataset = xr.Dataset(
        {
            "steered_score": (("direction", "strength", "prompt", "reply_class"), steered),
            "residual_norm": norm,
        },
        coords={
            "reply_class": np.array(classes, dtype=object),
            "direction": directions["name"].values,
            "strength": np.array(steering["strengths"], np.float64),
            "layer": layer,
            **label_prompts("prompt", chosen, PROMPT_LABELS),
        },
    )
    save_array(dataset, out / "responses.zarr")


def score_steered(
    model: LanguageModel,
    encoded: Sequence[TokenIds],
    tree: Tree,
    directions: Tensor,
    layer: int,
    lengths: Sequence[float],
    positions: str,
    phrasing_score: str,
    batch_tokens: int,
    label: str,
) -> np.ndarray:
    """Class scores with each direction added at each length.

    Parameters
    ----------
    model
        The checkpoint.
    encoded
        Prompts' token ids.
    tree
        The replies.
    directions
        (direction, hidden), unit vectors.
    layer
        Layer that is steered.
    lengths
        Lengths of the added vectors, in units of the residual stream; negative ones turn them.
    positions
        ``reply``: from the reply point on; ``all``: every token.
    phrasing_score
        See :func:`emodrift.measure.trees.score_classes`.
    batch_tokens
        Tokens per batch.
    label
        Checkpoint, for progress.

    Returns
    -------
    np.ndarray
        (direction, strength, prompt, reply_class), float32, nats.
    """
    additions = torch.einsum("dh,s->dsh", directions, torch.tensor(lengths).to(directions))
    additions = additions.flatten(0, 1)
    scores = np.empty((len(additions), len(encoded), tree.classes), np.float32)
    total = len(additions) * len(encoded)
    progress = tqdm(total=total, desc=f"{label}, steered", unit="reply", mininterval=5)
    with torch.inference_mode():
        for rows in chunk_rows(encoded, tree, batch_tokens):
            packed = pack_rows([encoded[i] for i in rows], tree, model.network.dtype)
            with record_residual(model) as residual:
                run_packed(model, packed, tree)
            below = residual[layer]
            at_a_time = max(1, batch_tokens // packed.ids.numel())
            for first in range(0, len(additions), at_a_time):
                some = additions[first : first + at_a_time].to(model.device)
                logits = _run_steered(model, packed, tree, layer, below, some, positions)
                values = score_classes(logits, tree, phrasing_score).cpu().numpy()
                values = values.reshape(len(some), len(rows), -1)
                scores[first : first + len(some), rows] = values
                progress.update(values.shape[0] * values.shape[1])
    progress.close()
    return scores.reshape(len(directions), len(lengths), len(encoded), tree.classes)


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


def _run_steered(
    model: LanguageModel,
    packed: Packed,
    tree: Tree,
    layer: int,
    below: Tensor,
    additions: Tensor,
    positions: str,
) -> Tensor:
    steered = mark_steered(packed, positions).to(additions)
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
            return run_packed(model, repeated, tree)
    hidden = below.repeat(copies, 1, 1) + addition.to(below.dtype)
    with resume_residual(model, layer, hidden):
        return run_packed(model, repeated, tree)
