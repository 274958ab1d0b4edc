"""Verification of a store and of what was published from it, and repair.

Repair removes what must be made again, and no more: the next run makes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from emodrift.errors import EmodriftError
from emodrift.store.digest import KEY_LENGTH, digest_file, digest_value
from emodrift.store.downloads import NOTES
from emodrift.store.entry import MANIFEST, entry_exists, read_manifest, seal_manifest
from emodrift.store.files import is_abandoned, is_scratch, remove
from emodrift.store.stamps import list_stamps, read_stamp

PLACE = re.compile(rf"[a-z][a-z0-9-]*/[0-9a-f]{{{KEY_LENGTH}}}")
POINTERS = "measurements.json"
"""File of an entry that names others which it leads to."""
BY_SNAKEMAKE = ".snakemake_timestamp"
"""File that Snakemake leaves in a folder that a rule names as its output."""

Kind = Literal["damaged", "derived", "foreign", "abandoned", "published"]


class Finding(NamedTuple):
    """One thing that is not as it should be.

    Parameters
    ----------
    path
        What repair removes: an entry, a file or folder that belongs to none, a stamp.
    kind
        ``damaged``: an entry that differs from its manifest; ``derived``: one made from an entry
        that is damaged or gone; ``foreign``: no entry's; ``abandoned``: scratch of a dead process;
        ``published``: the stamp of a study that differs from it, or that shows such an entry.
    problem
        What is wrong, in words.
    """

    path: Path
    kind: Kind
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def verify_store(store: Path) -> list[Finding]:
    """Compare every entry with its manifest, and every published study with its stamp.

    Entries that a job kept for others, and those that no rule names, are looked at too.

    Parameters
    ----------
    store
        Root of the store; studies are published beside it.

    Returns
    -------
    list of Finding
        Empty if all is right.

    Examples
    --------
    >>> from emodrift.store.entry import write_entry
    >>> with write_entry(Path("store/drift/2a5e"), {"stage": "drift"}) as out:
    ...     _ = (out / "table.csv").write_text("cosine")
    >>> verify_store(Path("store"))
    []
    >>> _ = Path("store/drift/2a5e/table.csv").write_text("edited")
    >>> [finding.kind for finding in verify_store(Path("store"))]
    ['damaged']
    """
    findings, leads = [], {}
    for path in _list_places(store):
        if not entry_exists(path):
            if not path.is_dir() or any(path.iterdir()):  # an empty one waits for its job
                findings.append(Finding(path, "foreign", f"is no finished entry (no {MANIFEST})"))
            continue
        found = list(check_entry(path))
        findings += found
        if not any(f.kind == "damaged" for f in found):
            leads[_place(path)] = list_leads(path)
    findings += _find_scratch(store)
    broken = {_place(f.path): "damaged" for f in findings if f.kind == "damaged"}
    there = leads.keys() | broken.keys()
    for place, (cause, state) in _follow(leads, broken, there).items():
        problem = f"was made from {cause}, which is {state}"
        findings.append(Finding(store / place, "derived", problem))
        broken[place] = "to be made again"
    return findings + list(_check_stamps(store.parent, broken, there | broken.keys()))


def repair_store(store: Path, findings: Sequence[Finding]) -> list[Path]:
    """Remove what was found, so that the next run makes it again.

    Parameters
    ----------
    store
        Root of the store.
    findings
        Of :func:`verify_store`.

    Returns
    -------
    list of Path
        What was removed; the manifest of an entry goes first, so that a repair that is killed
        leaves no entry that seems whole.

    Raises
    ------
    EmodriftError
        Something cannot be removed.
    """
    removed = list(dict.fromkeys(finding.path for finding in findings))
    for path in sorted(removed, key=lambda path: store in path.parents):  # stamps come first
        if not path.is_symlink():
            remove(path / MANIFEST)
        remove(path)
        if path.exists() or path.is_symlink():
            raise EmodriftError(f"{path} cannot be removed; let your user write in {path.parent}")
    return removed


def check_entry(path: Path) -> Iterator[Finding]:
    """What is wrong with one entry and its files."""
    try:
        manifest = read_manifest(path)
    except EmodriftError:
        yield Finding(path, "damaged", f"its {MANIFEST} is broken")
        return
    place = f"{manifest.get('stage')}/{manifest.get('key', path.name)}"
    if "seal" in manifest and manifest["seal"] != seal_manifest(manifest):
        yield Finding(path, "damaged", f"its {MANIFEST} was edited")
    elif place != _place(path):
        yield Finding(path, "damaged", f"is the entry {place} by its {MANIFEST}")
    elif manifest.get("content", digest_value(manifest["files"])) != digest_value(
        manifest["files"]
    ):
        yield Finding(path, "damaged", f"the contents in its {MANIFEST} do not agree")
    for name in find_damage(path, manifest["files"]):
        yield Finding(path, "damaged", f"{name} is missing or differs from its {MANIFEST}")
    expected = {MANIFEST, *manifest["files"]}
    for file in sorted(path.rglob("*")):
        named = file.relative_to(path).as_posix() in expected or file.name == BY_SNAKEMAKE
        if not (file.is_dir() or named):
            yield Finding(file, "foreign", f"is not in {MANIFEST}")


def find_damage(path: Path, files: Mapping[str, Any]) -> list[str]:
    """Those of an entry's files that are missing or whose bytes are not of their digest."""
    return [
        name
        for name, digest in files.items()
        if not (path / name).is_file() or digest_file(path / name) != digest
    ]


