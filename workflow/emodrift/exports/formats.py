"""Writers of locked vectors for other tools, one for each format.

Lengths matter where a tool adds what it reads: unit vectors are lost beside residual norms of tens
or hundreds. Formats that are added as they are therefore take a strength in mean residual norms.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from emodrift.errors import EmodriftError
from emodrift.exports.locked import LockedVectors

BLOCK_LISTS = {"gpt2": "h", "gpt_neo": "h", "bloom": "h", "opt": "decoder.layers"}
"""Model type -> name of its list of blocks below the base model, where that is not ``layers``."""


def write_safetensors(vectors: LockedVectors, out: Path, strength: float | None) -> list[Path]:
    """``vectors.safetensors``: a tensor (hidden,) for each name; layer and origin as metadata.

    Parameters
    ----------
    vectors
        What to write.
    out
        Folder.
    strength
        Length of every vector in mean residual norms; None: unit length.

    Examples
    --------
    >>> origin = {"model": "llama", "reference": "sft step 0", "key": "1f0c"}
    >>> numbers = {"direction": np.eye(2, 4), "center": np.zeros(4), "residual_norm": 8.0}
    >>> vectors = LockedVectors(("afraid", "calm"), ("emotion",) * 2, layer=3, **numbers, **origin)

    >>> (path,) = write_safetensors(vectors, Path("."), strength=None)
    >>> from safetensors.numpy import load_file
    >>> load_file(path)["calm"]
    array([0., 1., 0., 0.], dtype=float32)
    """
    path = out / "vectors.safetensors"
    rows = dict(zip(vectors.name, vectors.scale(strength), strict=True))
    save_file(rows, path, metadata=vectors.describe() | _tell_length(strength))
    return [path]


def write_numpy(vectors: LockedVectors, out: Path, strength: float | None) -> list[Path]:
    """``vectors.npz``: ``direction`` (direction, hidden), ``name``, ``kind``, ``center``, ``layer``
    and ``residual_norm``; nothing in it is pickled.

    Examples
    --------
    >>> origin = {"model": "llama", "reference": "sft step 0", "key": "1f0c"}
    >>> numbers = {"direction": np.eye(2, 4), "center": np.zeros(4), "residual_norm": 8.0}
    >>> vectors = LockedVectors(("afraid", "calm"), ("emotion",) * 2, layer=3, **numbers, **origin)

    >>> (path,) = write_numpy(vectors, Path("."), strength=0.5)
    >>> np.load(path)["direction"][1]
    array([0., 4., 0., 0.], dtype=float32)
    """
    path = out / "vectors.npz"
    np.savez(
        path,
        direction=vectors.scale(strength),
        name=np.array(vectors.name),
        kind=np.array(vectors.kind),
        center=vectors.center,
        layer=np.int64(vectors.layer),
        residual_norm=np.float64(vectors.residual_norm),
    )
    return [path]


def write_gguf(vectors: LockedVectors, out: Path, strength: float | None) -> list[Path]:
    """``<name>.gguf``, a control vector for llama.cpp and repeng each.

    Both add ``direction.k`` to the output of block k counted from 0, so ``hidden_states[h]`` is
    ``direction.(h-1)``; llama.cpp refuses ``direction.0``.

    Raises
    ------
    EmodriftError
        The vectors are locked at layer 0 or 1.

    Examples
    --------
    >>> origin = {"model": "llama", "reference": "sft step 0", "key": "1f0c"}
    >>> numbers = {"direction": np.eye(2, 4), "center": np.zeros(4), "residual_norm": 8.0}
    >>> vectors = LockedVectors(("afraid", "calm"), ("emotion",) * 2, layer=3, **numbers, **origin)

    >>> [path.name for path in write_gguf(vectors, Path("."), strength=0.5)]
    ['afraid.gguf', 'calm.gguf']
    """
    import gguf

    if vectors.block == 0:
        raise EmodriftError(
            "a GGUF control vector cannot steer the first block's output (llama.cpp refuses "
            "direction.0); set vectors.layer to 2 or more"
        )
    paths = []
    for name, row in zip(vectors.name, vectors.scale(strength), strict=True):
        path = out / f"{name}.gguf"
        writer = gguf.GGUFWriter(path, "controlvector")
        writer.add_string("controlvector.model_hint", vectors.model)
        writer.add_uint32("controlvector.layer_count", 1)
        for key, value in (vectors.describe() | _tell_length(strength)).items():
            writer.add_string(f"emodrift.{key}", value)
        writer.add_tensor(f"direction.{vectors.block}", row)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        paths.append(path)
    return paths


def write_steering_vectors(vectors: LockedVectors, out: Path, strength: float | None) -> list[Path]:
    """``<name>.steering.pt``, the fields of a ``steering_vectors.SteeringVector`` each.

    ``SteeringVector(**torch.load(path))`` is the vector; layers are blocks counted from 0.

    Examples
    --------
    >>> origin = {"model": "llama", "reference": "sft step 0", "key": "1f0c"}
    >>> numbers = {"direction": np.eye(2, 4), "center": np.zeros(4), "residual_norm": 8.0}
    >>> vectors = LockedVectors(("afraid", "calm"), ("emotion",) * 2, layer=3, **numbers, **origin)

    >>> afraid, calm = write_steering_vectors(vectors, Path("."), strength=0.5)
    >>> torch.load(calm)
    {'layer_activations': {2: tensor([0., 4., 0., 0.])}, 'layer_type': 'decoder_block'}
    """
    paths = []
    for name, row in zip(vectors.name, vectors.scale(strength), strict=True):
        path = out / f"{name}.steering.pt"
        layers = {vectors.block: torch.from_numpy(row)}
        torch.save({"layer_activations": layers, "layer_type": "decoder_block"}, path)
        paths.append(path)
    return paths


def write_lm_eval(vectors: LockedVectors, out: Path, strength: float | None) -> list[Path]:
    """``<name>.lm-eval.pt``, a steering file for ``lm_eval --model steered`` each.

    It maps the hooked module, named below the base model, to the vector that is added there.

    Examples
    --------
    >>> origin = {"model": "llama", "reference": "sft step 0", "key": "1f0c"}
    >>> numbers = {"direction": np.eye(2, 4), "center": np.zeros(4), "residual_norm": 8.0}
    >>> vectors = LockedVectors(("afraid", "calm"), ("emotion",) * 2, layer=3, **numbers, **origin)

    >>> afraid, calm = write_lm_eval(vectors, Path("."), strength=0.5)
    >>> (hook, steer), *_ = torch.load(calm).items()
    >>> hook, steer["steering_coefficient"]
    ('layers.2', 4.0)
    """
    blocks = BLOCK_LISTS.get(vectors.model, "layers")
    paths = []
    for name, row in zip(vectors.name, vectors.scale(None), strict=True):
        path = out / f"{name}.lm-eval.pt"
        length = 1.0 if strength is None else strength * vectors.residual_norm
        steer = {
            "steering_vector": torch.from_numpy(row),
            "steering_coefficient": length,
            "action": "add",
            "bias": None,
            "head_index": None,
        }
        torch.save({f"{blocks}.{vectors.block}": steer}, path)
        paths.append(path)
    return paths


Writer = Callable[[LockedVectors, Path, float | None], list[Path]]

FORMATS: dict[str, Writer] = {
    "safetensors": write_safetensors,
    "numpy": write_numpy,
    "gguf": write_gguf,
    "repeng": write_gguf,
    "steering-vectors": write_steering_vectors,
    "lm-eval": write_lm_eval,
}
"""Format -> its writer; repeng reads GGUF."""


def _tell_length(strength: float | None) -> dict[str, str]:
    return {"length": "1" if strength is None else f"{strength:g} mean residual norms"}
