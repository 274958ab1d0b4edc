"""Planning what is measured on a checkpoint, and the visits that measure it.

Each measurement is an entry: activations and gradients of one part of the contrast data, responses
to steering, replies. A visit is a job that loads checkpoints, one at a time, and makes what is
missing of their measurements; what stages need of a checkpoint they get from its visit.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import FOUND_DIRECTIONS
from emodrift.plan.contents import Corpus, Locked, Part, digest_parts
from emodrift.plan.descriptions import describe_asking, describe_format, describe_loading
from emodrift.plan.entries import Plan
from emodrift.store.digest import digest_value, make_key
from emodrift.store.entry import Entry

LOADING = "emodrift.models.loading:load_model"
MIXING = "emodrift.models.precision:mix_precision"
CODE = {
    "activations": "emodrift.measure.activations:write_activations",
    "gradients": "emodrift.measure.gradients:write_gradients",
    "responses": "emodrift.measure.responses:write_responses",
    "replies": "emodrift.measure.replies:write_replies",
    "samples": "emodrift.measure.replies:write_samples",
}
"""Measurement -> the function that writes it. Its key rests on that, and on how models load."""
SOURCES = ("contrasts", "phrasings", "lock", "discovery")
"""Entries that measurements read."""
TEXTS = ("stories", "neutral", "controls")
SMALL = 2e7
"""A measurement counts as one where a checkpoint has fewer weights than this in its blocks, and as
so many times more where it has more.
"""
SHARING = 24
"""Measurements in one job, if it has more than one checkpoint: loading the libraries takes as long
as several of them.
"""


@dataclass
class Desk:
    """What is asked of checkpoints, gathered over a study and its variants.

    Parameters
    ----------
    sampled
        Loading of a model -> unsteered replies, whose openings are phrasings to score.
    early
        The same of what the lock needs.
    late
        The same of all that needs the lock, and of the other checkpoints.
    """

    sampled: dict[str, Asked] = field(default_factory=dict)
    early: dict[str, Asked] = field(default_factory=dict)
    late: dict[str, Asked] = field(default_factory=dict)


@dataclass
class Asked:
    """What is asked of one checkpoint, loaded in one way."""

    checkpoint: Checkpoint
    model: dict[str, Any]
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """Plans measurements of one checkpoint.

    Parameters
    ----------
    plan
        The plan.
    desk
        Where what is asked is gathered.
    checkpoint
        The checkpoint.
    chat
        How prompts go through the chat template.
    early
        Whether the lock needs what is asked.
    """

    plan: Plan
    desk: Desk
    checkpoint: Checkpoint
    chat: Mapping[str, Any]
    early: bool = False

    @functools.cached_property
    def asked(self) -> Asked:
        """Where what is asked of the checkpoint, loaded in this way, is gathered."""
        return self._ask(self.desk.early if self.early else self.desk.late)

    @functools.cached_property
    def chat_digest(self) -> str:
        """Identity of how prompts go through the chat template."""
        return digest_value(self.chat)

    def read_texts(self, corpus: Corpus, kinds: Sequence[str]) -> dict[str, tuple[Entry, ...]]:
        """Activations of all parts of some kinds, by kind."""
        parts = {kind: corpus.pick(kind) for kind in kinds}
        return {
            kind: tuple(self._read_part(corpus, part) for part in of_kind)
            for kind, of_kind in parts.items()
            if of_kind
        }

    def differentiate(self, corpus: Corpus, first_layer: int | None) -> tuple[Entry, ...]:
        """Gradients of all parts of prompts, from a layer upward."""
        reading = describe_asking(self.plan.study) | {"first_layer": first_layer}
        return tuple(
            self._add(
                "gradients",
                {"reading": reading, "chat": self.chat_digest},
                {"part": part.digest, "replies": corpus.replies},
                {**corpus.places, "part": part.name},
            )
            for part in corpus.pick("prompts")
        )

    def sample(self, corpus: Corpus) -> Entry:
        """Unsteered replies; nothing but prompts is in their key."""
        return self._add(
            "samples",
            {"reading": self._describe_sampling(), "chat": self.chat_digest},
            {"prompts": digest_parts(corpus.pick("prompts"))},
            {"contrasts": corpus.entry.place},
        )

    def steer(self, corpus: Corpus, lock: Locked, gradients: Sequence[Entry]) -> Entry:
        """Scores of replies under every locked direction."""
        study = self.plan.study
        steering = study.steering.model_dump(
            mode="json", exclude={"checkpoints", "random_directions", "gradient_layers"}
        )
        reading = {
            "steering": steering,
            **describe_format(study),
            "phrasing_score": study.behaviours.phrasing_score,
        }
        return self._add(
            "responses",
            {"reading": reading, "chat": self.chat_digest},
            {
                "prompts": digest_parts(corpus.pick("prompts")),
                "replies": corpus.replies,
                "directions": lock.directions,
            },
            self._place(corpus, lock, gradients),
        )

    def write(self, corpus: Corpus, lock: Locked, gradients: Sequence[Entry], steer: bool) -> Entry:
        """Replies, unsteered and perhaps steered; no judge is in their key."""
        study = self.plan.study
        section = study.generation
        assert section is not None
        asked = study.contrasts.bundles if section.steered is None else section.steered
        steered = list(asked) if steer else []
        reading = self._describe_sampling() | {
            "strengths": list(section.strengths) if steer else [],
            "positions": study.steering.positions,
        }
        return self._add(
            "replies",
            {"reading": reading, "steered": steered, "chat": self.chat_digest},
            {
                "prompts": digest_parts(corpus.pick("prompts")),
                "directions": lock.directions,
                "bundles": lock.bundles,
                **({"found": lock.found} if set(steered) & set(FOUND_DIRECTIONS) else {}),
            },
            self._place(corpus, lock, gradients),
        )

    def _ask(self, at: dict[str, Asked]) -> Asked:
        model = describe_loading(self.plan.study, self.checkpoint, self.chat)
        return at.setdefault(digest_value(model), Asked(self.checkpoint, model))

    def _describe_sampling(self) -> dict[str, Any]:
        study = self.plan.study
        assert study.generation is not None
        sampling = study.generation.model_dump(
            mode="json", include={"prompts_per_cell", "max_new_tokens", "temperature"}
        )
        seed = study.seed if study.generation.temperature else 0
        return {**sampling, "seed": seed, **describe_format(study)}

    def _read_part(self, corpus: Corpus, part: Part) -> Entry:
        section = self.plan.study.activations
        reading: dict[str, Any] = {"pooling": section.pooling, "from_token": section.from_token}
        params: dict[str, Any] = {"kind": part.kind, "reading": reading}
        if part.kind == "prompts":
            reading = {"pooling": "reply", **describe_format(self.plan.study)}
            params |= {"reading": reading, "chat": self.chat_digest}
        return self._add(
            "activations",
            params,
            {"part": part.digest},
            {"contrasts": corpus.entry.place, "part": part.name},
        )

    def _place(self, corpus: Corpus, lock: Locked, gradients: Sequence[Entry]) -> dict[str, Any]:
        return {
            **corpus.places,
            **lock.places,
            "gradients": [entry.place for entry in gradients],
        }

    def _add(
        self, stage: str, params: dict[str, Any], leaves: dict[str, Any], context: dict[str, Any]
    ) -> Entry:
        compute = self.plan.study.compute
        entry = self.plan.add(
            stage,
            params,
            leaves={**leaves, "checkpoint": self.checkpoint.digest, "dtype": compute.dtype},
            context=context,
            label=self.checkpoint.label,
            code=[CODE[stage], LOADING, *([MIXING] if compute.mixed else [])],
        )
        asked = self._ask(self.desk.sampled) if stage == "samples" else self.asked
        asked.entries.setdefault(entry.place, entry)
        return entry


def plan_visits(plan: Plan, desk: Desk, sharing: int = SHARING) -> None:
    """Visits that make all that is asked: samples, what the lock needs, then the rest.

    Parameters
    ----------
    sharing
        Measurements in one job of several checkpoints.
    """
    kept = plan.study.compute.keep_downloads
    for group in share_jobs(list(desk.sampled.values()), kept, sharing):
        _plan_visit(plan, group, earlier=())
    first = _plan_visit(plan, list(desk.early.values()), earlier=())
    for group in share_jobs(list(desk.late.values()), kept, sharing):
        _plan_visit(plan, group, earlier=(first,) if first else ())


def share_jobs(
    asked: Sequence[Asked], keep_downloads: bool, sharing: int = SHARING
) -> list[list[Asked]]:
    """Checkpoints by job: several where little is measured, all ways of loading one together.

    Downloads that are not kept are each measured, and deleted, by a job of their own.
    """
    of_checkpoint: dict[str, list[Asked]] = {}
    for one in asked:
        of_checkpoint.setdefault(one.checkpoint.digest, []).append(one)
    alone: list[list[Asked]] = []
    together: list[list[Asked]] = []
    left = 0.0
    for ways in of_checkpoint.values():
        size = _count_measurements(ways)
        if size > sharing or (ways[0].checkpoint.downloads and not keep_downloads):
            alone.append(ways)
        elif size <= left:
            together[-1] += ways
            left -= size
        else:
            together.append([*ways])
            left = sharing - size
    return [*alone, *together]


def _count_measurements(ways: Sequence[Asked]) -> float:
    """Measurements of one checkpoint, in those of a small one."""
    checkpoint = ways[0].checkpoint
    weights = 12 * checkpoint.layers * checkpoint.hidden**2
    return max(1.0, weights / SMALL) * sum(len(one.entries) for one in ways)


def _plan_visit(plan: Plan, group: Sequence[Asked], earlier: tuple[Entry, ...]) -> Entry | None:
    wanted = [
        (asked, [e for e in asked.entries.values() if e.place not in plan.makers])
        for asked in group
    ]
    places = [entry.place for _, entries in wanted for entry in entries]
    if not places:
        return None
    labels = list(dict.fromkeys(asked.checkpoint.label for asked, entries in wanted if entries))
    sources = {
        name: tuple(
            plan.entries[place]
            for place in dict.fromkeys(
                entry.context[name]
                for _, entries in wanted
                for entry in entries
                if name in entry.context
            )
        )
        for name in SOURCES
    }
    visit = plan.keep(
        Entry(
            "visit",
            make_key(stage="visit", measurements=sorted(places)),
            {},
            {**sources, "earlier": earlier},
            {
                "checkpoints": [
                    {
                        "label": asked.checkpoint.label,
                        "model": asked.model,
                        "entries": [entry.describe() for entry in entries],
                    }
                    for asked, entries in wanted
                    if entries
                ],
                "locations": [asked.model["location"] for asked, entries in wanted if entries],
            },
            ", ".join(labels),
        )
    )
    plan.makers |= dict.fromkeys(places, visit)
    return visit
