"""The work of a plan's entries, counted from their definitions and from what they will read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from emodrift.corpus.reading import load_part, load_prompts, load_replies
from emodrift.corpus.records import Record
from emodrift.cost.shapes import Shape, read_shape
from emodrift.cost.tokens import Counter, open_counter
from emodrift.cost.work import (
    TYPICAL_DEPTH,
    Replies,
    Work,
    count_differentiating,
    count_phrasings,
    count_reading,
    count_steering,
    count_training,
    count_turns,
    count_writing,
    spread_lengths,
)
from emodrift.store.entry import Entry, entry_exists, read_manifest
from emodrift.training.dialogues import ANSWERED_SUITES, read_dialogues

Reading = Mapping[str, Any]
ADAPTER_SIDES = 1.5
"""Rows and columns of a block's matrices, in units of its weights over its width."""


@dataclass(frozen=True)
class Asked:
    """An entry and the checkpoint that it is measured on.

    Parameters
    ----------
    entry
        The entry.
    location, chat
        Of the checkpoint; see :func:`emodrift.models.loading.load_model`.
    shape
        Of its network.
    counter
        Of its tokens.
    """

    entry: Entry
    location: Mapping[str, Any]
    shape: Shape
    counter: Counter

    @property
    def reading(self) -> Reading:
        """How the entry is read."""
        return self.entry.params["reading"]


