"""Replies of one checkpoint: what it writes to a spread of prompts, unsteered and steered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from emodrift.corpus.records import Record
from emodrift.measure.generation import Sampling, Steering, generate_replies
from emodrift.measure.responses import choose_spread
from emodrift.measure.session import Session
from emodrift.models.prompts import encode_prompts

FIELDS = ("id", "suite", "split", "family", "prompt")
REPLIES = "replies.jsonl"


def write_replies(
    session: Session,
    prompts: Sequence[Record],
    asking: Mapping[str, Any],
    directions: xr.DataArray,
    norms: xr.DataArray,
    out: Path,
) -> None:
    """Write a checkpoint's replies.

    Writes ``replies.jsonl``: a line for each prompt and condition with the prompt's fields,
    ``concept`` (None: unsteered), ``strength``, ``text``, ``tokens`` (their number) and ``ended``
    (by an end token). No judge is involved: the same texts serve every judge.

    Parameters
    ----------
    session
        The checkpoint.
    prompts
        All behaviour prompts.
    asking
        prompts_per_cell, max_new_tokens, temperature, seed, strengths, positions, prompt_format and
        plain_prompt.
    directions
        (direction, hidden), unit vectors to add, with ``name`` and the scalar ``layer``.
    norms
        (layer,) mean residual norm at the reply point of all prompts, the unit of strengths.
    out
        Directory to write to.
    """
    model, label = session.model, session.label
    chosen = [prompts[i] for i in choose_spread(prompts, asking["prompts_per_cell"])]
    asked = (p["prompt"] for p in chosen)
    layer = int(directions["layer"])
    steered = [(name, s) for name in directions["name"].values for s in asking["strengths"]]
    conditions = [(None, 0.0), *((str(name), strength) for name, strength in steered)]
    strengths = torch.tensor(asking["strengths"])
    additions = torch.einsum("dh,s->dsh", torch.from_numpy(directions.values).float(), strengths)
    additions = float(norms.sel(layer=layer)) * additions.flatten(0, 1)
    replies = generate_replies(
        model,
        encode_prompts(model, asked, asking["prompt_format"], asking["plain_prompt"]),
        Steering(torch.cat([torch.zeros(1, model.hidden), additions]), layer, asking["positions"]),
        Sampling(asking["max_new_tokens"], asking["temperature"], asking["seed"]),
        session.budget,
        [f"{label}: prompt {record['id']!r}" for record in chosen],
        session.partial,
    )
    with (out / REPLIES).open("w", encoding="utf-8") as file:
        for prompt, of_prompt in zip(chosen, replies, strict=True):
            for (concept, strength), reply in zip(conditions, of_prompt, strict=True):
                line = {name: prompt[name] for name in FIELDS} | {
                    "concept": concept,
                    "strength": strength,
                    "text": model.tokenizer.decode(reply.tokens, skip_special_tokens=True),
                    "tokens": len(reply.tokens),
                    "ended": reply.ended,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_samples(
    session: Session, prompts: Sequence[Record], asking: Mapping[str, Any], out: Path
) -> None:
    """Write a checkpoint's unsteered replies, as :func:`write_replies` does; no lock is needed.

    Parameters
    ----------
    session, prompts, asking, out
        As there; `asking` holds no strengths.
    """
    model = session.model
    none = xr.DataArray(
        np.zeros((0, model.hidden), np.float32),
        dims=("direction", "hidden"),
        coords={"name": ("direction", np.array([], dtype=object)), "layer": 0},
    )
    unit = xr.DataArray([1.0], dims="layer", coords={"layer": [0]})
    unsteered = {**asking, "strengths": [], "positions": "reply"}
    write_replies(session, prompts, unsteered, none, unit, out)
