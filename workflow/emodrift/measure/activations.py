"""Activations of one checkpoint: every layer of every contrast text, pooled, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from emodrift.corpus.records import Record
from emodrift.errors import EmodriftError
from emodrift.measure.arrays import ACTIVATIONS, compress, label_activations, save_array
from emodrift.measure.session import Session
from emodrift.measure.words import average_words
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget, resume_within_memory
from emodrift.models.prompts import (
    TokenIds,
    check_lengths,
    encode_prompts,
    encode_texts,
    pad_rows,
)
from emodrift.models.residual import record_residual
from emodrift.store.partial import KeptRows

WORDED = ("stories", "neutral")
"""Kinds of texts whose words are kept by themselves."""


def pool_mean(lengths: int, from_token: int) -> np.ndarray:
    """Weights (token,) of a mean from a token on; from a third on in texts under three times it."""
    start = min(from_token, lengths // 3)
    weights = np.zeros(lengths, np.float32)
    weights[start:] = 1 / (lengths - start)
    return weights


def pool_last(lengths: int, from_token: int) -> np.ndarray:
    """Weights (token,) of the last token alone."""
    weights = np.zeros(lengths, np.float32)
    weights[-1] = 1
    return weights


POOLINGS: dict[str, Callable[[int, int], np.ndarray]] = {
    "mean": pool_mean,
    "last": pool_last,
    "reply": pool_last,
}


def write_activations(
    session: Session, records: Sequence[Record], kind: str, reading: dict[str, Any], out: Path
) -> None:
    """Measure the activations of one part of the contrast data and write ``activations.zarr``.

    Parameters
    ----------
    session
        The checkpoint.
    records
        The part's texts.
    kind
        ``stories``, ``neutral``, ``controls`` or ``prompts``.
    reading
        As in :func:`extract_part`.
    out
        Directory to write to.
    """
    array = extract_part(
        session.model, records, reading, session.budget, session.label, session.partial
    )
    dataset = compress(array.to_dataset(), "activation")
    if kind in WORDED:
        words = average_words(session.model, encode_records(session.model, records, reading))
        dataset["words"] = ("prompt", "hidden"), words
    save_array(dataset, out / ACTIVATIONS)


def extract_part(
    model: LanguageModel,
    records: Sequence[Record],
    reading: dict[str, Any],
    batch_tokens: int | TokenBudget,
    label: str,
    partial: Path | None = None,
) -> xr.DataArray:
    """Pooled residual stream of one part's texts.

    Parameters
    ----------
    model
        The checkpoint.
    records
        Story or prompt records.
    reading
        Pooling and, for prompts, their format.
    batch_tokens
        Tokens per batch, or the budget of a job with several parts.
    label
        Checkpoint and part, for progress and errors.
    partial
        Where finished rows are kept for a job that is interrupted; see
        :mod:`emodrift.store.partial`.

    Returns
    -------
    xr.DataArray
        (prompt, layer, hidden), float32, units of the residual stream; labels on ``prompt``.

    Raises
    ------
    EmodriftError
        An activation is NaN or infinite: names checkpoint, layer and prompt. A text does not fit in
        memory.
    """
    encoded = encode_records(model, records, reading)
    check_lengths(model, encoded, label)
    weigh = POOLINGS[reading["pooling"]]
    budget = TokenBudget(batch_tokens) if isinstance(batch_tokens, int) else batch_tokens
    pooled = np.empty((len(records), model.layers, model.hidden), np.float32)

    def pool(rows: list[int]) -> dict[str, np.ndarray]:
        lengths = [len(encoded[row]) for row in rows]
        weights = [weigh(length, reading.get("from_token", 0)) for length in lengths]
        found = pool_residual(model, [encoded[row] for row in rows], weights)
        _check_finite(found, [records[row] for row in rows], model.network.dtype, label)
        return {"activation": found}

    def name_text(row: int) -> str:
        return f"{label}: text {records[row]['id']!r}"

    recipe = ["activation", len(records), str(model.network.dtype)]
    with (
        tqdm(total=len(records), desc=label, unit="text", mininterval=5) as progress,
        KeptRows(partial, recipe) if partial else nullcontext() as kept,
    ):
        sizes = [len(ids) for ids in encoded]
        for rows, found in resume_within_memory(sizes, budget, pool, name_text, kept):
            pooled[rows] = found["activation"]
            progress.update(len(rows))
    return label_activations(pooled, records)


@torch.inference_mode()
def pool_residual(
    model: LanguageModel, encoded: Sequence[TokenIds], weights: Sequence[np.ndarray]
) -> np.ndarray:
    """Weighted sums over the tokens of every layer, in one pass without the LM head.

    Parameters
    ----------
    model
        The checkpoint.
    encoded
        Token ids of each row.
    weights
        (token,) weights of each row.

    Returns
    -------
    np.ndarray
        (row, layer, hidden), float32.
    """
    ids, mask = pad_rows(encoded)
    weighing = torch.zeros(ids.shape)
    for row, values in enumerate(weights):
        weighing[row, : len(values)] = torch.from_numpy(values)
    pooled = np.empty((len(encoded), model.layers, model.hidden), np.float32)
    with record_residual(model) as residual:
        model.network.base_model(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False
        )
        for layer, hidden in residual.items():
            weighed = torch.bmm(weighing.to(hidden.device)[:, None], hidden.float())
            pooled[:, layer] = weighed[:, 0].cpu().numpy()
    return pooled


def encode_records(
    model: LanguageModel, records: Sequence[Record], reading: dict[str, Any]
) -> list[TokenIds]:
    """Token ids of records as a reading asks for them.

    Raises
    ------
    EmodriftError
        The reply point is asked for and a story has no reply cue.
    """
    if "prompt" in records[0]:
        prompts = (r["prompt"] for r in records)
        return encode_prompts(model, prompts, reading["prompt_format"], reading["plain_prompt"])
    if reading["pooling"] == "reply":
        for record in records:
            if not record.get("reply_cue"):
                raise EmodriftError(
                    f"activations.pooling is reply, but story {record['id']!r} has no reply_cue; "
                    "add one, or set pooling to mean or last"
                )
        return encode_texts(model, (f"{r['text']} {r['reply_cue']}" for r in records))
    return encode_texts(model, (r["text"] for r in records))


def _check_finite(
    pooled: np.ndarray, records: Sequence[Record], dtype: torch.dtype, label: str
) -> None:
    broken = np.argwhere(~np.isfinite(pooled).all(axis=2))
    if not len(broken):
        return
    prompt, layer = broken[0]
    remedy = {
        torch.float16: "float16 ends at 65504: set compute.dtype to bfloat16 or float32",
        torch.bfloat16: "set compute.dtype to float32, and if that is no better drop the "
        "checkpoint from its run",
    }
    raise EmodriftError(
        f"{label}: the activation of layer {layer} at prompt {records[prompt]['id']!r} is NaN or "
        f"infinite in {str(dtype).removeprefix('torch.')}; "
        f"{remedy.get(dtype, 'the checkpoint is broken: drop it from its run')}"
    )
