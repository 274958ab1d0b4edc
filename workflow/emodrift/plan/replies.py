"""Planning generated replies and what a judge makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.generation import Generation
from emodrift.config.study import Study
from emodrift.plan.descriptions import (
    describe_format,
    describe_loading,
    describe_metrics,
    describe_summary,
)
from emodrift.plan.entries import LIBRARY, Plan
from emodrift.plan.sources import find_file
from emodrift.plan.templates import describe_chat
from emodrift.store.digest import digest_code, make_key
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests


def describe_texts(
    study: Study,
    checkpoint: Checkpoint,
    contrasts: Entry,
    lock: Entry,
    chat: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Where a checkpoint's replies are kept and what their key is made of; no judge is in it."""
    section = study.generation
    if section is None:
        return None
    steered = study.contrasts.bundles if section.steered is None else section.steered
    recipe = {
        "checkpoint": checkpoint.digest,
        "contrasts": contrasts.key,
        "lock": lock.key,
        "steered": list(steered),
        "asking": {
            "prompts_per_cell": section.prompts_per_cell,
            "max_new_tokens": section.max_new_tokens,
            "temperature": section.temperature,
            "seed": study.seed if section.temperature else 0,
            "strengths": list(section.strengths),
            "positions": study.steering.positions,
            **describe_format(study),
        },
        "chat": chat,
        "dtype": study.compute.dtype,
        "code": digest_code(LIBRARY / "measure" / "replies.py", "emodrift.vectors.lock"),
    }
    return {"place": f"reply-texts/{make_key(**recipe)}", "recipe": recipe}


def plan_replies(
    plan: Plan,
    contrasts: Entry,
    lock: Entry,
    activations: list[Entry],
    responses: list[Entry],
) -> list[Entry]:
    """Judged replies of every checkpoint, written by the job of its responses."""
    chat = describe_chat(plan.study.activations, plan.store)
    planned = []
    for checkpoint, read, scored in zip(plan.checkpoints, activations, responses, strict=True):
        entry = plan.add(
            "replies",
            {
                "texts": describe_texts(plan.study, checkpoint, contrasts, lock, chat),
                "judge": _name_judge(plan.study.generation),
            },
            inputs={"contrasts": contrasts, "lock": lock, "activations": read},
            context={
                "model": describe_loading(plan.study, checkpoint, chat),
                "connection": _describe_connection(plan.study.generation),
            },
            label=checkpoint.label,
        )
        plan.order_after(entry, scored)
        planned.append(entry)
    return planned


def plan_conduct(
    plan: Plan, replies: list[Entry], activations: list[Entry], digests: FileDigests
) -> Entry:
    """The table of how judged replies move, with the judge's agreement with people."""
    study = plan.study
    annotations = study.generation.annotations
    key = "generation.annotations"
    return plan.add(
        "conduct",
        {
            **describe_summary(plan),
            "statistics": study.statistics.model_dump(mode="json"),
            "metrics": describe_metrics(study),
            "judge": _name_judge(study.generation),
        },
        inputs={"replies": tuple(replies), "activations": tuple(activations)},
        leaves={"annotations": digests.digest(find_file(key, annotations))} if annotations else {},
        context={
            "annotations": annotations,
            "connection": _describe_connection(study.generation),
        },
        label="all checkpoints",
    )


def _name_judge(section: Generation) -> str | dict[str, Any]:
    if isinstance(section.judge, str):
        return section.judge
    return section.judge.model_dump(mode="json", include={"model", "endpoint"})


def _describe_connection(section: Generation) -> dict[str, Any]:
    if isinstance(section.judge, str):
        return {"parallel": 1}
    return section.judge.model_dump(mode="json", include={"key_variable", "parallel", "timeout"})
