"""The entries of a study, each with its content key.

A key is made of the stage's code, the config values that matter to it, the keys of its inputs and
the content of its leaf inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import Study
from emodrift.store.digest import digest_code, make_key
from emodrift.store.downloads import list_places
from emodrift.store.entry import Entry, entry_exists

LIBRARY = Path(__file__).parents[1]
SCRIPTS = LIBRARY.parent / "scripts"


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
    after
        Place -> entry whose job comes first although it is no input.
    checkpoints
        All checkpoints of all runs in order; empty while organisms are still to be trained.
    publication
        The entry that a finished study publishes, once checkpoints are known.
    variant
        Name of the variant of the study that this plans; labels carry it.
    """

    study: Study
    store: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    after: dict[str, Entry] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    publication: Entry | None = None
    variant: str = ""

    def vary(self, name: str, study: Study) -> Plan:
        """A plan of a variant, whose entries go into this plan."""
        return replace(self, study=study, variant=name)

    def add(
        self,
        stage: str,
        params: Mapping[str, Any],
        *,
        inputs: Mapping[str, Entry | tuple[Entry, ...]] | None = None,
        leaves: Mapping[str, str] | None = None,
        context: Mapping[str, Any] | None = None,
        label: str = "",
        modules: Iterable[str] = (),
    ) -> Entry:
        """Key an entry and remember it.

        Parameters
        ----------
        stage, params, inputs, context, label
            See :class:`Entry`.
        leaves
            Name -> digest of content that no stage made: a checkpoint, a resource file.
        modules
            Library modules that the stage's adapter loads by name.
        """
        inputs = inputs or {}
        code = digest_code(SCRIPTS / f"{stage}.py", *modules)
        key = make_key(
            stage=stage,
            code=code,
            params=params,
            leaves=leaves or {},
            inputs={
                name: [e.key for e in value] if isinstance(value, tuple) else value.key
                for name, value in inputs.items()
            },
        )
        if self.variant:
            label = f"{label} ({self.variant})"
        entry = Entry(stage, key, params, inputs, context or {}, label, code)
        return self.entries.setdefault(entry.place, entry)

    def order_after(self, entry: Entry, earlier: Entry) -> None:
        """Run an entry's job after another's, whose work it shares; no part of its key.

        The first order given for an entry stands.
        """
        self.after.setdefault(entry.place, earlier)

    def list_needed(self, entry: Entry) -> list[Entry]:
        """Entries whose jobs must be done before an entry's job, if that is still to run."""
        earlier = self.after.get(entry.place)
        waits = earlier and not entry_exists(self.store / entry.place)
        return entry.list_inputs() + ([earlier] if waits else [])

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
        downloads = {d.place: d for c in self.checkpoints for d in c.downloads}
        entries: dict[str, list[str]] = {place: [] for place in downloads}
        for other in self.entries.values():
            for place in list_places(other.context.get("model", {}).get("location", {})):
                entries.setdefault(place, []).append(other.place)
        if entry is not None:
            loaded = [d for p, d in downloads.items() if entry.place in entries[p]]
            shared = {content for d in loaded for content in d.contents}
            downloads = {p: d for p, d in downloads.items() if shared & d.contents}
        return {
            place: {"download": tuple(d), "entries": entries[place]}
            for place, d in downloads.items()
        }

    def of_stage(self, stage: str) -> list[Entry]:
        """Entries of one stage, in the order in which they were planned."""
        return [e for e in self.entries.values() if e.stage == stage]
