"""PEFT adapters, merged in memory into the model that they were trained on."""

from __future__ import annotations

import warnings
from pathlib import Path

from peft import PeftModel, load_peft_weights, set_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedModel

from emodrift.errors import EmodriftError
from emodrift.models.memory import is_out_of_memory
from emodrift.models.weights import shorten

WEIGHTS = "adapter_model.safetensors"


def merge_adapter(network: PreTrainedModel, folder: Path, label: str) -> PreTrainedModel:
    """Merge an adapter into its base model, in the base's dtype.

    Where the adapter was saved with embeddings of another length, because tokens were added for
    its training, the base's are brought to that length first.

    Parameters
    ----------
    network
        The base model; changed in place.
    folder
        The adapter's directory.
    label
        Checkpoint to name in errors.

    Raises
    ------
    EmodriftError
        The adapter does not fit the base: a weight of it finds no place, or has another shape.
    """
    dtype = network.dtype
    try:
        _resize_embeddings(network, folder)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*missing adapter keys")
            model = PeftModel.from_pretrained(network, str(folder))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise EmodriftError(
            f"{label}: the adapter {folder} does not fit its base model ({shorten(error)}); set "
            "`base` to the model that it was trained on, or see whether its adapter_config.json is "
            "of a kind that this version of peft knows"
        ) from error
    _refuse_leftovers(model, folder, label)
    merged = model.merge_and_unload()
    return merged if all(p.dtype == dtype for p in merged.parameters()) else merged.to(dtype)


def _resize_embeddings(network: PreTrainedModel, folder: Path) -> None:
    (name,) = (n for n, m in network.named_modules() if m is network.get_input_embeddings())
    rows = next((s[0] for n, s in _list_shapes(folder).items() if n.endswith(f"{name}.weight")), 0)
    if rows and rows != network.get_input_embeddings().num_embeddings:
        network.resize_token_embeddings(rows, mean_resizing=False)


def _refuse_leftovers(model: PeftModel, folder: Path, label: str) -> None:
    """A weight of the adapter that has no place in the model is passed over by peft in silence."""
    loaded = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    if loaded.unexpected_keys:
        raise EmodriftError(
            f"{label}: weight {loaded.unexpected_keys[0]} of the adapter {folder} has no place in "
            "its base model; set `base` to the model that it was trained on"
        )


def _list_shapes(folder: Path) -> dict[str, list[int]]:
    if not (folder / WEIGHTS).is_file():
        return {}
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
