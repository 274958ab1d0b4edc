"""Activations of one checkpoint: every layer of every contrast text, pooled, in one pass."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from emodrift.contrasts.dataset import Record, load_kinds, load_part
from emodrift.errors import EmodriftError
from emodrift.measure.arrays import compress_activations, label_activations, save_array
from emodrift.models.loading import LanguageModel, load_model
from emodrift.models.prompts import (
    TokenIds,
    check_lengths,
    encode_prompts,
    encode_texts,
    make_batches,
)
from emodrift.models.residual import record_residual
from emodrift.store.digest import digest_file, make_key
from emodrift.store.entry import entry_exists, write_entry


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


def measure_activations(
    activations: dict[str, Any],
    dtype: str,
    checkpoint: str,
    location: dict[str, str],
    loading: dict[str, Any],
    contrasts: Path,
    out: Path,
    store: Path,
    code: str,
    label: str,
) -> None:
    """Measure every part of the contrast data that has not been measured on this checkpoint.

    A part's activations are an entry of their own, ``activation-parts/<key>``, so a new part or a
    second study costs only what is new. Writes ``parts.json``: part -> kind and place.

    Parameters
    ----------
    activations, loading, dtype
        Config: the `activations` and `compute` sections.
    checkpoint, location
        The checkpoint's identity and place.
    contrasts
        Entry of the contrast data.
    out, store, code, label
        See :class:`emodrift.store.job.Job`.
    """
    kinds = load_kinds(contrasts)
    places: dict[str, str] = {}
    missing: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        recipe = {
            "checkpoint": checkpoint,
            "part": digest_file(contrasts / "parts" / f"{name}.jsonl"),
            "reading": _reading_of(kind, activations),
            "dtype": dtype,
            "code": code,
        }
        places[name] = f"activation-parts/{make_key(**recipe)}"
        if not entry_exists(store / places[name]):
            missing[name] = recipe
    if missing:
        model = load_model(location, loading, dtype, label)
        for name, recipe in missing.items():
            manifest = {"stage": "activation-parts", "inputs": {}, "params": recipe}
            with write_entry(store / places[name], manifest) as scratch:
                records = load_part(contrasts, name)
                array = extract_part(
                    model,
                    records,
                    recipe["reading"],
                    loading["batch_tokens"],
                    f"{label}, {name}",
                )
                save_array(compress_activations(array).to_dataset(), scratch / "activations.zarr")
    else:
        logging.info("%s: all %d parts were there", label, len(kinds))
    table = {name: {"kind": kinds[name], "place": places[name]} for name in kinds}
    (out / "parts.json").write_text(json.dumps(table, indent=1) + "\n")


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


def _reading_of(kind: str, section: dict[str, Any]) -> dict[str, Any]:
    if kind == "prompts":
        return {
            "pooling": "reply",
            "prompt_format": section["prompt_format"],
            "plain_prompt": section["plain_prompt"],
        }
    return {"pooling": section["pooling"], "from_token": section["from_token"]}


def _refuse_broken(pooled: np.ndarray, records: Sequence[Record], label: str) -> None:
    broken = np.argwhere(~np.isfinite(pooled).all(axis=2))
    if len(broken):
        prompt, layer = broken[0]
        raise EmodriftError(
            f"{label}: the activation of layer {layer} at prompt {records[prompt]['id']!r} is NaN "
            "or infinite; in half precision try compute.dtype: float32, else drop the checkpoint"
        )
