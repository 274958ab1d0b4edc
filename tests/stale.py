"""A shared file system whose listings are stale, as a network's may be for seconds.

:func:`install` copies this file into a project as ``sitecustomize.py``, so that every process of a
run imports it: an entry that another machine has just renamed into the store is not there yet, for
`os.stat`, `open` and listings alike. A job of a cluster is a machine of its own, which sees later
than the login node; where there is no cluster, each process is a machine.
"""

import builtins
import errno
import io
import os
import re
import shutil
import time
from pathlib import Path

SEEN, SECONDS = "EMODRIFT_TEST_SEEN", "EMODRIFT_TEST_STALE"
ENTRY = re.compile(r".*results/store/[a-z_-]+/[0-9a-f]+(?=/|$)")
JOB = os.environ.get("SLURM_JOB_ID")
MACHINE = JOB or f"process-{os.getpid()}"
STAT = os.stat


def install(folder, seen, seconds):
    """Have all processes of a project see entries late; what their environment needs."""
    shutil.copy(__file__, Path(folder) / "workflow" / "sitecustomize.py")
    return {SEEN: str(seen), SECONDS: str(seconds)}


def is_unseen(path):
    """Whether a path lies in an entry that another machine made in the last seconds."""
    found = None if isinstance(path, int) else ENTRY.match(os.path.abspath(os.fsdecode(path)))
    if found is None or os.path.lexists(_name_sign(found[0])):
        return False
    try:
        age = time.time() - STAT(found[0]).st_ctime
    except OSError:
        return False
    return age < float(os.environ[SECONDS]) * (3 if JOB else 1)


def take_over():
    """Put what looks at files behind :func:`is_unseen`."""
    for module, name in ((os, "stat"), (os, "lstat"), (os, "open"), (io, "open")):
        setattr(module, name, _hide(getattr(module, name)))
    builtins.open = io.open
    os.listdir, os.scandir = _list(os.listdir), _scan(os.scandir)
    for name in ("rename", "replace"):
        setattr(os, name, _note(getattr(os, name)))


def _hide(call):
    def look(path, *arguments, **options):
        if is_unseen(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(path, *arguments, **options)

    return look


class Listing:
    """What `os.scandir` gives, without what is not seen."""

    def __init__(self, entries):
        self.entries = iter([entry for entry in entries if not is_unseen(entry.path)])

    def __iter__(self):
        return self.entries

    def __next__(self):
        return next(self.entries)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def close(self):
        pass


def _list(call):
    def look(path="."):
        names = call(path)
        if isinstance(path, int):
            return names
        return [name for name in names if not is_unseen(os.path.join(path, name))]

    return look


def _scan(call):
    return lambda path=".": call(path) if isinstance(path, int) else Listing(call(path))


def _note(call):
    def move(source, target, **options):
        call(source, target, **options)
        if ENTRY.fullmatch(os.path.abspath(os.fsdecode(target))):
            sign = _name_sign(os.path.abspath(os.fsdecode(target)))
            os.makedirs(os.path.dirname(sign), exist_ok=True)
            with open(sign, "w"):
                pass

    return move


def _name_sign(entry):
    return os.path.join(os.environ[SEEN], MACHINE, entry.replace("/", "_"))


if SECONDS in os.environ:
    take_over()