@dataclass
class Ledger:
    """Counts the work of entries; what many of them share is counted once.

    Parameters
    ----------
    store
        Root of the store.
    entries
        Place -> entry of the plan.
    hidden, layers
        Of the study's checkpoints.
    stand_ins
        Place of an entry that is not made -> folder with what it will hold.
    """

    store: Path
    entries: Mapping[str, Entry]
    hidden: int
    layers: int
    stand_ins: Mapping[str, Path] = field(default_factory=dict)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _counters: dict[str, Counter] = field(default_factory=dict)
    _lengths: dict[tuple[str, ...], list[int]] = field(default_factory=dict)

    def count_measurement(self, entry: Entry, model: Mapping[str, Any]) -> Work:
        """Work of a measurement on a checkpoint.

        Parameters
        ----------
        entry
            The measurement.
        model
            Arguments of :func:`emodrift.models.loading.load_model`.

        Raises
        ------
        EmodriftError, OSError, ValueError, LookupError
            What it reads cannot be found or counted.
        """
        location, chat = model["location"], model["chat"]
        name = json.dumps([location, chat], sort_keys=True, default=str)
        if name not in self._counters:
            self._counters[name] = open_counter(location, chat)
        asked = Asked(entry, location, self.find_shape(location), self._counters[name])
        return self._WAYS[entry.stage](self, asked)

    def count_training(self, entry: Entry) -> Work:
        """Work of preparing the base or of one training run; raises as above."""
        context, params = entry.context, entry.params
        base = entry.inputs.get("base")
        made = self.store / str(getattr(base, "place", base)) / "model"
        location = {"path": str(made)} if made.is_dir() else context["location"]
        shape = self.find_shape(location)
        counter = open_counter(location, {})
        exercises = read_dialogues(Path(context["data"]), "training.data").exercises
        longest = params["reply_tokens"]
        if entry.stage == "training-base":
            asked = [
                counter.count_prompt(e.prompt, e.prompt, "auto")
                for e in exercises
                if e.suite in ANSWERED_SUITES
            ]
            return count_writing(asked, 1, longest, 0, shape)
        replies = [r for e in exercises for found in e.replies.values() for r in found]
        said = fmean(min(longest, len(counter.split_reply(r))) for r in replies)
        tokens = fmean(counter.count_prompt(e.prompt, e.prompt, "auto") for e in exercises) + said
        return _count_recipe(params["recipe"], tokens, longest, shape)

    def find_shape(self, location: Mapping[str, Any]) -> Shape:
        """Shape of the network at a location."""
        name = json.dumps(location.get("base", location), sort_keys=True, default=str)
        if name not in self._shapes:
            self._shapes[name] = read_shape(location, self.hidden, self.layers)
        return self._shapes[name]

    def _find(self, place: str) -> Path:
        return self.stand_ins.get(place, self.store / place)

    def _describe(self, place: str) -> Mapping[str, Any]:
        if place in self.entries:
            return self.entries[place].params
        return read_manifest(self.store / place)["params"]

    def _measure(self, asked: Asked, part: str, records: list[Record]) -> list[int]:
        """(record,) tokens."""
        reading, counter = asked.reading, asked.counter
        form = {k: reading.get(k) for k in ("prompt_format", "plain_prompt", "pooling")}
        name = (asked.entry.context["contrasts"], part, counter.identity, json.dumps(form))
        if name not in self._lengths:
            self._lengths[name] = [_count_record(r, reading, counter) for r in records]
        return self._lengths[name]

    def _open_prompts(self, asked: Asked) -> tuple[list[Record], list[int]]:
        prompts = load_prompts(self._find(asked.entry.context["contrasts"]))
        return prompts, self._measure(asked, "", prompts)

    def _open_replies(self, asked: Asked) -> Replies:
        """Phrasings that are there; openings that are still to be sampled are taken to be as long
        as those of the given ones."""
        context = asked.entry.context
        given = self._find(context["contrasts"])
        found = self._find(context["phrasings"]) if "phrasings" in context else given
        if found.is_dir():
            return count_phrasings(load_replies(found), asked.counter)
        from emodrift.judging.phrasings import cut_opening

        openings = {
            name: ["".join(cut_opening(text)) for text in phrasings]
            for name, phrasings in load_replies(given).items()
        }
        return count_phrasings(openings, asked.counter)

    def _find_layer(self, place: str | None, shape: Shape) -> int:
        """The locked layer, or where it will lie."""
        if place is not None and entry_exists(self.store / place):
            return json.loads((self.store / place / "layer.json").read_text())["layer"]
        layer = self._describe(place)["layer"] if place else "auto"
        return round(TYPICAL_DEPTH * shape.layers) if layer == "auto" else int(layer)

    def _count_activations(self, asked: Asked) -> Work:
        part = asked.entry.context["part"]
        records = load_part(self._find(asked.entry.context["contrasts"]), part)
        return count_reading(self._measure(asked, part, records), asked.shape)

    def _count_gradients(self, asked: Asked) -> Work:
        part = asked.entry.context["part"]
        records = load_part(self._find(asked.entry.context["contrasts"]), part)
        first = asked.reading["first_layer"]
        return count_differentiating(
            self._measure(asked, part, records),
            count_turns(records, asked.reading["toward"]),
            self._open_replies(asked),
            self._find_layer(None, asked.shape) if first is None else first,
            asked.shape,
        )

    def _count_responses(self, asked: Asked) -> Work:
        context, steering = asked.entry.context, asked.reading["steering"]
        prompts, lengths = self._open_prompts(asked)
        emotions = self._describe(context["contrasts"])["emotions"]
        directions = len(emotions) + self._describe(context["lock"])["random_directions"]
        return count_steering(
            spread_lengths(prompts, lengths, steering["prompts_per_cell"]),
            directions * len(steering["strengths"]),
            self._open_replies(asked),
            self._find_layer(context["lock"], asked.shape),
            asked.shape,
        )

    def _count_replies(self, asked: Asked) -> Work:
        prompts, lengths = self._open_prompts(asked)
        steered = asked.entry.params.get("steered", ())
        again = 0.0
        if asked.reading.get("positions") == "all":
            layer = self._find_layer(asked.entry.context["lock"], asked.shape)
            again = 1 - layer / asked.shape.layers
        return count_writing(
            spread_lengths(prompts, lengths, asked.reading["prompts_per_cell"]),
            1 + len(steered) * len(asked.reading.get("strengths", ())),
            asked.reading["max_new_tokens"],
            again,
            asked.shape,
        )

    _WAYS: ClassVar[Mapping[str, Callable[[Ledger, Asked], Work]]] = {
        "activations": _count_activations,
        "gradients": _count_gradients,
        "responses": _count_responses,
        "replies": _count_replies,
        "samples": _count_replies,
    }


def _count_record(record: Record, reading: Reading, counter: Counter) -> int:
    if "prompt" in record:
        return counter.count_prompt(
            record["prompt"], reading["plain_prompt"], reading["prompt_format"]
        )
    cue = f" {record['reply_cue']}" if reading["pooling"] == "reply" else ""
    return counter.count_text(record["text"] + cue)


def _count_recipe(recipe: Mapping[str, Any], tokens: float, longest: int, shape: Shape) -> Work:
    lora, objective = recipe["method"] == "lora", recipe["objective"]
    seen = recipe["steps"] * recipe["batch"]
    passes = (2 if lora else 3) + (objective == "dpo")
    learned = recipe["rank"] * ADAPTER_SIDES * shape.weights / shape.hidden
    saved = 4 * len(recipe["save_steps"]) * (learned if lora else shape.weights + shape.head)
    work = count_training(seen * (1 + (objective == "dpo")), tokens, passes, shape, saved)
    if objective == "grpo":
        work += count_writing([tokens] * seen, 1, longest, 0, shape)
    return work
