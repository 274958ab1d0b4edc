"""Files that are there wholly or not at all: scratch names, atomic writing, bytes on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from emodrift.errors import EmodriftError

SCRATCH = re.compile(r"\.(?P<name>.+)\.scratch-(?P<pid>\d+)-[0-9a-f]{8}-(?P<machine>.+)")
DISK_ERRORS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the disk is read-only: choose a folder that can be written",
    errno.EACCES: "permission denied: let your user read and write there",
    errno.EPERM: "permission denied: let your user read and write there",
    errno.EIO: "the disk fails to read or write: check it",
    errno.ESTALE: "the file system lost track of it: mount it again",
}


def name_scratch(path: Path) -> Path:
    """A new hidden name beside `path` that no other writer has, and that tells who its writer is.

    See :func:`clear_scratch`.
    """
    unique = f"{os.getpid()}-{uuid.uuid4().hex[:8]}-{_name_machine()}"
    return path.with_name(f".{path.name}.scratch-{unique}")


def is_scratch(path: Path) -> bool:
    """Whether a path is the scratch of some writer."""
    return SCRATCH.fullmatch(path.name) is not None


def is_abandoned(path: Path) -> bool:
    """Whether a path is scratch of a process of this machine that is no more."""
    found = SCRATCH.fullmatch(path.name)
    if not found or found["machine"] != _name_machine():
        return False
    try:
        os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


def clear_scratch(folder: Path, name: str = "*") -> None:
    """Remove what dead processes of this machine left of their scratch for a name in a folder."""
    for scratch in folder.glob(f".{name}.scratch-*"):
        if is_abandoned(scratch):
            remove(scratch)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it; no error if it cannot be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that readers see the old one or the new one, whole.

    Raises
    ------
    EmodriftError
        The disk is full, read-only, or not to be written.
    """
    scratch = name_scratch(path)
    with explain_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
            sync(path.parent)
        finally:
            remove(scratch)


def check_disk(folder: Path) -> None:
    """Refuse a folder in which nothing can be written.

    Raises
    ------
    EmodriftError
        Its disk is full, read-only, or not to be written.
    """
    probe = folder / ".probe"
    try:
        write_atomically(probe, "whether there is room")
    finally:
        remove(probe)


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Wait until all files and folders below a folder, and itself, are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file() or path.is_dir():
            sync(path)
    sync(folder)


@contextlib.contextmanager
def explain_disk(path: Path) -> Iterator[None]:
    """Turn errors of the disk itself into one line that says how to mend it.

    Parameters
    ----------
    path
        What is being written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        raise EmodriftError(
            f"{error.filename or path}: {DISK_ERRORS[error.errno]}, and start again; what is "
            "finished is kept"
        ) from None


def _name_machine() -> str:
    """Host and process namespace, within which a process number means one process."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{namespace:x}-{platform.node()}"


def measure_size(path: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
