"""Headers of safetensors files: what a checkpoint's weights claim to be, read without the weights.

Format: https://huggingface.co/docs/safetensors, a length in eight bytes, that many bytes of JSON,
then the tensors without gaps.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from emodrift.checkpoints.files import read_object, shorten
from emodrift.errors import EmodriftError

LARGEST_HEADER = 100_000_000
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
INDEX = ".index.json"


class Tensor(NamedTuple):
    """What a header says of one tensor: data type, shape, first and last byte of its data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

    Raises
    ------
    ValueError
        The file is cut off, or no safetensors file; the words say how.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise ValueError(f"holds {size} bytes, too few for any weights")
        (length,) = struct.unpack("<Q", start)
        if length > min(LARGEST_HEADER, size - 8):
            raise ValueError(f"claims a header of {length:,} bytes in a file of {size:,}")
        try:
            header = json.loads(file.read(length).decode("utf-8"))
        except UnicodeDecodeError:
            raise ValueError("has a header that is not encoded as UTF-8") from None
        except (ValueError, RecursionError):
            raise ValueError("has a header that is not valid JSON") from None
    if not isinstance(header, dict):
        raise ValueError("has a header that is no JSON object")
    header.pop("__metadata__", None)
    tensors = {name: _read_tensor(name, value) for name, value in header.items()}
    _check_layout(tensors, size - 8 - length)
    return tensors


def check_tensors(path: Path, names: Sequence[str], key: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint's safetensors files, each checked as far as its header tells.

    Parameters
    ----------
    path
        The folder.
    names
        The files that a loader reads.
    key
        Config key to name in errors.

    Raises
    ------
    EmodriftError
        A file is cut off or none of safetensors, shards have no index or another than theirs, or
        there are no tensors at all.
    """
    headers: dict[str, dict[str, Tensor]] = {}
    for name in names:
        try:
            headers[name] = read_header(path / name)
        except (ValueError, OSError) as error:
            raise EmodriftError(f"{key}: {path / name} {error}; copy it again") from None
    if len(headers) > 1 or any("-of-" in name for name in names):
        _check_index(path, headers, key)
    tensors = {name: t for header in headers.values() for name, t in header.items()}
    if not tensors:
        raise EmodriftError(f"{key}: {path} has weight files without any weights; save it again")
    return tensors


def _read_tensor(name: str, value: object) -> Tensor:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]}:
            whole = all(type(n) is int and 0 <= n < 1 << 62 for n in (*shape, start, stop))
            if whole and dtype not in BITS:
                raise ValueError(f"has weight {shorten(name)} of unknown data type {dtype[:20]}")
            if whole and math.prod(shape) * BITS[dtype] == 8 * (stop - start):
                return Tensor(dtype, tuple(shape), start, stop)
    raise ValueError(f"has weight {shorten(name)} whose shape and bytes do not agree")


def _check_layout(tensors: dict[str, Tensor], size: int) -> None:
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if tensor.start != end:
            raise ValueError(f"has weight {shorten(name)} where another one's bytes should be")
        end = tensor.stop
    if end != size:
        raise ValueError(f"holds {size:,} bytes of weights where its header names {end:,}")


def _check_index(path: Path, headers: dict[str, dict[str, Tensor]], key: str) -> None:
    index = path / f"{min(headers).partition('-')[0]}.safetensors{INDEX}"
    if not index.is_file():
        raise EmodriftError(
            f"{key}: {path} has weights in {len(headers)} shards and no {index.name}, which says "
            "what is in each; copy it too"
        )
    shards = read_index(index, key)
    for name, shard in shards.items():
        if name not in headers.get(shard, ()):
            raise EmodriftError(
                f"{key}: {index} places weight {shorten(name)} in {shorten(shard)}, which does not "
                "hold it; copy the folder again"
            )


def read_index(path: Path, key: str) -> dict[str, str]:
    """Weight -> shard, as an index says.

    Raises
    ------
    EmodriftError
        It says no such thing.
    """
    shards = read_object(path, key).get("weight_map")
    if isinstance(shards, dict) and shards and all(isinstance(s, str) for s in shards.values()):
        return shards
    raise EmodriftError(f"{key}: {path} has no `weight_map` from weights to shards; copy it again")