def list_leads(path: Path) -> set[str]:
    """Places of the entries that one was made from, or leads to.

    A measurement leads to none: its key holds the content that it was made from, wherever that lay.
    """
    texts = [json.dumps(read_manifest(path).get("inputs", {}))]
    if (path / POINTERS).is_file():
        texts.append((path / POINTERS).read_text(encoding="utf-8"))
    return {place for text in texts for place in _scan(text)} - {_place(path)}


def check_intact(path: Path) -> None:
    """Refuse an entry that differs from its manifest.

    Raises
    ------
    EmodriftError
        It does.
    """
    for finding in check_entry(path):
        if finding.kind == "damaged":
            raise EmodriftError(f"{finding}; run `emodrift verify --repair`, then snakemake")


def _scan(text: str) -> Iterable[str]:
    return (quoted for quoted in re.findall(r'"([^"\s]+)"', text) if PLACE.fullmatch(quoted))


def _list_places(store: Path) -> list[Path]:
    """Folders, and whatever else lies where entries do."""
    stages = [p for p in store.iterdir() if p.is_dir() and p.name[0] != "." and p.name != NOTES]
    return sorted(p for stage in stages for p in stage.iterdir() if p.name[0] != ".")


def _find_scratch(store: Path) -> Iterator[Finding]:
    for path in sorted(p for p in (*store.glob(".*"), *store.glob("*/.*")) if is_scratch(p)):
        if is_abandoned(path):
            yield Finding(path, "abandoned", "is scratch of a process that is no more")


def _follow(
    leads: Mapping[str, set[str]], broken: Mapping[str, str], there: Iterable[str]
) -> dict[str, tuple[str, str]]:
    """Entries made from what is broken or gone, straight or over others -> from what, and how."""
    there = set(there)
    found: dict[str, tuple[str, str]] = {}
    waiting = True
    while waiting:
        waiting = False
        for place in leads.keys() - found.keys():
            for lead in sorted(leads[place]):
                state = "gone" if lead not in there else broken.get(lead)
                state = "to be made again" if lead in found else state
                if state:
                    found[place] = (lead, state)
                    waiting = True
                    break
    return dict(sorted(found.items()))


def _check_stamps(
    results: Path, broken: Mapping[str, str], there: Iterable[str]
) -> Iterator[Finding]:
    there = set(there)
    for path in list_stamps(results):
        stamp, target = read_stamp(path), path.parents[1]
        if stamp is None:
            yield Finding(path, "published", "the stamp of a published study is broken")
            continue
        for name in find_damage(target, stamp.files):
            yield Finding(path, "published", f"{target / name} is missing or was changed")
        for place in stamp.entries:
            if place in broken or place not in there:
                state = broken.get(place, "gone")
                yield Finding(path, "published", f"{target} shows {place}, which is {state}")


def _place(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
