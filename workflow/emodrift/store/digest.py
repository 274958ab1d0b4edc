"""Digests of values, files and directories: what content keys are made of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

KEY_LENGTH = 20
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def digest_bytes(data: bytes) -> str:
    """Hex digest of a byte string (BLAKE2b, 160 bit)."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def digest_value(value: Any) -> str:
    """Digest of a JSON-able value; mappings are ordered by key, sequences keep their order."""
    return digest_bytes(_ENCODER.encode(value).encode())


def make_key(**parts: Any) -> str:
    """Content key of a store entry: the digest of everything that determines its content."""
    return digest_value(parts)[:KEY_LENGTH]


def digest_file(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
