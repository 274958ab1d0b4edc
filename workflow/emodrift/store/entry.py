"""Entries: results that lie at a path which is their identity.

An entry that exists is right. It is written in a hidden sibling directory and renamed into place,
its manifest inside, so a killed job leaves nothing that looks finished.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_file
from emodrift.store.partial import locate_partial

MANIFEST = "manifest.json"
RECORDED_PACKAGES = ("emodrift", "numpy", "torch", "transformers", "xarray", "zarr", "scipy")


@dataclass(frozen=True)
class Entry:
    """One keyed result of one stage.

    Parameters
    ----------
    stage
        Name of the stage, also the folder in the store.
    key
        Content key; equal keys mean equal content.
    params
        Values of the stage function that determine the content, JSON-able.
    inputs
        Name -> what this one is made from: an entry, or entries in tuples and mappings.
    context
        Values of the stage function that do not: paths, devices. Not part of the key.
    label
        What a person calls it, such as ``"healthy step 160"``. Not part of the key.
    code
        Digest of the stage's code.
    """

    stage: str
    key: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Inputs] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    code: str = ""

    @property
    def place(self) -> str:
        """Path below the store."""
        return f"{self.stage}/{self.key}"

    def list_inputs(self) -> list[Entry]:
        """All entries this one is made from, flat."""
        return list_entries_in(self.inputs)

    def describe(self) -> dict[str, Any]:
        """The entry as plain values, for a job; inputs as places below the store."""
        return {
            "stage": self.stage,
            "key": self.key,
            "params": dict(self.params),
            "context": dict(self.context),
            "inputs": map_inputs(self.inputs, lambda entry: entry.place),
            "label": self.label,
            "code": self.code,
        }


Inputs = Entry | tuple["Inputs", ...] | Mapping[str, "Inputs"]


def map_inputs(inputs: Any, change: Callable[[Any], Any]) -> Any:
    """Every leaf of nested sequences and mappings changed; sequences become lists."""
    if isinstance(inputs, Mapping):
        return {name: map_inputs(value, change) for name, value in inputs.items()}
    if isinstance(inputs, tuple | list):
        return [map_inputs(value, change) for value in inputs]
    return change(inputs)


def list_entries_in(inputs: Inputs) -> list[Entry]:
    """The entries in nested tuples and mappings, in order."""
    found: list[Entry] = []
    map_inputs(inputs, found.append)
    return found


def entry_exists(path: Path) -> bool:
    """Whether a finished entry lies at `path`."""
    return (path / MANIFEST).is_file()


@contextlib.contextmanager
def write_entry(path: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Give a scratch directory that becomes the entry at `path` when the block ends well.

    Rows that an unfinished job has kept for it (:mod:`emodrift.store.partial`) are then deleted.

    Parameters
    ----------
    path
        Final directory of the entry, ``<store>/<stage>/<key>``.
    manifest
        Stage, key, inputs and params; seconds, versions and file digests are added.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{platform.node()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    started = time.monotonic()
    try:
        yield scratch
        record = {
            **manifest,
            "seconds": round(time.monotonic() - started, 2),
            "packages": _list_versions(),
            "python": platform.python_version(),
            "git_commit": _find_commit(),
            "files": {
                str(file.relative_to(scratch)): digest_file(file)
                for file in sorted(scratch.rglob("*"))
                if file.is_file()
            },
        }
        (scratch / MANIFEST).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        _move_into_place(scratch, path)
        shutil.rmtree(locate_partial(path), ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Manifest of the entry at `path`."""
    if not entry_exists(path):
        raise EmodriftError(f"{path} is not a finished store entry (no {MANIFEST}); run snakemake")
    return json.loads((path / MANIFEST).read_text())


def find_damage(path: Path) -> list[str]:
    """Names of an entry's files that are missing or whose bytes differ from its manifest."""
    files = read_manifest(path)["files"]
    return [
        name
        for name, digest in files.items()
        if not (path / name).is_file() or digest_file(path / name) != digest
    ]


def list_entries(store: Path) -> list[Path]:
    """Directories of all finished entries in a store."""
    return sorted(manifest.parent for manifest in store.glob(f"*/[!.]*/{MANIFEST}"))


def _move_into_place(scratch: Path, path: Path) -> None:
    if entry_exists(path):
        return
    if path.exists():
        shutil.rmtree(path)
    scratch.rename(path)


def _list_versions() -> dict[str, str]:
    versions = {}
    for package in RECORDED_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _find_commit() -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
        return answer.stdout.strip() or None
    return None
