"""Reader of Inspect's logs: its own reader where installed, else the layout of its JSON logs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError
from emodrift.evals.readers import warn_unreadable
from emodrift.evals.records import Answer, Reading, Score, Told, as_number, find_key, load_json

GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""What Inspect counts its grades as: correct, partly, incorrect, no answer."""
ERRORS = ("stderr", "std", "var", "bootstrap_stderr")
PROVIDERS = ("hf", "vllm", "sglang", "ollama", "openai-api")


def read_inspect(path: Path) -> list[Reading]:
    """An Inspect log, ``.json`` or ``.eval``. One that did not end well is left out.

    The checkpoint is told by the model's name or ``model_path``, by its ``revision``, or by
    ``checkpoint``, ``revision`` or ``step`` in the eval's metadata.

    Raises
    ------
    EmodriftError
        It is a ``.eval`` file, and Inspect is not installed.
    """
    log = _load(path)
    about = find_key(log, "eval", path, "Inspect")
    if log.get("status") != "success" or not log.get("results"):
        warn_unreadable(path, f"its status is {log.get('status')}")
        return []
    task = about["task"]
    scores = [score for scored in log["results"]["scores"] for score in _read_metrics(task, scored)]
    answers = [a for sample in log.get("samples") or () for a in _read_sample(task, sample)]
    return [Reading(path, _tell(about), scores, answers)]


def _load(path: Path) -> dict[str, Any]:
    if importlib.util.find_spec("inspect_ai"):
        from inspect_ai.log import read_eval_log

        return read_eval_log(str(path)).model_dump(mode="json")
    if path.suffix == ".eval":
        raise EmodriftError(
            f"evals: {path} is read by Inspect alone; install inspect-ai here, or turn it into "
            "JSON: inspect log convert --to json"
        )
    return load_json(path, "Inspect")


def _read_metrics(task: str, scored: Mapping[str, Any]) -> Iterator[Score]:
    values = {name: as_number(m["value"]) for name, m in scored["metrics"].items()}
    error = values.get("stderr", values.get("bootstrap_stderr"))
    for name, value in values.items():
        if value is not None and name not in ERRORS:
            yield Score(
                task=task,
                metric=f"{scored['name']}/{name}",
                value=value,
                se=error if name in ("accuracy", "mean") else None,
                n=scored.get("scored_samples"),
            )


def _read_sample(task: str, sample: Mapping[str, Any]) -> Iterator[Answer]:
    for name, score in (sample.get("scores") or {}).items():
        grade = score["value"]
        value = GRADES.get(grade) if isinstance(grade, str) else as_number(grade)
        if isinstance(grade, bool):
            value = float(grade)
        if value is not None:
            yield Answer(
                task=task,
                metric=name,
                id=f"{sample['id']}" + (f"/{sample['epoch']}" if sample["epoch"] > 1 else ""),
                prompt=_as_text(sample["input"]),
                response=sample["output"].get("completion", ""),
                value=value,
            )


def _as_text(prompt: str | list[Mapping[str, Any]]) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def _tell(about: Mapping[str, Any]) -> Told:
    arguments, notes = about.get("model_args") or {}, about.get("metadata") or {}
    provider, _, name = about["model"].partition("/")
    named = name if provider in PROVIDERS and name != "local" else None
    model = notes.get("checkpoint") or arguments.get("model_path") or named
    step = notes.get("step")
    revision = notes.get("revision") or arguments.get("revision")
    return Told(model, revision, None if step is None else int(step))
