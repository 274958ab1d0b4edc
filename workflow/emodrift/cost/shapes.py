"""How large a checkpoint's network is, told from its files without loading it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.checkpoints.files import read_object
from emodrift.checkpoints.gguf import is_gguf
from emodrift.checkpoints.gguf import read_header as read_gguf_header
from emodrift.checkpoints.places import read_shape as read_config_shape
from emodrift.checkpoints.tensors import read_header

IN_A_BLOCK = re.compile(r"\.\d+\.")
TYPICAL_VOCABULARY = 50_000
KEY = "runs"


class Shape(NamedTuple):
    """Size of a decoder.

    hidden: width of the residual stream. layers: blocks. weights: of the blocks' matrices.
    vocabulary: rows of the LM head.
    """

    hidden: int
    layers: int
    weights: int
    vocabulary: int

    @property
    def head(self) -> int:
        """Weights of the LM head."""
        return self.hidden * self.vocabulary


def read_shape(location: Mapping[str, Any], hidden: int, layers: int) -> Shape:
    """Shape of the network at a checkpoint's location.

    Parameters
    ----------
    location
        As in :class:`emodrift.checkpoints.checkpoint.Checkpoint`; an adapter has its base's shape.
    hidden, layers
        Of the checkpoint. Where its files are not on this machine, blocks have 12 hidden² weights.
    """
    place = location.get("base", location)
    folder = locate(place)
    guess = Shape(hidden, layers, 12 * layers * hidden**2, TYPICAL_VOCABULARY)
    if folder is None:
        return guess
    if is_gguf(folder):
        return _read_gguf(folder, guess)
    config = read_object(folder / "config.json", KEY)
    vocabulary = config.get("text_config", config).get("vocab_size") or guess.vocabulary
    weights = sum(
        prod(tensor.shape)
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in read_header(file).items()
        if IN_A_BLOCK.search(name) and len(tensor.shape) > 1
    )
    return guess._replace(weights=weights or guess.weights, vocabulary=vocabulary)


def read_size(location: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and blocks of the network at a location; None: its files are not on this machine.

    Raises
    ------
    EmodriftError
        Its config does not say.
    """
    folder = locate(location.get("base", location))
    if folder is None:
        return None
    if is_gguf(folder):
        values = read_gguf_header(folder).values
        kind = values["general.architecture"]
        return values[f"{kind}.embedding_length"], values[f"{kind}.block_count"]
    size = read_config_shape(read_object(folder / "config.json", KEY), str(folder), KEY)
    return size["hidden"], size["layers"]


def locate(place: Mapping[str, Any]) -> Path | None:
    """Folder or GGUF file of a place, in the hub's cache if need be; None: not on this machine."""
    if "path" in place:
        return Path(place["path"])
    if "repo" not in place:
        return None
    from huggingface_hub import try_to_load_from_cache

    name = "/".join(filter(None, (place.get("subfolder"), "config.json")))
    found = try_to_load_from_cache(place["repo"], name, revision=place["commit"])
    return Path(found).parent if isinstance(found, str) else None


def _read_gguf(path: Path, guess: Shape) -> Shape:
    """Shape of a GGUF file of a model of Llama's kind: four attention and three MLP matrices."""
    values = read_gguf_header(path).values
    kind = values["general.architecture"]
    heads = values.get(f"{kind}.attention.head_count", 1)
    shared = values.get(f"{kind}.attention.head_count_kv", heads)
    wide = values.get(f"{kind}.attention.key_length", guess.hidden // heads)
    attention = 2 * guess.hidden * wide * (heads + shared)
    block = attention + 3 * guess.hidden * values[f"{kind}.feed_forward_length"]
    return guess._replace(
        weights=guess.layers * block, vocabulary=values.get("tokenizer.ggml.tokens", 0)
    )
