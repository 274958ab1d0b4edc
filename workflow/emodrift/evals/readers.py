"""Readers of what lm-eval, Every Eval Ever and the Trainer write."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scipy.stats import norm

from emodrift.checkpoints.names import read_name
from emodrift.evals.records import Answer, Reading, Score, Told, as_number, find_key, load_json

STATE = "trainer_state.json"
BOOKKEEPING = ("epoch", "step", "total_flos", "train_loss", "learning_rate")
TIMINGS = ("_runtime", "_per_second", "_compilation_time")
LOWER_IS_BETTER = ("loss", "perplexity", "entropy_loss")


def read_lm_eval(path: Path) -> list[Reading]:
    """A ``results_*.json`` of lm-evaluation-harness, with the ``samples_*.jsonl`` beside it.

    A metric is called by its name, and by name and filter (``exact_match,strict-match``) where the
    filter is not ``none``.
    """
    record = load_json(path, "lm-eval")
    results = find_key(record, "results", path, "lm-eval")
    config = find_key(record, "config", path, "lm-eval")
    better = record.get("higher_is_better", {})
    counts = record.get("n-samples", {})
    scores = []
    for task, values in results.items():
        for key, value in values.items():
            name, _, kind = key.partition(",")
            number = as_number(value)
            if not kind or number is None or name.endswith("_stderr"):
                continue
            scores.append(
                Score(
                    task=task,
                    metric=name if kind == "none" else key,
                    value=number,
                    se=as_number(values.get(f"{name}_stderr,{kind}")),
                    n=counts.get(task, {}).get("effective"),
                    higher_is_better=better.get(task, {}).get(name),
                )
            )
    answers = [
        answer
        for file in sorted(
            path.parent.glob(f"samples_*_{path.stem.removeprefix('results_')}.jsonl")
        )
        for answer in _read_samples(file, path)
    ]
    return [Reading(path, _tell_lm_eval(record, config), scores, answers)]


def read_every_eval_ever(path: Path) -> list[Reading]:
    """A record of Every Eval Ever (schema 0.2, 0.3): one model, a list of results.

    Answers are those of the ``…_samples.jsonl`` beside it, which schema 0.3 has.
    """
    source = "Every Eval Ever"
    record = load_json(path, source)
    about = find_key(record, "model_info", path, source)
    more = about.get("additional_details", {})
    scores = []
    names: dict[str, tuple[str, str]] = {}
    for result in find_key(record, "evaluation_results", path, source):
        config, details = result["metric_config"], result["score_details"]
        number = as_number(details["score"])
        if number is not None:
            data = result.get("source_data", {})
            task = data.get("dataset_name") or result["evaluation_name"]
            metric = _name_metric(result, config)
            names[result.get("evaluation_result_id", metric)] = task, metric
            scores.append(
                Score(
                    task=task,
                    metric=metric,
                    value=number,
                    se=_read_error(details),
                    n=details.get("uncertainty", {}).get("num_samples"),
                    higher_is_better=not config["lower_is_better"],
                )
            )
    step = more.get("step")
    told = Told(about.get("id") or about["name"], more.get("revision"), step and int(step))
    beside = path.with_name(f"{path.stem}_samples.jsonl")
    answers = list(_read_instances(beside, names)) if beside.is_file() else []
    return [Reading(path, told, scores, answers)]


def read_trainer(path: Path) -> list[Reading]:
    """The log history of a ``trainer_state.json``: a reading for each step that was logged.

    What begins with ``eval_`` is of task ``eval``, the rest of task ``train``.
    """
    record = load_json(path, "Trainer")
    folder = path.parent
    run = folder.parent if read_name(folder.name) else folder
    scores: dict[int, dict[tuple[str, str], Score]] = {}
    for row in find_key(record, "log_history", path, "Trainer"):
        for key, value in row.items():
            number = as_number(value)
            if number is None or key in BOOKKEEPING or key.endswith(TIMINGS):
                continue
            task = "eval" if key.startswith("eval_") else "train"
            name = key.removeprefix("eval_")
            better = False if name in LOWER_IS_BETTER else None
            score = Score(task, name, number, higher_is_better=better)
            scores.setdefault(int(row["step"]), {})[task, name] = score
    return [
        Reading(path, Told(str(run / f"checkpoint-{step}"), None, step), list(of_step.values()))
        for step, of_step in scores.items()
    ]


def keep_longest(paths: list[Path]) -> list[Path]:
    """Of the states that a run's checkpoints hold, the one that was written last.

    Each repeats the history of those before it.
    """
    last: dict[Path, tuple[int, Path]] = {}
    for path in paths:
        step = load_json(path, "Trainer").get("global_step", 0)
        run = path.parent.parent if read_name(path.parent.name) else path.parent
        last[run] = max(last.get(run, (step, path)), (step, path))
    return [path for _, path in last.values()]


def _tell_lm_eval(record: Mapping[str, Any], config: Mapping[str, Any]) -> Told:
    arguments = config.get("model_args") or {}
    if isinstance(arguments, str):
        pairs = (part.partition("=") for part in arguments.split(","))
        arguments = {name.strip(): value for name, _, value in pairs}
    model = arguments.get("peft") or arguments.get("pretrained") or record.get("model_name")
    if model and arguments.get("subfolder"):
        model = f"{model}/{arguments['subfolder']}"
    return Told(model, config.get("model_sha") or arguments.get("revision"), None)


def _read_samples(path: Path, results: Path) -> Iterator[Answer]:
    date = results.stem.removeprefix("results_")
    task = path.stem.removeprefix("samples_").removesuffix(f"_{date}")
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kind = row.get("filter", "none")
        first = next(iter(row["arguments"].values())) if row.get("arguments") else {}
        response = row.get("filtered_resps") or row.get("resps") or [""]
        for name in row.get("metrics", ()):
            number = as_number(row.get(name))
            if number is None:
                continue
            yield Answer(
                task=task,
                metric=name if kind == "none" else f"{name},{kind}",
                id=str(row["doc_id"]),
                prompt=str(first.get("arg_0", "")),
                response=_as_text(response),
                value=number,
            )


def _read_instances(path: Path, names: Mapping[str, tuple[str, str]]) -> Iterator[Answer]:
    """Answers of Every Eval Ever; `names` gives task and metric of each result."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        named = names.get(row.get("evaluation_result_id"))
        number = as_number((row.get("evaluation") or {}).get("score"))
        if named is None or number is None:
            continue
        yield Answer(
            *named,
            id=str(row["sample_id"]),
            prompt=_as_text((row.get("input") or {}).get("raw") or ""),
            response=_as_text((row.get("output") or {}).get("raw") or ""),
            value=number,
        )


def _as_text(response: Any) -> str:
    while isinstance(response, list) and len(response) == 1:
        response = response[0]
    return response if isinstance(response, str) else json.dumps(response)


def _name_metric(result: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    named = (config.get(key) for key in ("metric_name", "evaluation_description"))
    return next(filter(None, named), result["evaluation_name"])


def _read_error(details: Mapping[str, Any]) -> float | None:
    doubt = details.get("uncertainty", {})
    error = as_number(doubt.get("standard_error", {}).get("value"))
    interval = doubt.get("confidence_interval", {})
    if error is None and {"lower", "upper", "confidence_level"} <= interval.keys():
        half = (interval["upper"] - interval["lower"]) / 2
        error = half / float(norm.ppf((1 + interval["confidence_level"]) / 2))
    return error


def warn_unreadable(path: Path, why: str) -> None:
    """Say that a file is left out."""
    logging.warning("evals: %s is left out: %s", path, why)
