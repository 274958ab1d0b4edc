"""Planning the chain from checkpoints to summaries: readings, vectors, lock, responses, replies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import Study
from emodrift.errors import EmodriftError
from emodrift.plan.contents import (
    Corpus,
    read_corpus,
    read_discovery,
    read_lock,
    read_phrasings,
)
from emodrift.plan.descriptions import (
    describe_connection,
    describe_fitting,
    describe_judge,
    describe_metrics,
    list_steered,
)
from emodrift.plan.entries import Plan
from emodrift.plan.measurements import TEXTS, Desk, Reader
from emodrift.plan.summaries import Readings, plan_summaries
from emodrift.plan.templates import describe_chat
from emodrift.store.digest import digest_value
from emodrift.store.entry import Entry

FITTING = "emodrift.vectors.fitting:fit_vectors"
JUDGING = "emodrift.judging.verdicts:judge_replies"


class Chain(NamedTuple):
    """The lock of a chain, its readings of every checkpoint, and its summaries by stage."""

    lock: Entry
    readings: Readings
    summaries: dict[str, Entry]


def plan_chain(
    plan: Plan, reference: Checkpoint, contrasts: Entry, desk: Desk, replies: bool = True
) -> Chain:
    """Entries from a plan's checkpoints to their summaries.

    Parameters
    ----------
    plan
        The study, or a variant of it.
    reference
        The checkpoint whose vectors are locked.
    contrasts
        Entry of the contrast data.
    desk
        Where measurements are asked for.
    replies
        Whether replies are written and judged, beside those whose openings are phrasings.
    """
    study = plan.study
    _check_layer(study, reference)
    chat = describe_chat(study.activations, plan.store)
    corpus = read_corpus(plan, contrasts)
    if study.behaviours.phrasings == "sampled":
        corpus = _follow_models(plan, corpus, desk, chat)
    if not replies:
        study = study.model_copy(update={"generation": None})
        plan = replace(plan, study=study)

    first = Reader(plan, desk, reference, chat, early=True)
    asked = (*TEXTS, "prompts") if study.discovery else TEXTS
    texts, gradients = first.read_texts(corpus, asked), first.differentiate(corpus, 0)
    vectors = _plan_vectors(plan, reference, texts)
    twin = _draw_twin(study, reference)
    at_random = Reader(plan, desk, twin, chat, early=True).read_texts(corpus, TEXTS[:2])
    of_reference = {**texts, "gradients": gradients}
    lock = _plan_lock(plan, reference, of_reference, vectors)
    locked = read_lock(plan, lock, corpus)
    one = {"lock": lock, "twin": _plan_vectors(plan, twin, at_random)}
    if study.discovery:
        one["discovery"] = _plan_discovery(plan, reference, of_reference, lock)
        locked = read_discovery(plan, one["discovery"], locked, corpus)

    activations, each = [], dict[str, dict[int, Entry]]()
    steered = set(list_steered(study, plan.checkpoints, reference))
    for number, checkpoint in enumerate(plan.checkpoints):
        reader = Reader(plan, desk, checkpoint, chat)
        texts = reader.read_texts(corpus, (*TEXTS, "prompts"))
        everywhere = checkpoint == reference or study.steering.gradient_layers == "all"
        gradients = reader.differentiate(corpus, 0 if everywhere else locked.layer)
        activations.append({**texts, "gradients": gradients})
        steer = number in steered
        of_checkpoint = {"vectors": _plan_vectors(plan, checkpoint, texts)}
        if steer:
            of_checkpoint["responses"] = reader.steer(corpus, locked, gradients)
        if study.generation:
            sampled = study.behaviours.phrasings == "sampled" and not steer
            written = (
                reader.sample(corpus) if sampled else reader.write(corpus, locked, gradients, steer)
            )
            of_checkpoint["verdicts"] = _plan_verdicts(plan, checkpoint, contrasts, written)
        for name, entry in of_checkpoint.items():
            each.setdefault(name, {})[number] = entry
    readings = Readings(activations, each, one)
    return Chain(lock, readings, plan_summaries(plan, reference, readings))


def _follow_models(plan: Plan, corpus: Corpus, desk: Desk, chat: Mapping[str, Any]) -> Corpus:
    """Contrast data whose phrasings are openings of replies that the checkpoints write."""
    pooled = plan.study.behaviours.sampled_runs or plan.study.runs
    verdicts = tuple(
        _plan_verdicts(
            plan, checkpoint, corpus.entry, Reader(plan, desk, checkpoint, chat).sample(corpus)
        )
        for checkpoint in plan.checkpoints
        if checkpoint.run in pooled
    )
    entry = plan.add(
        "phrasings",
        {"amount": plan.study.contrasts.amounts.phrasings},
        inputs={"verdicts": verdicts, "contrasts": corpus.entry},
        label="phrasings of the checkpoints' own replies",
    )
    return read_phrasings(plan, entry, corpus)


def _draw_twin(study: Study, reference: Checkpoint) -> Checkpoint:
    """A model of the reference's shape with random weights."""
    drawn = {"initialise": study.seed}
    return replace(
        reference,
        run=f"random twin of {reference.run}",
        location={**reference.location, **drawn},
        digest=digest_value([reference.digest, drawn]),
    )


def _plan_vectors(
    plan: Plan, checkpoint: Checkpoint, texts: Mapping[str, tuple[Entry, ...]]
) -> Entry:
    return plan.add(
        "vectors",
        describe_fitting(plan.study),
        inputs={"activations": {kind: texts[kind] for kind in TEXTS if kind in texts}},
        label=checkpoint.label,
        code=[FITTING],
    )


def _plan_lock(
    plan: Plan,
    reference: Checkpoint,
    activations: Mapping[str, tuple[Entry, ...]],
    vectors: Entry,
) -> Entry:
    study = plan.study
    read = {kind: activations[kind] for kind in (*TEXTS, "gradients") if kind in activations}
    return plan.add(
        "lock",
        {
            "layer": study.vectors.layer,
            "bundles": {k: list(v) for k, v in study.contrasts.bundles.items()},
            "confound_variance": study.vectors.confound_variance,
            "random_directions": study.steering.random_directions,
            "nulls": study.statistics.nulls,
            "seed": study.seed,
        },
        inputs={"activations": read, "vectors": vectors},
        label=f"reference {reference.label}",
    )


def _plan_discovery(
    plan: Plan,
    reference: Checkpoint,
    activations: Mapping[str, tuple[Entry, ...]],
    lock: Entry,
) -> Entry:
    study = plan.study
    assert study.discovery
    return plan.add(
        "discovery",
        {
            "emotions": study.discovery.emotions,
            "indicators": study.indicators.model_dump(mode="json"),
            "metrics": describe_metrics(study),
        },
        inputs={
            "activations": {kind: activations[kind] for kind in ("prompts", "gradients")},
            "lock": lock,
        },
        label=f"reference {reference.label}",
    )


def _plan_verdicts(plan: Plan, checkpoint: Checkpoint, contrasts: Entry, replies: Entry) -> Entry:
    judge: Any = describe_judge(plan.study)
    return plan.add(
        "verdicts",
        {"judge": judge},
        inputs={"replies": replies, "contrasts": contrasts},
        context={"connection": describe_connection(plan.study)},
        label=checkpoint.label,
        code=[JUDGING],
    )


def _check_layer(study: Study, reference: Checkpoint) -> None:
    layer = study.vectors.layer
    if layer != "auto" and not 0 <= layer <= reference.layers:
        raise EmodriftError(
            f"vectors.layer {layer} is outside 0..{reference.layers}, "
            f"the layers of {reference.label}"
        )
