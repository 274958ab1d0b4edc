"""Activations of one checkpoint: every layer of every contrast text, pooled, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from emodrift.contrasts.dataset import Record, load_part
from emodrift.errors import EmodriftError
from emodrift.measure.arrays import compress_activations, label_activations, save_array
from emodrift.measure.parts import Part
from emodrift.measure.words import average_words
from emodrift.models.loading import LanguageModel
from emodrift.models.prompts import (
    TokenIds,
    check_lengths,
    encode_prompts,
    encode_texts,
    make_batches,
)
from emodrift.models.residual import record_residual
from emodrift.store.entry import write_entry

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


def measure_parts(
    model: LanguageModel,
    parts: Mapping[str, Part],
    contrasts: Path,
    store: Path,
    batch_tokens: int,
    label: str,
) -> None:
    """Measure parts of the contrast data on a loaded checkpoint, each as an entry of its own.

    Parameters
    ----------
    model
        The checkpoint.
    parts
        The parts to measure, by name.
    contrasts
        Entry of the contrast data.
    store
        Root of the store.
    batch_tokens
        Tokens per batch.
    label
        Checkpoint, for progress and errors.
    """
    for name, part in parts.items():
        manifest = {"stage": "activation-parts", "inputs": {}, "params": part.recipe}
        with write_entry(store / part.place, manifest) as scratch:
            records = load_part(contrasts, name)
            array = extract_part(
                model, records, part.recipe["reading"], batch_tokens, f"{label}, {name}"
            )
            dataset = compress_activations(array).to_dataset()
            if part.kind in WORDED:
                encoded = encode_records(model, records, part.recipe["reading"])
                dataset["words"] = ("prompt", "hidden"), average_words(model, encoded)
            save_array(dataset, scratch / "activations.zarr")


def extract_part(
    model: LanguageModel,
    records: Sequence[Record],
    reading: dict[str, Any],
    batch_tokens: int,
    label: str,
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
        Tokens per batch.
    label
        Checkpoint and part, for progress and errors.

    Returns
    -------
    xr.DataArray
        (prompt, layer, hidden), float32, units of the residual stream; labels on ``prompt``.

    Raises
    ------
    EmodriftError
        An activation is NaN or infinite: names checkpoint, layer and prompt.
    """
    encoded = encode_records(model, records, reading)
    check_lengths(model, encoded, label)
    weigh = POOLINGS[reading["pooling"]]
    pooled = np.empty((len(records), model.layers, model.hidden), np.float32)
    base = model.network.base_model
    with torch.inference_mode(), record_residual(model) as residual:
        progress = tqdm(total=len(records), desc=label, unit="text", mininterval=5)
        for rows, ids, mask in make_batches(model, encoded, batch_tokens):
            weights = torch.zeros(ids.shape, dtype=torch.float32)
            for i, row in enumerate(rows):
                length = len(encoded[row])
                weights[i, :length] = torch.from_numpy(weigh(length, reading.get("from_token", 0)))
            base(input_ids=ids, attention_mask=mask, use_cache=False)
            weights = weights.to(ids.device)[:, None]
            for layer, hidden in residual.items():
                pooled[rows, layer] = torch.bmm(weights, hidden.float())[:, 0].cpu().numpy()
            progress.update(len(rows))
        progress.close()
    _refuse_broken(pooled, records, label)
    return label_activations(pooled, records)


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


def _refuse_broken(pooled: np.ndarray, records: Sequence[Record], label: str) -> None:
    broken = np.argwhere(~np.isfinite(pooled).all(axis=2))
    if len(broken):
        prompt, layer = broken[0]
        raise EmodriftError(
            f"{label}: the activation of layer {layer} at prompt {records[prompt]['id']!r} is NaN "
            "or infinite; in half precision try compute.dtype: float32, else drop the checkpoint"
        )
