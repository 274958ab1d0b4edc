"""Batches that fit in memory: one that does not is halved, and the lower budget is kept."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from emodrift.errors import EmodriftError
from emodrift.store.partial import KeptRows

Found = TypeVar("Found")

SIGNS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)

LEAST_FILLED = 0.9
"""A batch ends before a row that is shorter than this share of its longest,"""
FEW_TOKENS = 256
"""once it holds so many tokens."""


class MemoryShortageError(EmodriftError):
    """A single row needs more memory than there is."""


class TokenBudget:
    """Tokens per batch, lowered when memory runs out; one for a job, so that it learns once.

    Parameters
    ----------
    tokens
        Where to begin: `compute.batch_tokens`.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.lowered = False

    def lower(self, tokens: int) -> None:
        """Keep to fewer tokens from now on, and say so the first time."""
        if not self.lowered:
            logging.warning(
                "out of memory with %d tokens in a batch (compute.batch_tokens); going on with %d, "
                "and with fewer where that is still too much",
                self.tokens,
                tokens,
            )
        self.tokens = tokens
        self.lowered = True


def run_within_memory(
    sizes: Sequence[int],
    budget: TokenBudget,
    work: Callable[[list[int]], Found],
    name_row: Callable[[int], str],
    rows: Iterable[int] | None = None,
) -> Iterator[tuple[list[int], Found]]:
    """Do rows in batches of little padding within a budget; halve a batch that does not fit.

    Parameters
    ----------
    sizes
        Tokens of every row, with all that is packed behind it.
    budget
        Tokens per batch. What is learnt stays in it for later batches and calls.
    work
        Does a batch: row numbers -> result. It may be called again with fewer rows, so that it must
        leave nothing behind when it fails, hooks and large tensors included. A `work` that itself
        runs within memory is halved when a single row of its own does not fit.
    name_row
        What a person calls a row, for the error.
    rows
        Rows to do; left out, all.

    Yields
    ------
    rows : list of int
        A batch that is done.
    found
        What `work` gave for it.

    Raises
    ------
    MemoryShortageError
        A single row does not fit.
    """
    rows = range(len(sizes)) if rows is None else rows
    waiting = sorted(rows, key=lambda row: (-sizes[row], row))
    while waiting:
        width = max(1, sizes[waiting[0]])
        batch = _take_batch(sizes, waiting, budget.tokens)
        done = _try_batch(work, batch)
        if done:
            waiting = waiting[len(batch) :]
            yield batch, done[0]
            continue
        release_memory()
        if len(batch) == 1:
            raise MemoryShortageError(
                f"{name_row(batch[0])} has {width} tokens and does not fit in memory even alone, "
                "so a lower compute.batch_tokens does not help; set compute.dtype to bfloat16, "
                "take a device with more memory (compute.device), or shorten the text"
            )
        budget.lower(len(batch) // 2 * width)


def resume_within_memory(
    sizes: Sequence[int],
    budget: TokenBudget,
    work: Callable[[list[int]], Mapping[str, np.ndarray]],
    name_row: Callable[[int], str],
    kept: KeptRows | None,
    rows: Iterable[int] | None = None,
) -> Iterator[tuple[list[int], Mapping[str, np.ndarray]]]:
    """As :func:`run_within_memory`, after the rows that an earlier, unfinished job has kept.

    Parameters
    ----------
    sizes, budget, name_row, rows
        See :func:`run_within_memory`.
    work
        Row numbers -> arrays by name, the first axis of each runs over these rows.
    kept
        Where finished rows are kept; None keeps nothing.
    """
    left = set(range(len(sizes)) if rows is None else rows)
    if kept:
        for batch, arrays in kept.restore(left):
            left -= set(batch)
            yield batch, arrays
    for batch, found in run_within_memory(sizes, budget, work, name_row, left):
        if kept:
            kept.keep(batch, found)
        yield batch, found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | MemoryShortageError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def _take_batch(sizes: Sequence[int], waiting: list[int], tokens: int) -> list[int]:
    """The first of the waiting rows, longest first, within a budget and with little padding."""
    width = max(1, sizes[waiting[0]])
    batch = waiting[: max(1, tokens // width)]
    for place, row in enumerate(batch):
        if place * width >= FEW_TOKENS and sizes[row] < LEAST_FILLED * width:
            return batch[:place]
    return batch


def _try_batch(work: Callable[[list[int]], Found], batch: list[int]) -> tuple[Found] | None:
    try:
        return (work(batch),)
    except (RuntimeError, MemoryError, MemoryShortageError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def release_memory() -> None:
    """Give back what a failed batch held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
