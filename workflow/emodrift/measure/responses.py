"""Responses of one checkpoint under steering: how likely each class of reply becomes.

Every locked direction is added at every strength to a spread of prompts. Blocks up to the steered
layer run once per prompt, for all directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from emodrift.corpus.records import Record
from emodrift.measure.arrays import PROMPT_LABELS, RESPONSES, label_prompts, save_array
from emodrift.measure.dialogues import Dialogues, open_dialogues, run_rows, score_replies
from emodrift.measure.session import Session
from emodrift.measure.trees import Rows, mark_steered, repeat_rows
from emodrift.models.memory import TokenBudget, resume_within_memory, run_within_memory
from emodrift.models.residual import resume_residual, steer_residual
from emodrift.store.partial import KeptRows


def write_responses(
    session: Session,
    prompts: Sequence[Record],
    replies: Mapping[str, Sequence[str]],
    asking: Mapping[str, Any],
    directions: xr.DataArray,
    norms: xr.DataArray,
    out: Path,
) -> None:
    """Score a spread of prompts under every locked direction.

    Writes ``responses.zarr``: ``steered_score`` (direction, strength, prompt, reply_class) in nats,
    and ``residual_norm``, the unit of strength.

    Parameters
    ----------
    session
        The checkpoint.
    prompts
        All behaviour prompts.
    replies
        Reply class -> phrasings.
    asking
        ``steering``, the config's section, with ``prompt_format``, ``plain_prompt`` and
        ``phrasing_score``.
    directions
        (direction, hidden), the locked unit vectors, with ``name`` and the scalar ``layer``.
    norms
        (layer,) mean residual norm at the reply point of all prompts.
    out
        Directory to write to.
    """
    steering = asking["steering"]
    chosen = [prompts[i] for i in choose_spread(prompts, steering["prompts_per_cell"])]
    dialogues = open_dialogues(
        session.model, chosen, replies, asking, session.budget, session.label
    )
    layer = int(directions["layer"])
    norm = float(norms.sel(layer=layer))
    steered = score_steered(
        dialogues,
        torch.from_numpy(directions.values),
        layer,
        [norm * strength for strength in steering["strengths"]],
        steering["positions"],
        session.budget,
        session.partial,
    )
    dataset = xr.Dataset(
        {
            "steered_score": (("direction", "strength", "prompt", "reply_class"), steered),
            "residual_norm": norm,
        },
        coords={
            "reply_class": np.array(dialogues.tree.classes, dtype=object),
            "direction": directions["name"].values,
            "strength": np.array(steering["strengths"], np.float64),
            "layer": layer,
            **label_prompts("prompt", chosen, PROMPT_LABELS),
        },
    )
    save_array(dataset, out / RESPONSES)


def score_steered(
    dialogues: Dialogues,
    directions: Tensor,
    layer: int,
    lengths: Sequence[float],
    positions: str,
    budget: TokenBudget,
    partial: Path | None = None,
) -> np.ndarray:
    """Class scores with each direction added at each length.

    Parameters
    ----------
    dialogues
        Prompts and replies.
    directions
        (direction, hidden), unit vectors.
    layer
        Layer that is steered.
    lengths
        Lengths of the added vectors, in units of the residual stream; negative ones turn them.
    positions
        ``reply``: from the reply point on; ``all``: every token.
    budget
        Tokens per batch.
    partial
        Where finished rows are kept for a job that is interrupted.

    Returns
    -------
    np.ndarray
        (direction, strength, prompt, reply_class), float32, nats.
    """
    additions = torch.einsum("dh,s->dsh", directions, torch.tensor(lengths).to(directions))
    additions = additions.flatten(0, 1)
    names, sizes = dialogues.names, dialogues.sizes
    count, classes = len(dialogues.encoded), len(dialogues.tree.classes)
    scores = np.empty((len(additions), count, classes), np.float32)

    @torch.inference_mode()
    def steer(rows: list[int]) -> dict[str, np.ndarray]:
        laid = dialogues.lay_out(rows)
        below = run_rows(dialogues.model, laid)[layer]
        found = np.empty((len(rows), len(additions), classes), np.float32)

        def add(some: list[int]) -> np.ndarray:
            values = _score_under(dialogues, laid, layer, below, additions[some], positions)
            return values.unflatten(0, (len(some), len(rows))).transpose(0, 1).cpu().numpy()

        each = [laid.ids.numel()] * len(additions)
        for some, values in run_within_memory(each, budget, add, lambda _: names[rows[0]]):
            found[:, some] = values
        return {"score": found}

    recipe = ["steered", count, str(dialogues.model.network.dtype)]
    with (
        tqdm(total=count, desc="steered", unit="prompt", mininterval=5) as progress,
        KeptRows(partial, recipe) if partial else nullcontext() as kept,
    ):
        for rows, found in resume_within_memory(sizes, budget, steer, names.__getitem__, kept):
            scores[:, rows] = found["score"].swapaxes(0, 1)
            progress.update(len(rows))
    return scores.reshape(len(directions), len(lengths), count, classes)


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


def _score_under(
    dialogues: Dialogues,
    rows: Rows,
    layer: int,
    below: Tensor,
    additions: Tensor,
    positions: str,
) -> Tensor:
    """Class scores (addition × prompt, reply_class) when each vector is added to every row."""
    steered = mark_steered(rows, positions).to(below)
    addition = (additions.to(below)[:, None, None] * steered[None, :, :, None]).flatten(0, 1)
    model, copies = dialogues.model, len(additions)
    repeated = repeat_rows(rows, copies)
    steering = (
        steer_residual(model, 0, addition)
        if layer == 0
        else resume_residual(model, layer, below.repeat(copies, 1, 1) + addition)
    )
    with steering:
        last = run_rows(model, repeated)[model.layers - 1]
    return score_replies(dialogues, last, repeated)
