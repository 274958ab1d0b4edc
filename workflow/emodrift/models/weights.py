"""Proof that a network's weights are all its checkpoint's: none missing, left over, or reshaped."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from emodrift.errors import EmodriftError
from emodrift.models.memory import is_out_of_memory

DERIVED = re.compile(r"(^|\.)(inv_freq|original_inv_freq|position_ids|masked_bias|attn\.bias)$")
"""Buffers that follow from the config, which older checkpoints hold and newer ones do not."""
IN_LAYER = re.compile(r"\.\d+\.")
LONGEST_REASON = 160


@contextlib.contextmanager
def explain_loading(label: str, folder: Path) -> Iterator[None]:
    """Turn whatever a loader raises into one line; running out of memory stays what it is.

    Parameters
    ----------
    label
        Checkpoint to name.
    folder
        What is loaded.

    Raises
    ------
    EmodriftError
        It cannot be loaded, or not without code that comes with it.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    except EmodriftError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if "trust_remote_code" in str(error):
            problem = (
                "needs code of its own, which is never run; take a model that transformers knows, "
                "or drop `auto_map` from its config files where transformers knows its kind"
            )
        else:
            problem = (
                f"cannot be loaded ({shorten(error)}); copy it again, or see whether its "
                "config.json is of a model that this version of transformers knows"
            )
        raise EmodriftError(f"{label}: {folder} {problem}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)


def shorten(error: BaseException) -> str:
    """Type and first line of an error, short enough for one line."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def check_loaded(
    network: PreTrainedModel, loading: dict[str, Any], label: str, config: str = "config.json"
) -> None:
    """Refuse a network any of whose weights is not its checkpoint's.

    transformers draws weights that it does not find at random, and passes over those that it has
    no place for. Tied weights are found where what they are tied to is.

    Parameters
    ----------
    network
        As loaded.
    loading
        What `from_pretrained` tells with ``output_loading_info``: missing, unexpected and
        mismatched keys.
    label
        Checkpoint to name in errors.
    config
        What says which weights there should be.

    Raises
    ------
    EmodriftError
        A weight is missing, has another shape than the config says, or belongs to a layer that the
        network does not have.
    """
    kind = type(network).__name__
    for name, found, wanted in sorted(loading["mismatched_keys"]):
        raise EmodriftError(
            f"{label}: weight {name} has shape {tuple(found)}, but {tuple(wanted)} by the "
            f"checkpoint's {config}{_count_others(loading['mismatched_keys'])}; put the "
            f"{config} beside the weights with which they were saved"
        )
    missing = [name for name in loading["missing_keys"] if not DERIVED.search(name)]
    if missing:
        raise EmodriftError(
            f"{label}: the checkpoint has no weight {_first(missing)}{_count_others(missing)} that "
            f"its {config} ({kind}) asks for; copy the checkpoint again, or put the {config} "
            "beside it with which it was saved"
        )
    unexpected = [n for n in loading["unexpected_keys"] if not DERIVED.search(n)]
    layers = [name for name in unexpected if IN_LAYER.search(name)]
    if layers:
        raise EmodriftError(
            f"{label}: {kind} of the checkpoint's {config} has no place for weight "
            f"{_first(layers)}{_count_others(layers)}; put the {config} beside the weights with "
            "which they were saved"
        )


def refuse_broken_weights(network: PreTrainedModel, label: str) -> None:
    """Refuse weights that are not finite.

    Raises
    ------
    EmodriftError
        One holds NaN or infinity.
    """
    for name, weight in network.named_parameters():
        if not weight.is_meta and not torch.isfinite(weight).all():
            raise EmodriftError(
                f"{label}: weight {name} holds NaN or infinity; the checkpoint is broken: "
                "drop it from the run, or copy it again"
            )


def _first(names: Collection[str]) -> str:
    """The first of some names, layers in the order of their numbers."""
    return min(names, key=lambda name: [int(p) if p.isdigit() else -1 for p in name.split(".")])


def _count_others(names: Collection[Any]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
