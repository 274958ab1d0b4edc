"""Gradients of behaviour metrics with respect to the residual stream, from a layer upward.

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

from emodrift.corpus.records import Record
from emodrift.measure.arrays import (
    GRADIENTS,
    PROMPT_LABELS,
    compress,
    label_prompts,
    save_array,
)
from emodrift.measure.dialogues import Dialogues, open_dialogues, run_rows, score_replies
from emodrift.measure.session import Session
from emodrift.measure.trees import Rows, mark_steered
from emodrift.models.memory import resume_within_memory
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


class Question(NamedTuple):
    """What is differentiated, and where.

    targets: (target,) number of the prompt and of the reply class. positions: ``reply``, gradients
    are summed from the reply point on; ``all``, over every token. first_layer: the lowest layer;
    the backward pass ends there.
    """

    targets: Sequence[tuple[int, int]]
    positions: str
    first_layer: int = 0


def write_gradients(
    session: Session,
    records: Sequence[Record],
    replies: Mapping[str, Sequence[str]],
    reading: Mapping[str, Any],
    out: Path,
) -> None:
    """Score the replies to one part of prompts, differentiate, and write ``gradients.zarr``.

    Parameters are those of :func:`measure_gradients`, and the directory to write to.
    """
    found = measure_gradients(session, records, replies, reading)
    save_array(compress(found, "gradient"), out / GRADIENTS)


def measure_gradients(
    session: Session,
    records: Sequence[Record],
    replies: Mapping[str, Sequence[str]],
    reading: Mapping[str, Any],
) -> xr.Dataset:
    """Scores of all replies, and the gradient of every metric of a prompt's suite.

    Parameters
    ----------
    session
        The checkpoint.
    records
        Behaviour prompts.
    replies
        Reply class -> phrasings.
    reading
        ``prompt_format``, ``plain_prompt``, ``phrasing_score``, ``positions``, ``first_layer`` and
        ``toward``: suite -> reply classes that its metrics count.

    Returns
    -------
    xr.Dataset
        ``score`` (prompt, reply_class), nats; ``gradient`` (target, layer, hidden): change of the
        log-odds of the target's reply class, against all others, when a vector of the mean residual
        norm is added along each axis at the steered positions; ``residual_norm`` (layer). A target
        is a prompt and a reply class, ``toward``; layers are those from the first one asked for.
    """
    dialogues = open_dialogues(
        session.model, records, replies, reading, session.budget, session.label
    )
    names = dialogues.tree.classes
    targets = [
        (row, names.index(toward))
        for row, record in enumerate(records)
        for toward in reading["toward"].get(record["suite"], ())
    ]
    question = Question(targets, reading["positions"], reading["first_layer"])
    found = differentiate_prompts(dialogues, question, session)
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
            "layer": np.arange(question.first_layer, session.model.layers),
            "toward": ("target", toward),
            **label_prompts("prompt", records, PROMPT_LABELS),
            **label_prompts("target", of_target, PROMPT_LABELS, "target_"),
        },
    )


def differentiate_prompts(
    dialogues: Dialogues, question: Question, session: Session
) -> Derivatives:
    """Score prompts, and differentiate their targets.

    Prompts with as many targets share a batch, so that a batch costs one forward pass and as many
    backward passes as each of its prompts has targets.

    Parameters
    ----------
    dialogues
        Prompts and replies.
    question
        What is differentiated.
    session
        The checkpoint.
    """
    model, count = dialogues.model, len(dialogues.encoded)
    targets, layers = question.targets, model.layers - question.first_layer
    wanted: list[list[int]] = [[] for _ in range(count)]
    for number, (row, _) in enumerate(targets):
        wanted[row].append(number)
    reply_class = np.array([number for _, number in targets], dtype=int)
    scores = np.empty((count, len(dialogues.tree.classes)), np.float32)
    gradients = np.empty((len(targets), layers, model.hidden), np.float32)
    norms = np.empty((count, layers), np.float32)

    def differentiate(rows: list[int]) -> dict[str, np.ndarray]:
        asked = reply_class[[wanted[row] for row in rows]]
        with recompute_blocks(model, session.recompute):
            return differentiate_rows(dialogues, dialogues.lay_out(rows), asked, question)

    sizes, names = dialogues.sizes, dialogues.names
    with tqdm(total=count, desc="prompts", unit="prompt", mininterval=5) as progress:
        for turns in sorted({len(numbers) for numbers in wanted}):
            group = [row for row, numbers in enumerate(wanted) if len(numbers) == turns]
            recipe = ["gradient", turns, count, str(model.network.dtype)]
            with KeptRows(session.partial, recipe) if session.partial else nullcontext() as kept:
                for rows, found in resume_within_memory(
                    sizes, session.budget, differentiate, names.__getitem__, kept, group
                ):
                    scores[rows], norms[rows] = found["score"], found["norm"]
                    numbers = np.array([wanted[row] for row in rows], dtype=int)
                    gradients[numbers] = found["gradient"]
                    progress.update(len(rows))
    mean = norms.mean(0)
    return Derivatives(scores, gradients * mean[:, None], mean)


def differentiate_rows(
    dialogues: Dialogues, rows: Rows, asked: np.ndarray, question: Question
) -> dict[str, np.ndarray]:
    """One forward pass over rows, and a backward pass for each column of what is asked.

    Parameters
    ----------
    asked
        (prompt, turn) numbers of reply classes.
    question
        Where: positions and layers.

    Returns
    -------
    dict
        ``score`` (prompt, reply_class); ``norm`` (prompt, layer), of the residual stream at the
        reply point; ``gradient`` (prompt, turn, layer, hidden), summed over the steered tokens.
    """
    model, turns = dialogues.model, asked.shape[1]
    steered = mark_steered(rows, question.positions)
    with torch.set_grad_enabled(turns > 0):
        with track_gradients(model, question.first_layer):
            residual = run_rows(model, rows)
        states = [residual[layer] for layer in range(question.first_layer, model.layers)]
        scores = score_replies(dialogues, states[-1], rows)
        odds = compute_odds(scores)
        gradient = np.empty((len(asked), turns, len(states), model.hidden), np.float32)
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
