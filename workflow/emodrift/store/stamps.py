"""Stamps of published studies: which files a study's folder has, and which entries they show.

``results/<study>/.published/<key>`` holds the digest of each file and the places of the entries.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from emodrift.store.digest import digest_file
from emodrift.store.files import remove, sync, write_atomically

STAMPS = ".published"


class Stamp(NamedTuple):
    """What a stamp says.

    Parameters
    ----------
    files
        Path below the study's folder -> digest.
    entries
        Places below the store of the entries that the files show.
    """

    files: dict[str, str]
    entries: tuple[str, ...]


def list_stamps(results: Path) -> Iterator[Path]:
    """Stamps of all studies published below a folder."""
    return (path for path in sorted(results.glob(f"*/{STAMPS}/*")) if path.name[0] != ".")


def write_stamp(path: Path, entries: Iterable[str]) -> None:
    """Stamp a study's folder once all its files are on the disk.

    Parameters
    ----------
    path
        The stamp, ``<folder>/.published/<key>``.
    entries
        Places below the store of the entries that the files show.
    """
    target = path.parents[1]
    files = {}
    for file in sorted(target.rglob("*")):
        name = file.relative_to(target)
        if file.is_file() and STAMPS not in name.parts:
            files[name.as_posix()] = digest_file(file)
            sync(file)
    stamp = Stamp(files, tuple(sorted(entries)))
    write_atomically(path, json.dumps(stamp._asdict(), indent=1) + "\n")


def read_stamp(path: Path) -> Stamp | None:
    """What a stamp says; None if it cannot be read."""
    try:
        match json.loads(path.read_text(encoding="utf-8")):
            case {"files": dict(files), "entries": list(entries)}:
                return Stamp(files, tuple(map(str, entries)))
    except (OSError, ValueError, RecursionError):
        pass
    return None


def forget_incomplete(target: Path) -> None:
    """Remove the stamp of a publication some of whose files are gone, so that it is made again."""
    for path in (target / STAMPS).glob("*"):
        stamp = read_stamp(path)
        if stamp is None or not all((target / name).is_file() for name in stamp.files):
            remove(path)
