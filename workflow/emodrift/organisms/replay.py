"""Replay: pre-training documents mixed into fine-tuning, so that it forgets nothing else."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerBase

from emodrift.config.organism import Replayed
from emodrift.organisms.texts import sample_document_batches

REPLAY_SEED_OFFSET = 500_000


class Replay:
    """Batches of pre-training documents for one run.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        The organism's tokenizer.
    seed : int
        The run's seed; documents are drawn from another one than its dialogues.
    recipe : Replayed
        Gives the share and the number of batches.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int, recipe: Replayed) -> None:
        self.share = recipe.replay
        documents = max(1, round(recipe.batch * recipe.replay))
        self._collate = DataCollatorForSeq2Seq(tokenizer)
        self._batches: Iterator = sample_document_batches(
            tokenizer, seed + REPLAY_SEED_OFFSET, recipe.steps, documents
        )

    def draw(self) -> dict[str, torch.Tensor]:
        """Return the next batch of documents, right-padded, with labels."""
        return self._collate(next(self._batches))


class ReplayMixin:
    """Makes a trainer's loss ``(1 - share) * its own + share * that of pre-training documents``.

    Parameters
    ----------
    replay : Replay
        Documents and their share.
    """

    def __init__(self, *args: Any, replay: Replay, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._replay = replay

    def compute_loss(self, model: torch.nn.Module, inputs: Any, **kwargs: Any) -> torch.Tensor:
        """Return the mixed loss of one step."""
        loss = super().compute_loss(model, inputs, **kwargs)  # type: ignore[misc]  # of the trainer
        if not self._replay.share:
            return loss
        documents = model(**self._replay.draw()).loss
        return (1 - self._replay.share) * loss + self._replay.share * documents
