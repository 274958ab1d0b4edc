"""Replies of one checkpoint: what it writes to a spread of prompts, unsteered and steered.

The texts are an entry of their own, ``reply-texts/<key>``, so that another judge reads them without
a model being loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from emodrift.contrasts.dataset import load_prompts
from emodrift.measure.generation import Sampling, generate_replies
from emodrift.measure.responses import choose_spread
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget
from emodrift.models.prompts import encode_prompts
from emodrift.store.entry import entry_exists, write_entry
from emodrift.store.partial import locate_partial

FIELDS = ("id", "suite", "split", "family", "prompt")


def keep_replies(
    model: LanguageModel,
    texts: Mapping[str, Any],
    contrasts: Path,
    directions: xr.DataArray,
    norms: xr.DataArray,
    store: Path,
    loading: Mapping[str, Any],
    label: str,
) -> None:
    """Write the replies of a loaded checkpoint, unless they are there.

    Writes ``replies.jsonl``: a line for each prompt and condition with the prompt's fields,
    ``concept`` (None: unsteered), ``strength``, ``text``, ``tokens`` (their number) and ``ended``
    (by an end token).

    Parameters
    ----------
    model
        The checkpoint.
    texts
        Place below the store and recipe of the entry; the recipe's ``asking`` holds
        prompts_per_cell, max_new_tokens, temperature, seed, strengths, positions, prompt_format and
        plain_prompt.
    contrasts
        Entry of the contrast data.
    directions
        (direction, hidden), unit vectors to add, with ``name`` and the scalar ``layer``.
    norms
        (layer,) mean residual norm at the reply point of all prompts, the unit of strengths.
    store
        Root of the store.
    loading
        Config: the `compute` section.
    label
        Checkpoint, for progress and errors.
    """
    place = store / texts["place"]
    if entry_exists(place):
        return
    asking = texts["recipe"]["asking"]
    prompts = load_prompts(contrasts)
    chosen = [prompts[i] for i in choose_spread(prompts, asking["prompts_per_cell"])]
    asked = (p["prompt"] for p in chosen)
    layer = int(directions["layer"])
    steered = [(name, s) for name in directions["name"].values for s in asking["strengths"]]
    conditions = [(None, 0.0), *((str(name), strength) for name, strength in steered)]
    strengths = torch.tensor(asking["strengths"])
    additions = torch.einsum("dh,s->dsh", torch.from_numpy(directions.values).float(), strengths)
    additions = float(norms.sel(layer=layer)) * additions.flatten(0, 1)
    with write_entry(
        place, {"stage": "reply-texts", "inputs": {}, "params": texts["recipe"]}
    ) as out:
        replies = generate_replies(
            model,
            encode_prompts(model, asked, asking["prompt_format"], asking["plain_prompt"]),
            torch.cat([torch.zeros(1, model.hidden), additions]),
            layer,
            asking["positions"],
            Sampling(asking["max_new_tokens"], asking["temperature"], asking["seed"]),
            TokenBudget(loading["batch_tokens"]),
            [f"{label}: prompt {record['id']!r}" for record in chosen],
            locate_partial(place),
        )
        with (out / "replies.jsonl").open("w", encoding="utf-8") as file:
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
