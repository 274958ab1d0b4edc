"""GGUF files as checkpoints: what a file holds, told from its header without loading it.

The format is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The reader of the
`gguf` package takes seconds for a vocabulary of fifty thousand; here values that are not asked for
are passed over, since a plan is made by every job.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.checkpoints.found import Found
from emodrift.checkpoints.names import read_name
from emodrift.errors import EmodriftError
from emodrift.store.memory import FileDigests

SUFFIX = ".gguf"
MAGIC = b"GGUF"
SCALARS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
TEXT, ARRAY = 8, 9
ALIGNMENT = 32
PLAIN = ("F32", "F16", "BF16")
SHAPE_KEYS = {"hidden": "embedding_length", "layers": "block_count"}


class Header(NamedTuple):
    """What the head of a GGUF file says.

    Parameters
    ----------
    values
        Metadata key -> number or text; of an array, its length.
    types
        Names of the tensors' types, such as ``Q4_1``, the one of most weights first.
    tensors
        Names of the tensors, such as ``blk.0.attn_q.weight``.
    size
        Bytes that the file must have for all its tensors to be in it.
    """

    values: dict[str, Any]
    types: tuple[str, ...]
    tensors: tuple[str, ...]
    size: int


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file."""
    return path.suffix == SUFFIX and path.is_file()


def read_gguf(path: Path, key: str, digests: FileDigests) -> Found:
    """Read what a GGUF file is; it is identified by its bytes alone.

    Parameters
    ----------
    path
        The file.
    key
        Config key to name in errors.
    digests
        Memory of file digests.

    Raises
    ------
    EmodriftError
        It is not GGUF, is cut off, holds no whole model, or lacks its tokenizer.
    """
    try:
        header = read_header(path)
    except (ValueError, LookupError, ArithmeticError, TypeError, RecursionError, struct.error):
        raise EmodriftError(
            f"{key}: {path} is not a GGUF file of version 2 or 3, or is cut off; copy it again"
        ) from None
    _check(header, path, key)
    architecture = header.values["general.architecture"]
    named = read_name(path.stem)
    quantised = ", ".join(t for t in header.types if t not in PLAIN)
    return Found(
        location={"path": str(path)} | ({"dequantised": quantised} if quantised else {}),
        digest=digests.digest(path),
        shape={n: header.values[f"{architecture}.{k}"] for n, k in SHAPE_KEYS.items()},
        step=named.step if named else None,
        tokens=named.tokens if named else None,
    )


def read_header(path: Path) -> Header:
    """Metadata and tensor types of a GGUF file.

    Raises
    ------
    ValueError, struct.error, KeyError, UnicodeDecodeError
        It is no such file, or ends within its head.
    """
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data)
        version = cursor.read("I") if data[:4] == MAGIC else 0
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version}")
        number, pairs = cursor.read("Q"), cursor.read("Q")
        values = {cursor.read_text(): cursor.read_value(cursor.read("I")) for _ in range(pairs)}
        weights: Counter[str] = Counter()
        names, end = [], 0
        for _ in range(number):
            names.append(cursor.read_text())
            elements = prod(cursor.read("Q") for _ in range(cursor.read("I")))
            kind = GGMLQuantizationType(cursor.read("I"))
            block, size = GGML_QUANT_SIZES[kind]
            weights[kind.name] += elements
            end = max(end, cursor.read("Q") + elements // block * size)
        alignment = values.get("general.alignment", ALIGNMENT)
        start = -(-cursor.place // alignment) * alignment
    types = tuple(kind for kind, _ in weights.most_common())
    return Header(values, types, tuple(names), start + end)


def _check(header: Header, path: Path, key: str) -> None:
    values = header.values
    architecture = values.get("general.architecture")
    if values.get("general.type", "model") != "model" or any(
        type(values.get(f"{architecture}.{k}")) is not int for k in SHAPE_KEYS.values()
    ):
        raise EmodriftError(
            f"{key}: {path} holds no language model (general.type "
            f"{values.get('general.type', 'unset')}, architecture {architecture}); point at the "
            "model's own file"
        )
    if values.get("split.count", 1) > 1:
        raise EmodriftError(
            f"{key}: {path} is one of {values['split.count']} parts; join them with llama.cpp's "
            "`llama-gguf-split --merge`"
        )
    if "tokenizer.ggml.tokens" not in values:
        raise EmodriftError(f"{key}: {path} holds no tokenizer; convert the model with its own")
    if path.stat().st_size < header.size:
        raise EmodriftError(
            f"{key}: {path} has {path.stat().st_size:,} of {header.size:,} bytes; copy it again"
        )


class _Cursor:
    """Reads little-endian values one after the other; lengths of arrays in place of arrays."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.place = len(MAGIC)

    def read(self, code: str) -> Any:
        """One number."""
        (value,) = struct.unpack_from(f"<{code}", self.data, self.place)
        self.place += struct.calcsize(f"<{code}")
        return value

    def read_text(self) -> str:
        """One text."""
        length = self.read("Q")
        text = self.data[self.place : self.place + length]
        if len(text) < length:
            raise ValueError("the file ends within a text")
        self.place += length
        return text.decode()

    def read_value(self, kind: int) -> Any:
        """A value of a type; of an array its length."""
        if kind == TEXT:
            return self.read_text()
        if kind != ARRAY:
            return self.read(SCALARS[kind])
        inner, length = self.read("I"), self.read("Q")
        if inner in SCALARS:
            self.place += length * struct.calcsize(f"<{SCALARS[inner]}")
        else:
            for _ in range(length):
                self._pass_over(inner)
        return length

    def _pass_over(self, kind: int) -> None:
        if kind == TEXT:
            length = self.read("Q")
            self.place += length
        else:
            self.read_value(kind)
