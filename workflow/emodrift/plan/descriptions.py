"""What of a config matters to a stage, as the plain values that its key is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import Study


def describe_checkpoints(checkpoints: Iterable[Checkpoint]) -> list[dict[str, Any]]:
    """Labels of checkpoints, as summaries carry them."""
    return [
        {"run": c.run, "step": c.step, "stage": c.stage, "tokens": c.tokens} for c in checkpoints
    ]


def list_steered(
    study: Study, checkpoints: Sequence[Checkpoint], reference: Checkpoint
) -> list[int]:
    """Numbers of the checkpoints that are steered."""
    last = {c.run: number for number, c in enumerate(checkpoints)}
    chosen = {
        "all": range(len(checkpoints)),
        "ends": last.values(),
        "reference": (),
    }[study.steering.checkpoints]
    return sorted({*chosen, checkpoints.index(reference)})


def describe_loading(
    study: Study, checkpoint: Checkpoint, chat: Mapping[str, Any]
) -> dict[str, Any]:
    """What a job needs to load a checkpoint; no part of a key."""
    return {
        "location": checkpoint.location,
        "loading": study.compute.model_dump(mode="json", exclude={"dtype"}),
        "dtype": study.compute.weights,
        "mixed": study.compute.mixed,
        "chat": chat,
    }


def describe_format(study: Study) -> dict[str, str]:
    """How prompts are put."""
    section = study.activations
    return {"prompt_format": section.prompt_format, "plain_prompt": section.plain_prompt}


def describe_asking(study: Study) -> dict[str, Any]:
    """How prompts are put and replies scored, and the reply classes that count in each suite."""
    toward: dict[str, list[str]] = {}
    for metric in study.behaviours.metrics.values():
        of_suite = toward.setdefault(metric.suite, [])
        if metric.toward not in of_suite:
            of_suite.append(metric.toward)
    return {
        **describe_format(study),
        "phrasing_score": study.behaviours.phrasing_score,
        "positions": study.steering.positions,
        "toward": toward,
    }


def describe_fitting(study: Study) -> dict[str, Any]:
    """How vectors are fitted."""
    return {**study.vectors.model_dump(mode="json", exclude={"layer"}), "seed": study.seed}


def describe_metrics(study: Study) -> dict[str, Any]:
    """Behaviour metrics without their words."""
    return {
        k: m.model_dump(mode="json", exclude={"description"})
        for k, m in study.behaviours.metrics.items()
    }


def describe_judge(study: Study) -> str | dict[str, Any] | None:
    """Who judges replies; None where none are written."""
    section = study.generation
    if section is None:
        return None
    if isinstance(section.judge, str):
        return section.judge
    return section.judge.model_dump(mode="json", include={"model", "endpoint"})


def describe_connection(study: Study) -> dict[str, Any]:
    """How a judge is asked; no part of a key."""
    section = study.generation
    if section is None or isinstance(section.judge, str):
        return {"parallel": 1}
    return section.judge.model_dump(mode="json", include={"key_variable", "parallel", "timeout"})
