"""Rows of an unfinished entry, kept as they come, so that a killed job goes on where it stopped.

They lie beside the entry in a hidden folder, ``.<key>.partial``, which goes when the entry is
written. A block of rows is renamed into place when its bytes are on the disk, so that a
half-written one is never read. The folder may be deleted at any time: it costs time, never
correctness.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emodrift.store.digest import digest_value
from emodrift.store.files import sync

SECONDS_BETWEEN_BLOCKS = 30.0
ROWS = "rows"


def locate_partial(entry: Path) -> Path:
    """Folder of the rows that are kept for an entry while it is unfinished."""
    return entry.with_name(f".{entry.name}.partial")


class KeptRows:
    """Finished rows of one table of an unfinished entry; use it as a context manager.

    Parameters
    ----------
    folder
        See :func:`locate_partial`.
    recipe
        What tells this table from others of the entry, and what its rows depend on beside the
        entry's key: name, number of rows, the data type that is used. JSON-able. Rows that were
        kept under another recipe are not read.
    """

    def __init__(self, folder: Path, recipe: Any) -> None:
        self.folder = folder / digest_value(recipe)[:12]
        self.waiting: list[tuple[Sequence[int], Mapping[str, np.ndarray]]] = []
        self.written = time.monotonic()

    def __enter__(self) -> KeptRows:
        return self

    def __exit__(self, *_error: object) -> None:
        self.flush()

    def restore(self, rows: Collection[int]) -> Iterator[tuple[list[int], dict[str, np.ndarray]]]:
        """Those of some rows that earlier jobs have kept, each once, and their arrays by name."""
        missing = set(rows)
        for path in sorted(self.folder.glob("*.npz")):
            arrays = _read_block(path)
            if arrays is None:
                continue
            kept = arrays.pop(ROWS).tolist()
            places = [place for place, row in enumerate(kept) if row in missing]
            if places:
                missing.difference_update(kept)
                yield [kept[k] for k in places], {n: a[places] for n, a in arrays.items()}
        if len(missing) < len(rows):
            logging.info("%d rows are kept from an interrupted job", len(rows) - len(missing))

    def keep(self, rows: Sequence[int], arrays: Mapping[str, np.ndarray]) -> None:
        """Keep finished rows; they are on the disk within half a minute.

        Parameters
        ----------
        rows
            Row numbers.
        arrays
            Arrays by name; the first axis of each runs over the rows.
        """
        self.waiting.append((rows, arrays))
        if time.monotonic() - self.written >= SECONDS_BETWEEN_BLOCKS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting as one block."""
        if self.waiting:
            block = {
                name: np.concatenate([arrays[name] for _, arrays in self.waiting])
                for name in self.waiting[0][1]
            }
            block[ROWS] = np.concatenate([np.asarray(rows) for rows, _ in self.waiting])
            _write_block(self.folder, block)
            self.waiting.clear()
        self.written = time.monotonic()


def _write_block(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    scratch = folder / f"{name}.tmp"
    with scratch.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stubs take all for allow_pickle
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(folder / f"{name}.npz")
    sync(folder)


def _read_block(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, zipfile.BadZipFile):
        logging.warning("%s cannot be read and is left out", path)
        return None
