"""A visit: a checkpoint is loaded once, and all that is missing of its measurements is made.

Every measurement is an entry of its own, so that a further part of the contrast data, other
strengths of steering or a second study of the same checkpoint cost only what is new.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emodrift.config.running import GRADIENT_SHARE
from emodrift.corpus.reading import load_part, load_prompts, load_replies
from emodrift.errors import EmodriftError, raise_worst
from emodrift.measure.activations import write_activations
from emodrift.measure.arrays import read_norms
from emodrift.measure.directions import open_lock, pick_directions
from emodrift.measure.gradients import write_gradients
from emodrift.measure.replies import write_replies, write_samples
from emodrift.measure.responses import write_responses
from emodrift.measure.session import Session
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget
from emodrift.models.precision import open_model
from emodrift.store.entry import Entry, entry_exists, write_entry
from emodrift.store.partial import locate_partial
from emodrift.store.verify import check_intact


def visit_checkpoints(checkpoints: Sequence[Mapping[str, Any]], store: Path, out: Path) -> None:
    """Measure what is missing of some checkpoints, one after the other.

    Writes ``measurements.json``, the places of all entries that were asked for. A checkpoint that
    cannot be measured does not keep the others from it.

    Parameters
    ----------
    checkpoints
        ``label``; ``model``, the arguments of :func:`emodrift.models.precision.open_model`; and
        ``entries``, the measurements in their order, as plain values.
    store
        Root of the store.
    out
        Directory to write to.

    Raises
    ------
    EmodriftError
        Contrast data or a lock is damaged; or checkpoints could not be loaded or measured, and the
        others are.
    """
    asked = [entry for checkpoint in checkpoints for entry in checkpoint["entries"]]
    for name in ("contrasts", "phrasings", "lock", "discovery"):
        for place in {e["context"][name] for e in asked if name in e["context"]}:
            check_intact(store / place)
    failures: list[EmodriftError] = []
    places = []
    for checkpoint in checkpoints:
        entries = [Entry(**values) for values in checkpoint["entries"]]
        places += [entry.place for entry in entries]
        missing = [entry for entry in entries if not entry_exists(store / entry.place)]
        if not missing:
            continue
        try:
            model = open_model(**checkpoint["model"], label=checkpoint["label"])
            measure_entries(
                model, missing, checkpoint["model"]["loading"], checkpoint["label"], store
            )
        except EmodriftError as error:
            logging.error("%s is passed over: %s", checkpoint["label"], error)
            failures.append(error)
    raise_worst(failures, "checkpoints")
    (out / "measurements.json").write_text(json.dumps(places, indent=1) + "\n")


def measure_entries(
    model: LanguageModel,
    entries: Sequence[Entry],
    loading: Mapping[str, Any],
    label: str,
    store: Path,
) -> None:
    """Measure entries of a loaded checkpoint, in their order.

    An entry that an interrupted job has begun goes on at the block of prompts where it stopped.

    Parameters
    ----------
    model
        The checkpoint.
    entries
        Measurements that are missing; ``context`` says where their sources lie.
    loading
        Config: the `compute` section.
    label
        Checkpoint, for progress and errors.
    store
        Root of the store.
    """
    forward = TokenBudget(loading["batch_tokens"])
    backward = TokenBudget(math.ceil(loading["batch_tokens"] / GRADIENT_SHARE))
    for entry in entries:
        place = store / entry.place
        what = f"{label}, {entry.context.get('part', entry.stage)}"
        budget = backward if entry.stage == "gradients" else forward
        session = Session(model, budget, what, locate_partial(place), loading["recompute_blocks"])
        logging.info("%s of %s", entry.stage, what)
        with write_entry(place, entry.describe()) as out:
            _measure(session, entry, store, out)


def _measure(session: Session, entry: Entry, store: Path, out: Path) -> None:
    reading, sources = entry.params["reading"], entry.context
    contrasts = store / sources["contrasts"]
    if entry.stage == "activations":
        texts = load_part(contrasts, sources["part"])
        return write_activations(session, texts, entry.params["kind"], reading, out)
    if entry.stage == "samples":
        return write_samples(session, load_prompts(contrasts), reading, out)
    replies = load_replies(store / sources.get("phrasings", sources["contrasts"]))
    if entry.stage == "gradients":
        prompts = load_part(contrasts, sources["part"])
        return write_gradients(session, prompts, replies, reading, out)
    prompts, lock = load_prompts(contrasts), store / sources["lock"]
    norms = read_norms([store / place for place in sources["gradients"]])
    if entry.stage == "responses":
        directions = open_lock(lock)["direction"]
        return write_responses(session, prompts, replies, reading, directions, norms, out)
    discovery = store / sources["discovery"] if "discovery" in sources else None
    directions = pick_directions(lock, entry.params["steered"], discovery)
    return write_replies(session, prompts, reading, directions, norms, out)
