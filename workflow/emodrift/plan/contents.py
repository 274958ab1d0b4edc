"""What lies in entries whose content, not whose key, later keys rest on.

Contrast data and the lock are cheap to make and feed what is dear: everything that is measured on a
checkpoint. So a measurement's key holds the content of the texts and directions that it reads, and
contrast data or a lock that were made again, and came out the same, cost no measurement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from emodrift.corpus.reading import KINDS, PARTS, REPLIES, load_kinds, load_part
from emodrift.errors import EmodriftError
from emodrift.measure.names import FOUND, RIVALS
from emodrift.plan.entries import Plan
from emodrift.store.digest import digest_value
from emodrift.store.entry import Entry, entry_exists, read_manifest

DIRECTIONS = tuple(f"lock.zarr/{array}/" for array in ("direction", "name", "layer"))


class Part(NamedTuple):
    """A part of the contrast data: its name, its kind, and the digest of its records."""

    name: str
    kind: str
    digest: str


class Corpus(NamedTuple):
    """Contrast data: its entry, its parts, the digest of the replies' phrasings, whether it is
    made, so that these are its content's; and the entry of phrasings that replace its own.
    """

    entry: Entry
    parts: tuple[Part, ...]
    replies: str
    made: bool
    phrasings: Entry | None = None

    @property
    def places(self) -> dict[str, str]:
        """Where a measurement finds prompts and phrasings."""
        own = {"phrasings": self.phrasings.place} if self.phrasings else {}
        return {"contrasts": self.entry.place, **own}

    def pick(self, *kinds: str) -> list[Part]:
        """Parts of some kinds, in the order of the data set."""
        return [part for part in self.parts if part.kind in kinds]


class Locked(NamedTuple):
    """A lock: its entry, its layer (None: not known yet), digests of its directions and bundles;
    and, where the reference was searched for more, the entry and the digest of what was found.
    """

    entry: Entry
    layer: int | None
    directions: str
    bundles: str
    discovery: Entry | None = None
    found: str = ""

    @property
    def places(self) -> dict[str, str]:
        """Where a measurement finds directions."""
        more = {"discovery": self.discovery.place} if self.discovery else {}
        return {"lock": self.entry.place, **more}


def read_corpus(plan: Plan, entry: Entry) -> Corpus:
    """Content of contrast data; as long as they are not made, their key stands for it.

    Raises
    ------
    EmodriftError
        A file of it is gone; or texts lack what `activations.pooling` needs.
    """
    kinds = {name: part["kind"] for name, part in entry.params["parts"].items()}
    made = plan.await_entry(entry)
    if made:
        _list_files(plan, entry, [KINDS])
        kinds = load_kinds(plan.store / entry.place)
        files = _list_files(plan, entry, [*(f"{PARTS}/{n}.jsonl" for n in kinds), REPLIES])
        found = {name: files[f"{PARTS}/{name}.jsonl"] for name in kinds}
        replies = files[REPLIES]
    else:
        found = {name: digest_value([entry.key, name]) for name in kinds}
        replies = digest_value([entry.key, "replies"])
    parts = tuple(Part(name, kind, found[name]) for name, kind in kinds.items())
    if made and plan.study.activations.pooling == "reply":
        for part in parts:
            if part.kind != "prompts":
                _check_cues(plan, entry, part.name)
    return Corpus(entry, parts, replies, made)


def _check_cues(plan: Plan, entry: Entry, part: str) -> None:
    for record in load_part(plan.store / entry.place, part):
        if not record.get("reply_cue"):
            raise EmodriftError(
                f"activations.pooling is reply, but text {record['id']!r} of {part} has no "
                "reply_cue; add one, or set pooling to mean or last"
            )


def read_phrasings(plan: Plan, entry: Entry, corpus: Corpus) -> Corpus:
    """Contrast data with phrasings of an entry of its own in place of theirs."""
    made = corpus.made and plan.await_entry(entry)
    replies = _list_files(plan, entry, [REPLIES])[REPLIES] if made else entry.key
    return corpus._replace(replies=replies, made=made, phrasings=entry)


def read_lock(plan: Plan, entry: Entry, corpus: Corpus) -> Locked:
    """Content of a lock over contrast data; as long as it is not made, its key stands for it."""
    asked = entry.params["layer"]
    if not (corpus.made and plan.await_entry(entry)):
        return Locked(entry, None if asked == "auto" else asked, entry.key, entry.key)
    place = plan.store / entry.place
    files = _list_files(plan, entry, ["layer.json", "bundles.json"])
    directions = digest_value({n: d for n, d in files.items() if n.startswith(DIRECTIONS)})
    layer = json.loads((place / "layer.json").read_text())["layer"]
    return Locked(entry, layer, directions, files["bundles.json"])


def read_discovery(plan: Plan, entry: Entry, lock: Locked, corpus: Corpus) -> Locked:
    """A lock with what a discovery entry adds to it."""
    made = corpus.made and entry_exists(plan.store / lock.entry.place) and plan.await_entry(entry)
    if not made:
        return lock._replace(discovery=entry, found=entry.key)
    files = _list_files(plan, entry, [FOUND])
    return lock._replace(
        discovery=entry,
        found=digest_value({n: d for n, d in files.items() if n.startswith((FOUND, RIVALS))}),
    )


def digest_parts(parts: Iterable[Part]) -> list[str]:
    """Digests of parts in their order."""
    return [part.digest for part in parts]


def _list_files(plan: Plan, entry: Entry, needed: Iterable[str]) -> dict[str, str]:
    """Digests of an entry's files, by name.

    Raises
    ------
    EmodriftError
        One that is needed is not among them.
    """
    files: dict[str, str] = read_manifest(plan.store / entry.place)["files"]
    for name in needed:
        if name not in files:
            raise EmodriftError(
                f"{plan.store / entry.place} lacks {name}; run `emodrift verify --repair`, then "
                "snakemake"
            )
    return files
