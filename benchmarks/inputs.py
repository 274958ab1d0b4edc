"""The checkpoint and the texts of a run, in one folder that the workers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerFast

from benchmarks.models import SHAPES, save_checkpoint
from benchmarks.prompts import draw_prompts, draw_stories, read_replies, train_tokenizer

SEED = 0
STRENGTH = 0.5
VOCABULARY = 16_000
METRICS = (
    ("harmful", "refuse"),
    ("benign", "refuse"),
    ("unanswerable", "hedge"),
    ("answerable", "hedge"),
    ("upset", "soothe"),
    ("pressure", "comply"),
    ("unanswerable", "comply"),
)
"""Suite and reply class of the seven metrics of the slope matrix."""


class Amounts(NamedTuple):
    """How much is measured.

    stories: texts whose activations are read. prompts, scored: prompts that get a steered reply,
    and steered log-odds. new_tokens: of a reply. conditions: steered together by emodrift; sample:
    by the peers, one after the other. per_suite: prompts of each suite of the slope matrix.
    rounds: turns of each contestant.
    """

    stories: int
    prompts: int
    scored: int
    new_tokens: int
    conditions: int
    sample: int
    per_suite: int
    rounds: int


class Inputs(NamedTuple):
    """What the workers are given.

    folder: where it is kept. shape: name of the checkpoint's. stories: records with ``label`` and
    ``text``. lengths: (story,) tokens. prompts, replies: behaviour prompts, and phrasings of each
    class. slope_prompts, targets: prompts of the metrics' suites; (target, 2) prompt and class.
    """

    folder: Path
    shape: str
    stories: list[dict[str, str]]
    lengths: np.ndarray
    prompts: list[str]
    replies: dict[str, list[str]]
    slope_prompts: list[str]
    targets: list[tuple[int, int]]

    @property
    def checkpoint(self) -> Path:
        """Folder of the checkpoint."""
        return self.folder / self.shape


def prepare_inputs(folder: Path, shape: str, device: str, dtype: str, amounts: Amounts) -> Inputs:
    """Write the checkpoint and draw the texts."""
    tokenizer = train_tokenizer(VOCABULARY)
    save_checkpoint(folder / shape, SHAPES[shape], tokenizer, device, dtype, SEED)
    stories = draw_stories(tokenizer, amounts.stories, SEED)
    replies = read_replies()
    classes = list(replies)
    slope_prompts: list[str] = []
    targets = []
    for suite in dict.fromkeys(suite for suite, _ in METRICS):
        for prompt in draw_prompts(amounts.per_suite, SEED, f"behaviours/{suite}.jsonl"):
            toward = [c for s, c in METRICS if s == suite]
            targets += [(len(slope_prompts), classes.index(c)) for c in toward]
            slope_prompts.append(prompt["prompt"])
    return Inputs(
        folder,
        shape,
        stories,
        np.array([len(tokenizer(story["text"])["input_ids"]) for story in stories]),
        [p["prompt"] for p in draw_prompts(amounts.prompts, SEED)],
        replies,
        slope_prompts,
        targets,
    )


def save_depths(inputs: Inputs, device: str, dtype: str) -> dict[int, Path]:
    """Checkpoints of a third, two thirds and all of the layers: layers -> folder."""
    whole = SHAPES[inputs.shape]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(inputs.checkpoint)
    folders = {}
    for third in (1, 2, 3):
        layers = whole.layers * third // 3
        folders[layers] = inputs.folder / f"{inputs.shape}-{layers}-layers"
        shape = whole._replace(layers=layers)
        save_checkpoint(folders[layers], shape, tokenizer, device, dtype, SEED)
    return folders


def write_argument(folder: Path, name: str, value: Any) -> dict[str, str]:
    """Write texts or an array to a file; gives the argument that names it to a worker."""
    if isinstance(value, np.ndarray):
        np.save(folder / f"{name}.npy", value)
        return {"array": str(folder / f"{name}.npy")}
    (folder / f"{name}.json").write_text(json.dumps(value))
    return {"texts": str(folder / f"{name}.json")}
