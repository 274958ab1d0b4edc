"""Parts of the contrast data as they are kept: what is measured for each checkpoint and part.

A part's activations, and the gradients of a part of prompts, are entries of their own,
``activation-parts/<key>`` and ``gradient-parts/<key>``, so that a new part, or a second study of
the same checkpoint, costs only what is new. Nothing here loads a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.contrasts.dataset import load_kinds
from emodrift.store.digest import digest_file, make_key
from emodrift.store.entry import entry_exists

KINDS = ("stories", "neutral", "controls", "prompts")


class Part(NamedTuple):
    """What is kept of one part on one checkpoint.

    name: the part; kind: its kind, or ``gradients``; place: below the store; recipe: what its key
    is made of.
    """

    name: str
    kind: str
    place: str
    recipe: dict[str, Any]


def list_parts(
    contrasts: Path,
    activations: Mapping[str, Any],
    chat: Mapping[str, Any],
    asking: Mapping[str, Any],
    dtype: str,
    checkpoint: str,
    code: str,
    kinds: Sequence[str] = KINDS,
) -> list[Part]:
    """Every part of a data set as it would be kept for one checkpoint.

    Parameters
    ----------
    contrasts
        Entry of the contrast data.
    activations
        Config: the `activations` section.
    chat
        How prompts go through the chat template; see :func:`emodrift.models.loading.load_model`.
    asking
        How prompts are asked and replies scored; see
        :func:`emodrift.measure.gradients.measure_gradients`.
    dtype
        Data type of the weights.
    checkpoint
        The checkpoint's identity.
    code
        Digest of the activations stage's code.
    kinds
        Kinds of parts that are wanted.
    """
    parts = []
    for name, kind in load_kinds(contrasts).items():
        if kind not in kinds:
            continue
        recipe = {
            "checkpoint": checkpoint,
            "part": digest_file(contrasts / "parts" / f"{name}.jsonl"),
            "dtype": dtype,
            "code": code,
        }
        parts.append(_keep(name, kind, recipe | {"reading": _reading_of(kind, activations, chat)}))
        if kind == "prompts":
            replies = digest_file(contrasts / "replies.json")
            reading = {**asking, "chat": dict(chat)}
            parts.append(
                _keep(name, "gradients", recipe | {"reading": reading, "replies": replies})
            )
    return parts


def find_missing(parts: Iterable[Part], store: Path) -> list[Part]:
    """Parts that have not been measured."""
    return [part for part in parts if not entry_exists(store / part.place)]


def write_parts(parts: Iterable[Part], out: Path) -> None:
    """Write where the parts are, ``parts.json``."""
    table = [{"name": p.name, "kind": p.kind, "place": p.place} for p in parts]
    (out / "parts.json").write_text(json.dumps(table, indent=1) + "\n")


def _keep(name: str, kind: str, recipe: dict[str, Any]) -> Part:
    stage = "gradient-parts" if kind == "gradients" else "activation-parts"
    return Part(name, kind, f"{stage}/{make_key(**recipe)}", recipe)


def _reading_of(kind: str, section: Mapping[str, Any], chat: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "prompts":
        return {
            "pooling": "reply",
            "prompt_format": section["prompt_format"],
            "plain_prompt": section["plain_prompt"],
            "chat": dict(chat),
        }
    return {"pooling": section["pooling"], "from_token": section["from_token"]}
