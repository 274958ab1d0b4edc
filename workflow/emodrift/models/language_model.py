"""A loaded checkpoint: network, tokenizer, decoder blocks, and how prompts are put to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase


@dataclass(frozen=True)
class LanguageModel:
    """A loaded checkpoint.

    Parameters
    ----------
    network
        The causal language model, in evaluation mode, without gradients.
    tokenizer
        Its tokenizer; its chat template is the checkpoint's or a borrowed one.
    blocks
        Its decoder blocks; the output of ``blocks[k - 1]`` is layer k of the residual stream, the
        input of ``blocks[0]`` is layer 0.
    block_outputs
        Members of the tuple that a block gives, the residual stream first; 0 where it gives the
        residual stream itself.
    resumes
        Whether blocks may be passed over when the residual stream above them is known: not where
        later blocks use keys, values or inputs that earlier ones make.
    packs
        Whether all replies may be packed as a tree behind a prompt: where attention follows a mask.
    system_prompt
        System message before every prompt that goes through the chat template; None: none.
    template_arguments
        Further arguments of the chat template.
    """

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    blocks: nn.ModuleList
    block_outputs: int = 0
    resumes: bool = True
    packs: bool = True
    system_prompt: str | None = None
    template_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the input goes."""
        return find_device(self.network)

    @property
    def layers(self) -> int:
        """Hidden states there are: embeddings and the output of every block."""
        return len(self.blocks) + 1

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return self.network.config.get_text_config().hidden_size


def find_device(network: PreTrainedModel) -> torch.device:
    """Device on which the embedding runs, also where weights are spread or offloaded."""
    hook = getattr(network.get_input_embeddings(), "_hf_hook", None)
    place = getattr(hook, "execution_device", None)
    return network.device if place is None else torch.device(place)
