"""Gradients of behaviour metrics with respect to the residual stream, at every layer.

One backward pass for each prompt and metric of its suite tells how the metric moves along *any*
direction: the slope along a unit vector is a dot product. The same pass scores the replies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from emodrift.contrasts.dataset import Record
from emodrift.measure.arrays import PROMPT_LABELS, label_prompts
from emodrift.measure.dialogues import Dialogues, open_dialogues, run_rows, score_replies
from emodrift.measure.trees import Rows, mark_steered
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget, resume_within_memory
from emodrift.models.residual import recompute_blocks, track_gradients
from emodrift.store.partial import KeptRows


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
    budget: TokenBudget,
    recompute: bool,
    label: str,
    partial: Path | None = None,
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
    budget
        Tokens per batch.
    recompute
        Config: `compute.recompute_blocks`.
    label
        Checkpoint and part, for progress and errors.
    partial
        Where finished rows are kept for a job that is interrupted.

    Returns
    -------
    xr.Dataset
        ``score`` (prompt, reply_class), nats; ``gradient`` (target, layer, hidden): change of the
        log-odds of the target's reply class, against all others, when a vector of the mean residual
        norm is added along each axis at the steered positions; ``residual_norm`` (layer). A target
        is a prompt and a reply class, ``toward``.
    """
    dialogues = open_dialogues(model, records, replies, reading, budget, label)
    names = dialogues.tree.classes
    targets = [
        (row, names.index(toward))
        for row, record in enumerate(records)
        for toward in reading["toward"].get(record["suite"], ())
    ]
    found = differentiate_prompts(
        dialogues, targets, reading["positions"], budget, recompute, partial
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
    dialogues: Dialogues,
    targets: Sequence[tuple[int, int]],
    positions: str,
    budget: TokenBudget,
    recompute: bool = False,
    partial: Path | None = None,
) -> Derivatives:
    """Score prompts, and differentiate their targets.

    Prompts with as many targets share a batch, so that a batch costs one forward pass and as many
    backward passes as each of its prompts has targets.

    Parameters
    ----------
    dialogues
        Prompts and replies.
    targets
        (target,) number of the prompt and of the reply class.
    positions
        ``reply``: gradients are summed from the reply point on; ``all``: over every token.
    budget, recompute, partial
        As in :func:`measure_gradients`.
    """
    model, count = dialogues.model, len(dialogues.encoded)
    wanted: list[list[int]] = [[] for _ in range(count)]
    for number, (row, _) in enumerate(targets):
        wanted[row].append(number)
    reply_class = np.array([number for _, number in targets], dtype=int)
    scores = np.empty((count, len(dialogues.tree.classes)), np.float32)
    gradients = np.empty((len(targets), model.layers, model.hidden), np.float32)
    norms = np.empty((count, model.layers), np.float32)

    def differentiate(rows: list[int]) -> dict[str, np.ndarray]:
        asked = reply_class[[wanted[row] for row in rows]]
        return differentiate_rows(dialogues, dialogues.lay_out(rows), asked, positions, recompute)

    sizes, names = dialogues.sizes, dialogues.names
    with tqdm(total=count, desc="prompts", unit="prompt", mininterval=5) as progress:
        for turns in sorted({len(numbers) for numbers in wanted}):
            group = [row for row, numbers in enumerate(wanted) if len(numbers) == turns]
            recipe = ["gradient", turns, count, str(model.network.dtype)]
            with KeptRows(partial, recipe) if partial else nullcontext() as kept:
                for rows, found in resume_within_memory(
                    sizes, budget, differentiate, names.__getitem__, kept, group
                ):
                    scores[rows], norms[rows] = found["score"], found["norm"]
                    numbers = np.array([wanted[row] for row in rows], dtype=int)
                    gradients[numbers] = found["gradient"]
                    progress.update(len(rows))
    mean = norms.mean(0)
    return Derivatives(scores, gradients * mean[:, None], mean)


def differentiate_rows(
    dialogues: Dialogues, rows: Rows, asked: np.ndarray, positions: str, recompute: bool
) -> dict[str, np.ndarray]:
    """One forward pass over rows, and a backward pass for each column of what is asked.

    Parameters
    ----------
    asked
        (prompt, turn) numbers of reply classes.

    Returns
    -------
    dict
        ``score`` (prompt, reply_class); ``norm`` (prompt, layer), of the residual stream at the
        reply point; ``gradient`` (prompt, turn, layer, hidden), summed over the steered tokens.
    """
    model, turns = dialogues.model, asked.shape[1]
    steered = mark_steered(rows, positions)
    with (
        torch.set_grad_enabled(turns > 0),
        track_gradients(model),
        recompute_blocks(model, recompute),
    ):
        residual = run_rows(model, rows)
        states = [residual[layer] for layer in range(model.layers)]
        scores = score_replies(dialogues, states[-1], rows)
        odds = compute_odds(scores)
        gradient = np.empty((len(asked), turns, model.layers, model.hidden), np.float32)
        for turn in range(turns):
            picked = odds[torch.arange(len(asked)), torch.from_numpy(asked[:, turn])]
            slopes = torch.autograd.grad(picked.sum(), states, retain_graph=turn + 1 < turns)
            for layer, slope in enumerate(slopes):
                gradient[:, turn, layer] = _sum_over(slope, steered, rows.per_prompt)
    first = torch.arange(0, len(rows.ids), rows.per_prompt)
    at_reply = [s.detach()[first, rows.points[first]].float().norm(dim=-1) for s in states]
    return {
        "score": scores.detach().cpu().numpy(),
        "norm": torch.stack([norm.cpu() for norm in at_reply], 1).numpy(),
        "gradient": gradient,
    }


def compute_odds(scores: Tensor) -> Tensor:
    """Log-odds of each class against all others, nats, from scores (prompt, reply_class)."""
    classes = scores.shape[-1]
    own = torch.eye(classes, dtype=torch.bool, device=scores.device)
    others = scores[:, None].expand(-1, classes, -1).masked_fill(own, -torch.inf)
    return scores - others.logsumexp(-1)


def _sum_over(slope: Tensor, steered: Tensor, per_prompt: int) -> np.ndarray:
    weights = steered.to(slope.device).float()
    of_row = torch.einsum("rt,rth->rh", weights, slope.float())
    return of_row.unflatten(0, (-1, per_prompt)).sum(1).cpu().numpy()
