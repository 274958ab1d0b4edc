"""What is measured of a model in training: a small, fixed choice of prompts and stories."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from torch import nn
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from emodrift.config.study import Study
from emodrift.corpus.reading import load_kinds, load_part, load_prompts, load_replies
from emodrift.corpus.records import Record
from emodrift.errors import EmodriftError
from emodrift.measure.activations import extract_part
from emodrift.measure.dialogues import open_dialogues
from emodrift.measure.directions import open_bundles, open_lock, pick_directions
from emodrift.measure.gradients import Question, compute_odds, differentiate_prompts
from emodrift.measure.session import Session
from emodrift.models.blocks import find_blocks
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget
from emodrift.models.verification import verify_blocks
from emodrift.vectors.estimators import ESTIMATORS, label_texts

LABEL = "model in training"


@dataclass(frozen=True)
class Probe:
    """What is asked of a model each time.

    Parameters
    ----------
    study
        The study whose settings are followed.
    layer
        The locked layer.
    names, directions
        Emotions and bundles of the lock, and their unit vectors (direction, hidden).
    emotions
        How many of them, the first, are emotions.
    prompts, stories
        Records.
    replies
        Reply class -> phrasings.
    """

    study: Study
    layer: int
    names: tuple[str, ...]
    directions: np.ndarray
    emotions: int
    prompts: tuple[Record, ...]
    stories: tuple[Record, ...]
    replies: dict[str, list[str]]


class Snapshot(NamedTuple):
    """What was measured once.

    projection: (prompt, direction) at the reply point, in mean residual norms. target: (target,)
    prompt and metric of each slope. slope: (target, direction) log-odds per mean residual norm.
    probability: (target,) of the metric's reply class. vector: (emotion, hidden), refitted.
    """

    projection: np.ndarray
    target: list[tuple[int, str]]
    slope: np.ndarray
    probability: np.ndarray
    vector: np.ndarray


def read_probe(study: Study, lock: Path, contrasts: Path, prompts: int, topics: int) -> Probe:
    """Choose prompts and stories of a study's contrast data.

    Parameters
    ----------
    study
        Config.
    lock, contrasts
        Finished entries of the study.
    prompts
        Prompts of each suite that a metric is about, spread over the suite.
    topics
        Topics whose stories vectors are refitted from.

    Raises
    ------
    EmodriftError
        The estimator needs more than stories.
    """
    if study.vectors.estimator != "difference_of_means":
        raise EmodriftError(
            f"vectors.estimator {study.vectors.estimator} is too slow or needs more texts than a "
            "callback reads; set difference_of_means, or measure the saved checkpoints"
        )
    locked = open_lock(lock)
    kinds = locked["kind"].values
    emotions = [str(n) for n, kind in zip(locked["name"].values, kinds, strict=True)
                if kind == "emotion"]  # fmt: skip
    names = [*emotions, *open_bundles(lock)]
    picked = pick_directions(lock, names)
    return Probe(
        study=study,
        layer=int(picked["layer"]),
        names=tuple(names),
        directions=picked.values.astype(np.float32),
        emotions=len(emotions),
        prompts=tuple(_choose_prompts(study, load_prompts(contrasts), prompts)),
        stories=tuple(_choose_stories(contrasts, topics)),
        replies=load_replies(contrasts),
    )


def wrap_network(network: nn.Module, tokenizer: PreTrainedTokenizerBase) -> LanguageModel:
    """A model in training as the library takes it, its blocks found and verified.

    Raises
    ------
    EmodriftError
        Its blocks are not found, or not what they seem.
    """
    bare = find_bare(network)
    return verify_blocks(LanguageModel(bare, tokenizer, find_blocks(bare, LABEL, None)), LABEL)


def find_bare(network: nn.Module) -> PreTrainedModel:
    """A network without what training wraps around it; adapters stay where they are injected."""
    while hasattr(network, "module"):
        network = network.module
    if hasattr(network, "get_base_model"):
        network = network.get_base_model()
    return network


@contextlib.contextmanager
def pause_training(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients of weights; everything is put back as it was.

    Modes, gradients, the weights' need of them and random streams are the same afterwards.
    """
    modes = [(module, module.training) for module in network.modules()]
    needs = [(weight, weight.requires_grad) for weight in network.parameters()]
    devices = [weight.device for weight in network.parameters()][:1]
    cuda = [device for device in devices if device.type == "cuda"]
    try:
        with torch.random.fork_rng(devices=cuda):
            network.eval()
            for weight, _ in needs:
                weight.requires_grad_(False)
            yield
    finally:
        for weight, need in needs:
            weight.requires_grad_(need)
        for module, mode in modes:
            module.training = mode


def take_snapshot(model: LanguageModel, probe: Probe, budget: TokenBudget) -> Snapshot:
    """Measure a model; it must be paused (:func:`pause_training`).

    Parameters
    ----------
    model
        The model.
    probe
        What is asked.
    budget
        Tokens per batch.
    """
    study = probe.study
    reading = _describe_reading(study)
    dialogues = open_dialogues(model, probe.prompts, probe.replies, reading, budget, LABEL)
    names, metrics = dialogues.tree.classes, study.behaviours.metrics
    target = [
        (row, metric)
        for row, record in enumerate(probe.prompts)
        for metric, asked in metrics.items()
        if asked.suite == record["suite"]
    ]
    classes = [names.index(metrics[metric].toward) for _, metric in target]
    rows = [row for row, _ in target]
    question = Question(
        list(zip(rows, classes, strict=True)), reading["positions"], first_layer=probe.layer
    )
    found = differentiate_prompts(dialogues, question, Session(model, budget, LABEL))
    norm = float(found.norms[0])
    odds = compute_odds(torch.from_numpy(found.scores))[rows, classes]
    at_reply = _extract(model, probe.prompts, reading, budget, probe.layer)
    texts = _extract(model, probe.stories, reading, budget, probe.layer)
    topics = ESTIMATORS[study.vectors.estimator](label_texts(texts))
    return Snapshot(
        projection=at_reply.values @ probe.directions.T / norm,
        target=target,
        slope=found.gradients[:, 0] @ probe.directions.T,
        probability=torch.sigmoid(odds).numpy(),
        vector=np.nanmean(topics, axis=0),
    )


def _extract(
    model: LanguageModel,
    records: Sequence[Record],
    reading: dict[str, Any],
    budget: TokenBudget,
    layer: int,
) -> xr.DataArray:
    return extract_part(model, records, reading, budget, LABEL).sel(layer=layer)


def _describe_reading(study: Study) -> dict[str, Any]:
    section = study.activations
    return {
        "pooling": section.pooling,
        "from_token": section.from_token,
        "prompt_format": section.prompt_format,
        "plain_prompt": section.plain_prompt,
        "phrasing_score": study.behaviours.phrasing_score,
        "positions": study.steering.positions,
    }


def _choose_prompts(study: Study, records: Sequence[Record], number: int) -> Iterator[Record]:
    for suite in dict.fromkeys(m.suite for m in study.behaviours.metrics.values()):
        of_suite = [r for r in records if r["suite"] == suite]
        places = np.unique(np.linspace(0, len(of_suite) - 1, number).round().astype(int))
        yield from (of_suite[place] for place in places)


def _choose_stories(contrasts: Path, topics: int) -> list[Record]:
    stories = [
        story
        for name, kind in load_kinds(contrasts).items()
        if kind == "stories"
        for story in load_part(contrasts, name)
        if story["split"] == "fit"
    ]
    chosen = list(dict.fromkeys(story["topic"] for story in stories))[:topics]
    return [story for story in stories if story["topic"] in chosen]
