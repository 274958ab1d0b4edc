"""Digests of values, files and directories: what content keys are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

KEY_LENGTH = 20


def digest_bytes(data: bytes) -> str:
    """Hex digest of a byte string (BLAKE2b, 160 bit)."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def digest_value(value: Any) -> str:
    """Digest of a JSON-able value; mappings are ordered by key, sequences keep their order."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def make_key(**parts: Any) -> str:
    """Content key of a store entry: the digest of everything that determines its content."""
    return digest_value(parts)[:KEY_LENGTH]


def digest_file(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


class FileDigests:
    """File digests remembered by path, size, modification time and inode.

    Parameters
    ----------
    memo
        JSON file that holds the memory; deleting it costs time, never correctness.
    """

    def __init__(self, memo: Path) -> None:
        self.memo = memo
        self.known: dict[str, list] = json.loads(memo.read_text()) if memo.exists() else {}
        self.changed = False

    def digest(self, path: Path) -> str:
        """Digest of one file, read only if its size, time or inode differ from memory."""
        state = path.stat()
        stamp = [state.st_size, state.st_mtime_ns, state.st_ino]
        remembered = self.known.get(str(path.resolve()))
        if remembered and remembered[0] == stamp:
            return remembered[1]
        digest = digest_file(path)
        self.known[str(path.resolve())] = [stamp, digest]
        self.changed = True
        return digest

    def digest_tree(self, root: Path, names: Iterable[Path]) -> str:
        """Digest of the named files below `root`: relative names and contents."""
        return digest_value({str(p.relative_to(root)): self.digest(p) for p in names})

    def save(self) -> None:
        """Write the memory back, atomically, if anything was learnt."""
        if self.changed:
            self.memo.parent.mkdir(parents=True, exist_ok=True)
            scratch = self.memo.with_suffix(".tmp")
            scratch.write_text(json.dumps(self.known))
            scratch.replace(self.memo)
            self.changed = False
