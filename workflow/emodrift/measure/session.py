"""A session: a checkpoint that is loaded, and what holds for all that is measured on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget


@dataclass(frozen=True)
class Session:
    """A loaded checkpoint while one entry of it is measured.

    Parameters
    ----------
    model
        The checkpoint.
    budget
        Tokens per batch; it shrinks where a batch does not fit, for the whole session.
    label
        Checkpoint and data, for progress and errors.
    partial
        Folder of rows that outlive a killed job; see :mod:`emodrift.store.partial`. None: none are
        kept.
    recompute
        Config: `compute.recompute_blocks`.
    """

    model: LanguageModel
    budget: TokenBudget
    label: str
    partial: Path | None = None
    recompute: bool = False
