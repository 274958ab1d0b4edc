"""What a measurement takes: texts, tokens, operations and bytes, counted before it is made.

Operations are those of products with weights, two for each weight and token (Kaplan et al. 2020,
arXiv:2001.08361). Attention over texts of a hundred tokens adds a few per cent, which go into
:data:`emodrift.cost.pace.EFFICIENCY`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import fmean
from typing import Any, NamedTuple

from emodrift.corpus.records import Record
from emodrift.cost.shapes import Shape
from emodrift.cost.tokens import Counter

HALF, SINGLE = 2, 4
"""Bytes of a stored number."""
TYPICAL_DEPTH = 2 / 3
"""Where the locked layer lies, as a share of the depth, before it is known."""


@dataclass(frozen=True)
class Work:
    """What something takes.

    Parameters
    ----------
    texts
        Texts and prompts that are read.
    tokens
        Tokens that go through the network, in parts of it or in all, forward.
    reading
        Operations in products over many rows.
    writing
        Operations in products over as many rows as replies are written side by side.
    size
        Bytes of the result, before they are packed.
    """

    texts: int = 0
    tokens: float = 0
    reading: float = 0
    writing: float = 0
    size: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def operations(self) -> float:
        """All operations."""
        return self.reading + self.writing


class Replies(NamedTuple):
    """Reply phrasings behind a prompt: tokens that are read, what phrasings begin with alike once
    and no last one; number of reply classes.
    """

    tokens: int
    classes: int


def count_reading(lengths: Sequence[int], shape: Shape) -> Work:
    """Reading texts of some lengths at all layers."""
    tokens = sum(lengths)
    values = len(lengths) * (shape.layers + 1) * shape.hidden
    return Work(len(lengths), tokens, 2.0 * shape.weights * tokens, 0, HALF * values)


def count_differentiating(
    lengths: Sequence[int], turns: Sequence[int], replies: Replies, first_layer: int, shape: Shape
) -> Work:
    """Scoring replies behind prompts, and a backward pass for each metric of a prompt's suite.

    Weights bear no gradient, so that a backward pass costs what the LM head and the blocks above
    the first layer cost forward.

    Parameters
    ----------
    lengths
        (prompt,) tokens.
    turns
        (prompt,) backward passes.
    replies
        The phrasings behind each.
    first_layer
        Where backward passes end.
    shape
        The network.
    """
    above = shape.weights * (shape.layers - first_layer) / shape.layers
    tokens, operations = 0, 0.0
    for length, passes in zip(lengths, turns, strict=True):
        rows = length + replies.tokens
        tokens += rows
        operations += 2.0 * rows * (shape.weights + passes * above)
        operations += 2.0 * (1 + replies.tokens) * shape.head * (1 + passes)
    values = sum(turns) * (shape.layers + 1 - first_layer) * shape.hidden
    return Work(len(lengths), tokens, operations, 0, HALF * values)


def count_steering(
    lengths: Sequence[float], conditions: int, replies: Replies, layer: int, shape: Shape
) -> Work:
    """Scoring replies behind prompts under vectors that are added at a layer.

    Blocks up to the layer run once for all conditions.
    """
    above = shape.weights * (shape.layers - layer) / shape.layers
    rows = sum(lengths) + len(lengths) * replies.tokens
    scored = len(lengths) * (1 + replies.tokens) * conditions
    return Work(
        len(lengths),
        rows * (1 + conditions),
        2.0 * rows * (shape.weights + conditions * above) + 2.0 * scored * shape.head,
        0,
        SINGLE * len(lengths) * conditions * replies.classes,
    )


def count_writing(
    lengths: Sequence[float], conditions: int, new_tokens: int, again: float, shape: Shape
) -> Work:
    """Writing replies of full length to prompts under some conditions.

    The last token of a prompt is read with the first one written.

    Parameters
    ----------
    lengths
        (prompt,) tokens.
    conditions
        Replies to each prompt.
    new_tokens
        Of a reply, at the most.
    again
        Share of the blocks that read the prompt anew for every condition; 0 where vectors are
        added from the reply point on.
    shape
        The network.
    """
    prompts, replies = sum(lengths) - len(lengths), len(lengths) * conditions
    written = replies * new_tokens
    read = prompts * (1 - again + again * conditions)
    return Work(
        len(lengths),
        written + prompts * (1 + conditions * (again > 0)),
        2.0 * read * shape.weights,
        2.0 * written * (shape.weights + shape.head),
        SINGLE * written,
    )


def count_training(
    dialogues: int, tokens: float, passes: int, shape: Shape, saved: float = 0
) -> Work:
    """Training on dialogues of some tokens each, by passes forward and backward.

    Parameters
    ----------
    dialogues
        Seen in all, repeats included.
    tokens
        Of one, on average.
    passes
        Times that a token's cost forward is paid: 3 where all weights learn, 2 where an adapter
        does, one more for a reference model.
    shape
        The network.
    saved
        Bytes of the checkpoints.
    """
    read = dialogues * tokens
    return Work(dialogues, read, 2.0 * passes * read * (shape.weights + shape.head), 0, saved)


def spread_lengths(prompts: Sequence[Record], lengths: Sequence[int], per_cell: int) -> list[float]:
    """Tokens of as many prompts as a spread holds, each as long as its suite and split's mean."""
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for prompt, length in zip(prompts, lengths, strict=True):
        cells[prompt["suite"], prompt["split"]].append(length)
    return [fmean(c) for c in cells.values() for _ in range(min(per_cell, len(c)))]


def count_phrasings(classes: Mapping[str, Sequence[str]], counter: Counter) -> Replies:
    """Tokens of all phrasings of all reply classes, as they are read."""
    encoded = [counter.split_reply(p) for phrasings in classes.values() for p in phrasings]
    read = {ids[:length] for ids in encoded for length in range(1, len(ids))}
    return Replies(len(read), len(classes))


def count_turns(prompts: Sequence[Record], toward: Mapping[str, Sequence[Any]]) -> list[int]:
    """(prompt,) backward passes: reply classes that the metrics of its suite count."""
    return [len(toward.get(prompt["suite"], ())) for prompt in prompts]
