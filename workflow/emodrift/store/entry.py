"""Entries: results that lie at a path which is their identity.

An entry that exists is right. It is written in a hidden sibling directory, brought to the disk and
renamed into place, its manifest inside, so that neither a killed job nor a machine that loses its
power leaves anything that looks finished.
"""

from __future__ import annotations

import contextlib
import functools
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
from emodrift.store.digest import digest_file, digest_value
from emodrift.store.files import (
    clear_scratch,
    explain_disk,
    name_scratch,
    remove,
    sync,
    sync_tree,
)
from emodrift.store.machine import describe_machine
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
    leaves
        Name -> digest of content that is no input. Part of the key; told in no manifest.
    """

    stage: str
    key: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Inputs] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    code: str = ""
    leaves: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
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
    """Every leaf of nested tuples, lists and dicts changed; tuples become lists."""
    if isinstance(inputs, (tuple, list)):
        return [map_inputs(value, change) for value in inputs]
    if isinstance(inputs, dict):
        return {name: map_inputs(value, change) for name, value in inputs.items()}
    return change(inputs)


def list_entries_in(inputs: Inputs) -> list[Entry]:
    """The entries in nested tuples and mappings, in order."""
    found: list[Entry] = []
    map_inputs(inputs, found.append)
    return found


def entry_exists(path: Path | str) -> bool:
    """Whether a finished entry lies at `path`. A plan asks for thousands: no path is parsed."""
    return os.path.isfile(f"{path}/{MANIFEST}")


@contextlib.contextmanager
def write_entry(path: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    """Give a scratch directory that becomes the entry at `path` when the block ends well.

    Rows that an unfinished job has kept for it (:mod:`emodrift.store.partial`) are then deleted.
    What dead processes left of their own attempts is cleared up first.

    Parameters
    ----------
    path
        Final directory of the entry, ``<store>/<stage>/<key>``.
    manifest
        Stage, key, inputs and params; a label is left out. Seconds, versions, machine and digests
        are added: ``files``, the digest of each file, ``content``, that of all files, and ``seal``,
        that of the manifest itself.

    Raises
    ------
    EmodriftError
        The disk is full, read-only, or not to be written.

    Examples
    --------
    >>> with write_entry(Path("results/store/drift/1f0c"), {"stage": "drift"}) as out:
    ...     _ = (out / "table.csv").write_text("cosine")
    >>> sorted(read_manifest(Path("results/store/drift/1f0c"))["files"])
    ['table.csv']
    """
    scratch = name_scratch(path)
    started = time.monotonic()
    try:
        with explain_disk(path):
            clear_scratch(path.parent, path.name)
            scratch.mkdir(parents=True)
            yield scratch
            files = digest_files(scratch)
            record = {
                **_drop_label(manifest),
                "seconds": round(time.monotonic() - started, 2),
                "packages": _list_versions(),
                "python": platform.python_version(),
                "machine": describe_machine(),
                "git_commit": _find_commit(),
                "files": files,
                "content": digest_value(files),
            }
            record = json.loads(json.dumps(record))  # as it will be read
            text = json.dumps(record | {"seal": seal_manifest(record)}, indent=1, sort_keys=True)
            (scratch / MANIFEST).write_text(text + "\n", encoding="utf-8")
            sync_tree(scratch)
            _move_into_place(scratch, path)
        shutil.rmtree(locate_partial(path), ignore_errors=True)
    finally:
        remove(scratch)


def adopt_entry(store: Path, entry: Entry, former: str) -> None:
    """Write an entry from one of another key that holds the same, by hard links where they go.

    Its manifest says from which (``adopted_from``), keeps when and by which versions that was made,
    and is sealed anew. The former entry stays.

    Parameters
    ----------
    store
        Root of the store.
    entry
        To be written.
    former
        Key of the one that holds the same.

    Raises
    ------
    EmodriftError
        The former entry is broken, or the disk is full or not to be written.
    """
    path, source = store / entry.place, store / entry.stage / former
    record = {**read_manifest(source), **_drop_label(entry.describe()), "adopted_from": former}
    record = json.loads(json.dumps(record))
    scratch = name_scratch(path)
    try:
        with explain_disk(path):
            clear_scratch(path.parent, path.name)
            scratch.mkdir(parents=True)
            for name in record["files"]:
                target = scratch / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    target.hardlink_to(source / name)
                except OSError:
                    shutil.copy2(source / name, target)
            text = json.dumps(record | {"seal": seal_manifest(record)}, indent=1, sort_keys=True)
            (scratch / MANIFEST).write_text(text + "\n", encoding="utf-8")
            sync_tree(scratch)
            _move_into_place(scratch, path)
    finally:
        remove(scratch)


def digest_files(folder: Path) -> dict[str, str]:
    """Digests of all files below an entry's folder, by relative name; the manifest's apart."""
    return {
        file.relative_to(folder).as_posix(): digest_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != folder / MANIFEST
    }


def seal_manifest(record: Mapping[str, Any]) -> str:
    """Digest of a manifest but for its seal, by which an edited one is told."""
    return digest_value({name: value for name, value in record.items() if name != "seal"})


def read_content(path: Path) -> str:
    """Digest of all that the entry at `path` holds: equal digests mean equal files."""
    manifest = read_manifest(path)
    return manifest.get("content") or digest_value(manifest["files"])


def read_manifest(path: Path) -> dict[str, Any]:
    """Manifest of the entry at `path`.

    Raises
    ------
    EmodriftError
        There is none, or it is broken.
    """
    if not entry_exists(path):
        raise EmodriftError(f"{path} is not a finished store entry (no {MANIFEST}); run snakemake")
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise EmodriftError(
            f"{path / MANIFEST} is broken; run `emodrift verify --repair`, then snakemake"
        )
    return manifest


def list_entries(store: Path) -> list[Path]:
    """Directories of all finished entries in a store."""
    return sorted(manifest.parent for manifest in store.glob(f"*/[!.]*/{MANIFEST}"))


def _drop_label(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in described.items() if name != "label"}


def _move_into_place(scratch: Path, path: Path) -> None:
    if entry_exists(path):
        return
    if path.exists():
        shutil.rmtree(path)
    try:
        scratch.rename(path)
    except OSError:
        if not entry_exists(path):  # else another job with the same key came first
            raise
    sync(path.parent)


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
