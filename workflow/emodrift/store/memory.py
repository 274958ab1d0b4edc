"""Memory: JSON files of what costs time to find out again, beside the entries of a store.

Deleting such a file costs time, never correctness. Several writers may share one: each adds what it
has learnt to what is there by then. One that cannot be read is begun anew, and one that cannot be
written is done without; the log says so.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_file, digest_value
from emodrift.store.files import write_atomically
from emodrift.store.locking import hold


class Memory:
    """Names and what is known of them, kept in a JSON file.

    Parameters
    ----------
    path
        The file; None keeps nothing beyond this object.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        known = {} if path is None else _read(path)
        if known is None:
            logging.warning("%s cannot be read and is begun anew", path)
        self._known: dict[str, Any] = known or {}
        self._learnt: dict[str, Any] = {}

    def recall(self, name: str) -> Any:
        """What is known of a name, or None."""
        return self._known.get(name)

    def learn(self, name: str, value: Any) -> None:
        """Know something JSON-able of a name from now on; :meth:`save` keeps it."""
        self._known[name] = self._learnt[name] = value

    def save(self) -> None:
        """Add what was learnt to the file, beside what others have added since it was read."""
        if self.path is None or not self._learnt:
            return
        try:
            with hold(self.path):
                together = (_read(self.path) or {}) | self._learnt
                write_atomically(self.path, json.dumps(together, indent=0, sort_keys=True))
        except EmodriftError as error:
            logging.warning("%s is not kept (%s)", self.path.name, error)
            return
        self._known, self._learnt = together, {}


class FileDigests:
    """File digests remembered by path, size, times and inode, and what is in order.

    The time of the last change, which nobody can set, tells a file that was overwritten in place by
    another of its size, and whose modification time was set back to what it had been.

    Parameters
    ----------
    memo
        File of the memory.
    """

    def __init__(self, memo: Path) -> None:
        self.memory = Memory(memo)
        self._folders: dict[str, str] = {}

    def digest(self, path: Path) -> str:
        """Digest of one file, read only if its size, times or inode differ from memory."""
        state = path.stat()
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        name = self._resolve(path)
        match self.memory.recall(name):
            case [known, str(digest)] if known == stamp:
                return digest
        digest = digest_file(path)
        self.memory.learn(name, [stamp, digest])
        return digest

    def digest_tree(self, root: Path, names: Iterable[Path]) -> str:
        """Digest of the named files below `root`: relative names and contents."""
        return digest_value({str(p.relative_to(root)): self.digest(p) for p in names})

    def _resolve(self, path: Path) -> str:
        """A file's path without links; that of a folder is found out once."""
        if path.is_symlink():
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def note(self, mark: str) -> None:
        """Remember that something which costs time was found in order."""
        self.memory.learn(mark, True)

    def is_noted(self, mark: str) -> bool:
        """Whether it was found in order before; see :meth:`note`."""
        return self.memory.recall(mark) is True

    def save(self) -> None:
        """Keep what was learnt."""
        self.memory.save()


def _read(path: Path) -> dict[str, Any] | None:
    """What a file of memory holds; None if it cannot be read."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) else None
