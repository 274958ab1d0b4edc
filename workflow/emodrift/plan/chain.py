"""Planning the chain from checkpoints to summaries: activations, vectors, lock, responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import Study
from emodrift.errors import EmodriftError
from emodrift.plan.descriptions import (
    describe_asking,
    describe_fitting,
    describe_format,
    describe_loading,
)
from emodrift.plan.entries import Plan
from emodrift.plan.replies import describe_texts
from emodrift.plan.summaries import plan_summaries
from emodrift.plan.templates import describe_chat
from emodrift.store.digest import digest_value
from emodrift.store.entry import Entry


class Chain(NamedTuple):
    """Entries from checkpoints to summaries; lists go by checkpoint."""

    activations: list[Entry]
    lock: Entry
    responses: list[Entry]
    summaries: dict[str, Entry]


def plan_chain(plan: Plan, reference: Checkpoint, contrasts: Entry) -> Chain:
    """Entries from a plan's checkpoints to their summaries."""
    study = plan.study
    _check_layer(study, reference)
    chat = describe_chat(study.activations, plan.store)
    activations = [_plan_activations(plan, c, contrasts, chat) for c in plan.checkpoints]
    vectors = [
        _plan_vectors(plan, c, a) for c, a in zip(plan.checkpoints, activations, strict=True)
    ]
    at_reference = plan.checkpoints.index(reference)
    lock = _plan_lock(plan, reference, activations[at_reference], vectors[at_reference])
    twin = _plan_twin(plan, reference, contrasts, chat)
    responses = [
        _plan_responses(plan, c, contrasts, lock, a, chat)
        for c, a in zip(plan.checkpoints, activations, strict=True)
    ]
    summaries = plan_summaries(plan, reference, lock, activations, vectors, twin, responses)
    return Chain(activations, lock, responses, summaries)


def _plan_activations(
    plan: Plan,
    checkpoint: Checkpoint,
    contrasts: Entry,
    chat: Mapping[str, Any],
    **kinds: list[str],
) -> Entry:
    section = plan.study.activations
    of_chat = {"chat_template", "system_prompt", "template_arguments"}
    reading = {
        "activations": section.model_dump(mode="json", exclude=of_chat),
        "chat": chat,
        "asking": describe_asking(plan.study),
        "dtype": plan.study.compute.dtype,
        "checkpoint": checkpoint.digest,
        **kinds,
    }
    return plan.add(
        "activations",
        {"reading": reading},
        inputs={"contrasts": contrasts},
        context={"model": describe_loading(plan.study, checkpoint, chat)},
        label=checkpoint.label,
    )


def _plan_vectors(plan: Plan, checkpoint: Checkpoint, activations: Entry) -> Entry:
    return plan.add(
        "vectors",
        describe_fitting(plan.study),
        inputs={"activations": activations},
        label=checkpoint.label,
    )


def _plan_twin(
    plan: Plan, reference: Checkpoint, contrasts: Entry, chat: Mapping[str, Any]
) -> Entry:
    """Vectors of a model of the reference's shape with random weights."""
    drawn = {"initialise": plan.study.seed}
    twin = replace(
        reference,
        run=f"random twin of {reference.run}",
        location={**reference.location, **drawn},
        digest=digest_value([reference.digest, drawn]),
    )
    activations = _plan_activations(plan, twin, contrasts, chat, kinds=["stories", "neutral"])
    return _plan_vectors(plan, twin, activations)


def _plan_lock(plan: Plan, reference: Checkpoint, activations: Entry, vectors: Entry) -> Entry:
    return plan.add(
        "lock",
        {
            "layer": plan.study.vectors.layer,
            "bundles": {k: list(v) for k, v in plan.study.contrasts.bundles.items()},
            "confound_variance": plan.study.vectors.confound_variance,
            "random_directions": plan.study.steering.random_directions,
            "nulls": plan.study.statistics.nulls,
            "seed": plan.study.seed,
        },
        inputs={"activations": activations, "vectors": vectors},
        label=f"reference {reference.label}",
    )


def _plan_responses(
    plan: Plan,
    checkpoint: Checkpoint,
    contrasts: Entry,
    lock: Entry,
    activations: Entry,
    chat: Mapping[str, Any],
) -> Entry:
    study = plan.study
    entry = plan.add(
        "responses",
        {
            "asking": {
                "steering": study.steering.model_dump(mode="json", exclude={"random_directions"}),
                **describe_format(study),
                "phrasing_score": study.behaviours.phrasing_score,
            },
            "chat": chat,
            "dtype": study.compute.dtype,
        },
        inputs={"contrasts": contrasts, "lock": lock},
        leaves={"checkpoint": checkpoint.digest},
        context={
            "model": describe_loading(study, checkpoint, chat),
            "activations": {**activations.params["reading"], "code": activations.code},
            "texts": describe_texts(study, checkpoint, contrasts, lock, chat),
        },
        label=checkpoint.label,
    )
    if activations not in _list_ancestors(lock):
        plan.order_after(activations, entry)
    return entry


def _list_ancestors(entry: Entry) -> list[Entry]:
    parents = entry.list_inputs()
    return [*parents, *(a for parent in parents for a in _list_ancestors(parent))]


def _check_layer(study: Study, reference: Checkpoint) -> None:
    layer = study.vectors.layer
    if layer != "auto" and not 0 <= layer <= reference.layers:
        raise EmodriftError(
            f"vectors.layer {layer} is outside 0..{reference.layers}, "
            f"the layers of {reference.label}"
        )
