"""Parts of the contrast data as they are kept: activations for each checkpoint and part.

A part's activations are an entry of their own, ``activation-parts/<key>``, so that a new part, or a
second study of the same checkpoint, costs only what is new. Nothing here loads a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.contrasts.dataset import load_kinds
from emodrift.store.digest import digest_file, make_key
from emodrift.store.entry import entry_exists

KINDS = ("stories", "neutral", "controls", "prompts")


class Part(NamedTuple):
    """One part on one checkpoint: its kind, place below the store, and what its key is made of."""

    kind: str
    place: str
    recipe: dict[str, Any]


def list_parts(
    contrasts: Path,
    activations: Mapping[str, Any],
    dtype: str,
    checkpoint: str,
    code: str,
    kinds: Sequence[str] = KINDS,
) -> dict[str, Part]:
    """Every part of a data set as it would be kept for one checkpoint.

    Parameters
    ----------
    contrasts
        Entry of the contrast data.
    activations
        Config: the `activations` section.
    dtype
        Data type of the weights.
    checkpoint
        The checkpoint's identity.
    code
        Digest of the activations stage's code.
    kinds
        Kinds of parts that are wanted.
    """
    parts = {}
    for name, kind in load_kinds(contrasts).items():
        if kind not in kinds:
            continue
        recipe = {
            "checkpoint": checkpoint,
            "part": digest_file(contrasts / "parts" / f"{name}.jsonl"),
            "reading": _reading_of(kind, activations),
            "dtype": dtype,
            "code": code,
        }
        parts[name] = Part(kind, f"activation-parts/{make_key(**recipe)}", recipe)
    return parts


def find_missing(parts: Mapping[str, Part], store: Path) -> dict[str, Part]:
    """Parts that have not been measured."""
    return {name: p for name, p in parts.items() if not entry_exists(store / p.place)}


def write_parts(parts: Mapping[str, Part], out: Path) -> None:
    """Write where the parts are, ``parts.json``."""
    table = {name: {"kind": part.kind, "place": part.place} for name, part in parts.items()}
    (out / "parts.json").write_text(json.dumps(table, indent=1) + "\n")


def _reading_of(kind: str, section: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "prompts":
        return {
            "pooling": "reply",
            "prompt_format": section["prompt_format"],
            "plain_prompt": section["plain_prompt"],
        }
    return {"pooling": section["pooling"], "from_token": section["from_token"]}
