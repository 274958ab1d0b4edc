"""The entries of a study, each with its content key.

A key is made of the code that the stage reaches, the config values that matter to it, the keys of
its inputs and the content of its leaves.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import Study
from emodrift.store.code import digest_code
from emodrift.store.digest import make_key
from emodrift.store.downloads import Download, list_places
from emodrift.store.entry import Entry, Inputs, entry_exists, list_entries_in, map_inputs

SCRIPTS = Path(__file__).parents[2] / "scripts"
TOGETHER = {"vectors": "fitting", "verdicts": "judging", "figure": "figures"}
"""Stage -> that of the jobs that make its entries, several at a time."""
JOBS = ("visit", *TOGETHER.values(), "publication")
"""Stages that make or show other entries."""


@dataclass
class Plan:
    """Entries of a study by place (``stage/key``).

    Parameters
    ----------
    study
        The config.
    store
        Root of the store.
    entries
        Place -> entry.
    by_key
        Key -> entry.
    makers
        Place of an entry -> the job that makes it with others: a visit of measurements, say.
    checkpoints
        All checkpoints of all runs in order; empty while organisms are still to be trained.
    publication
        The entry that a finished study publishes, once checkpoints are known.
    awaited
        Entries whose content later keys rest on, and that are not there yet. As long as there are
        some, what follows them is planned by their keys instead, and is not the last word.
    variant
        Name of the variant of the study that this plans; labels carry it.
    """

    study: Study
    store: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    by_key: dict[str, Entry] = field(default_factory=dict)
    makers: dict[str, Entry] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    publication: Entry | None = None
    awaited: list[Entry] = field(default_factory=list)
    variant: str = ""
    _made: set[str] = field(default_factory=set)

    def vary(self, name: str, study: Study) -> Plan:
        """A plan of a variant, whose entries go into this plan."""
        return replace(self, study=study, variant=name)

    def add(
        self,
        stage: str,
        params: Mapping[str, Any],
        *,
        inputs: Mapping[str, Inputs] | None = None,
        leaves: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        label: str = "",
        code: Iterable[str] = (),
    ) -> Entry:
        """Key an entry and remember it.

        Parameters
        ----------
        stage, params, inputs, context, label
            See :class:`Entry`.
        leaves
            Name -> digest of content that is not an input: a checkpoint, a resource file, what lies
            in an entry.
        code
            What the key rests on, as :func:`emodrift.store.code.digest_code` takes it; left out,
            the stage's adapter.
        """
        inputs = inputs or {}
        digest = digest_code(*(code or [str(SCRIPTS / f"{stage}.py")]))
        key = make_key(
            stage=stage,
            code=digest,
            params=params,
            leaves=leaves or {},
            inputs=map_inputs(inputs, lambda entry: entry.key),
        )
        described = Entry(stage, key, params, inputs, context or {}, label, digest, leaves or {})
        return self.keep(described)

    def keep(self, entry: Entry) -> Entry:
        """Remember an entry, under its variant's name; the first of a place stands."""
        if self.variant:
            entry = replace(entry, label=f"{entry.label} ({self.variant})")
        kept = self.entries.setdefault(entry.place, entry)
        self.by_key[kept.key] = kept
        return kept

    def await_entry(self, entry: Entry) -> bool:
        """Whether an entry is there; if not, the plan waits for it."""
        if entry_exists(self.store / entry.place):
            return True
        if entry not in self.awaited:
            self.awaited.append(entry)
        return False

    def is_made(self, entry: Entry) -> bool:
        """Whether an entry is there. Once it is, it stays."""
        place = entry.place
        if place not in self._made and entry_exists(f"{self.store}/{place}"):
            self._made.add(place)
        return place in self._made

    def list_needed(self, inputs: Inputs) -> list[Entry]:
        """Entries whose jobs make some inputs, each once.

        Of an entry that a job makes with others it is that job; one that is there needs none.
        """
        needed: dict[str, Entry] = {}
        for entry in list_entries_in(inputs):
            maker = self.makers.get(entry.place)
            if maker is None:
                needed[entry.place] = entry
            elif maker.place not in needed and not self.is_made(entry):
                needed[maker.place] = maker
        return list(needed.values())

    def find_visit(self, entry: Entry) -> Entry | None:
        """The visit that measures what an entry is made from; None if nothing of it is measured."""
        makers = (self.makers.get(needed.place) for needed in entry.list_inputs())
        return next(filter(None, makers), None)

    def list_unfinished(self) -> set[str]:
        """Places of jobs that make other entries, some of which are missing."""
        return {
            maker.place
            for place, maker in self.makers.items()
            if not entry_exists(f"{self.store}/{place}")
        }

    def drop_unneeded(self) -> None:
        """Forget entries that neither the publication rests on nor a job on the way to it makes."""
        makings: dict[str, list[Entry]] = {}
        for place, job in self.makers.items():
            makings.setdefault(job.place, []).append(self.entries[place])
        needed: set[str] = set()
        rest = [self.publication] if self.publication else []
        while rest:
            entry = rest.pop()
            if entry.place in needed:
                continue
            needed.add(entry.place)
            rest += [*entry.list_inputs(), *makings.get(entry.place, ())]
            if maker := self.makers.get(entry.place):
                rest.append(maker)
        for place in self.entries.keys() - needed:
            del self.by_key[self.entries.pop(place).key]

    def describe(self, entry: Entry) -> dict[str, Any]:
        """An entry as plain values for its job, with the downloads that the job is to clear up."""
        kept = self.study.compute.keep_downloads
        return entry.describe() | {"downloads": {} if kept else self.list_needs(entry)}

    def list_needs(self, entry: Entry | None = None) -> dict[str, dict[str, Any]]:
        """Weights on the hub and the entries whose jobs load them.

        Parameters
        ----------
        entry
            List only what its job loads, and what shares a file with that.

        Returns
        -------
        dict
            Place on the hub -> ``download`` and ``entries``; see
            :func:`emodrift.store.downloads.release_downloads`.
        """
        if entry is None:
            return self._needs
        loaded = [p for at in entry.context.get("locations", ()) for p in list_places(at)]
        shared = {c for p in loaded if p in self._needs for c in _list_contents(self._needs[p])}
        places = {place for content in shared for place in self._sharing[content]}
        return {place: self._needs[place] for place in sorted(places)}

    @functools.cached_property
    def _needs(self) -> dict[str, dict[str, Any]]:
        downloads = {d.place: d for c in self.checkpoints for d in c.downloads}
        entries: dict[str, set[str]] = {place: set() for place in downloads}
        for entry in self.entries.values():
            for location in entry.context.get("locations", ()):
                for place in list_places(location):
                    entries.setdefault(place, set()).add(entry.place)
        return {
            place: {"download": tuple(d), "entries": sorted(entries[place])}
            for place, d in downloads.items()
        }

    @functools.cached_property
    def _sharing(self) -> dict[tuple[str, str], list[str]]:
        """Content of a file on the hub -> places that hold it."""
        sharing: dict[tuple[str, str], list[str]] = {}
        for place, need in self._needs.items():
            for content in _list_contents(need):
                sharing.setdefault(content, []).append(place)
        return sharing

    def of_stage(self, stage: str) -> list[Entry]:
        """Entries of one stage, in the order in which they were planned."""
        return [e for e in self.entries.values() if e.stage == stage]


def _list_contents(need: Mapping[str, Any]) -> set[tuple[str, str]]:
    return Download(*need["download"]).contents
