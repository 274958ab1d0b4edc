"""What the words of a text say before any block reads them: the lexical-only control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from emodrift.models.loading import LanguageModel
from emodrift.models.prompts import TokenIds


@torch.inference_mode()
def average_words(model: LanguageModel, encoded: Sequence[TokenIds]) -> np.ndarray:
    """Mean token embedding of each text: a bag of words in the model's own terms.

    All tokens of the text count, whatever the pooling: at the reply point layer 0 is the same token
    in every text, and could tell nothing. Texts of the same words have the very same mean.

    Returns
    -------
    np.ndarray
        (prompt, hidden), float32.
    """
    embed = model.network.get_input_embeddings()
    device = embed.weight.device
    means = [embed(torch.tensor(sorted(ids), device=device)).float().mean(0) for ids in encoded]
    return torch.stack(means).cpu().numpy()
