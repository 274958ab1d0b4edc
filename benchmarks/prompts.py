"""The texts that every contestant is timed on, from the shipped contrast data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

RESOURCES = Path(__file__).parents[1] / "resources"
PAD, END = "<pad>", "<end>"
SHORTEST, LONGEST = 12, 320
LOG_MEAN, LOG_SD = 4.2, 0.7


def read_records(pattern: str) -> list[dict[str, str]]:
    """Records of all shipped files that match a pattern, in the files' order."""
    return [
        json.loads(line)
        for path in sorted(RESOURCES.glob(pattern))
        for line in path.read_text().splitlines()
    ]


def train_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE tokenizer of the shipped texts, with at most so many tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_list_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, padding_side="right"
    )


def draw_stories(tokenizer: PreTrainedTokenizerFast, count: int, seed: int) -> list[dict[str, str]]:
    """Texts with a spread of lengths like that of stories and prompts in studies.

    Each is cut, at the end of a word, from stories of one emotion put one after another; emotions
    take turns. Lengths are lognormal (log mean 4.2, log sd 0.7), clipped to 12 to 320 tokens.

    Returns
    -------
    list
        Records with ``id``, ``label`` (the emotion) and ``text``, in random order of length.
    """
    rng = np.random.default_rng(seed)
    by_emotion: dict[str, list[str]] = {}
    for story in read_records("stories/*.jsonl"):
        by_emotion.setdefault(story["label"], []).append(story["text"])
    emotions = sorted(by_emotion)
    records = []
    for number in range(count):
        emotion = emotions[number % len(emotions)]
        length = int(np.clip(rng.lognormal(LOG_MEAN, LOG_SD), SHORTEST, LONGEST))
        first = int(rng.integers(len(by_emotion[emotion])))
        ring = by_emotion[emotion][first:] + by_emotion[emotion][:first]
        text = _cut_text(tokenizer, " ".join(ring[:8]), length)
        records.append({"id": f"{emotion}-{number}", "label": emotion, "text": text})
    return records


def draw_prompts(
    count: int, seed: int, pattern: str = "behaviours/*.jsonl"
) -> list[dict[str, str]]:
    """Behaviour prompts of all shipped suites, or of those whose files match a pattern."""
    prompts = read_records(pattern)
    chosen = np.random.default_rng(seed).choice(len(prompts), count, replace=False)
    return [prompts[i] for i in chosen]


def read_replies() -> dict[str, list[str]]:
    """The shipped phrasings of every class of reply."""
    return yaml.safe_load((RESOURCES / "behaviours" / "replies.yaml").read_text())


def _list_texts() -> Iterator[str]:
    yield from (r["text"] for r in read_records("stories/*.jsonl"))
    yield from (r["prompt"] for r in read_records("behaviours/*.jsonl"))
    for phrasings in read_replies().values():
        yield from phrasings


def _cut_text(tokenizer: PreTrainedTokenizerFast, text: str, length: int) -> str:
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    end = offsets[min(length, len(offsets)) - 1][1]
    space = text.find(" ", end)
    return text[:space] if space > 0 else text
