"""The model that training starts from, and its own answers to everyday and benign prompts."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from emodrift.models.gguf import save_plain
from emodrift.models.loading import load_network
from emodrift.training.chats import check_template, write_replies
from emodrift.training.dialogues import ANSWERED_SUITES, OwnReply, read_dialogues

MODEL, REPLIES = "model", "replies.jsonl"

log = logging.getLogger(__name__)


def prepare_base(
    location: dict[str, Any], data: Path, reply_tokens: int, out: Path, label: str
) -> None:
    """Write the base's own replies, and the base itself where it is to be dequantised.

    Parameters
    ----------
    location
        As in :func:`emodrift.models.loading.load_model`.
    data
        Folder of dialogues.
    reply_tokens
        Tokens after which a reply is cut.
    out
        Receives ``replies.jsonl`` and, of a GGUF file, ``model/``, an ordinary checkpoint: adapters
        cannot be trained on quantised weights, nor can those be saved.
    label
        The base to name in errors.

    Raises
    ------
    EmodriftError
        It has no chat template.
    """
    network, tokenizer = load_network(
        location, {"device": "auto", "allow_pickle": False}, "float32", label
    )
    check_template(tokenizer, label)
    if Path(location.get("path", "")).is_file():
        save_plain(network, tokenizer, out / MODEL)
    prompts = [e.prompt for e in read_dialogues(data, "training.data").of_suites(ANSWERED_SUITES)]
    replies = write_replies(network, tokenizer, prompts, reply_tokens)
    log.info("%s: %d replies of its own", label, len(replies))
    _write(out / REPLIES, prompts, replies)


def locate_base(location: dict[str, Any], entry: Path) -> dict[str, Any]:
    """Location of the model that is trained: the base's own, or that in its entry.

    Parameters
    ----------
    location
        The base's.
    entry
        What :func:`prepare_base` wrote.
    """
    model = entry / MODEL
    return {"path": str(model)} if model.is_dir() else location


def _write(path: Path, prompts: list[str], replies: list[OwnReply]) -> None:
    rows = [
        {"prompt": prompt, "reply": reply.text, "finished": reply.finished}
        for prompt, reply in zip(prompts, replies, strict=True)
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
