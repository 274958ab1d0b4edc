"""One writer at a time, where several processes write one file or folder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 20.0
"""Seconds."""


@contextlib.contextmanager
def hold(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Let no other process hold a file or folder; a lock that cannot be had is done without.

    Parameters
    ----------
    path
        The file or folder; the lock lies beside it.
    patience
        Seconds for which another is waited for.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except (OSError, NotImplementedError, Timeout) as error:
        logging.debug("no lock of %s (%s)", path, error)
    try:
        yield
    finally:
        lock.release()
