"""Mixed precision: products with weights in bfloat16, everything between them in float32.

A processor that multiplies bfloat16 natively (AVX-512 BF16, AMX, a GPU) does so about twice as fast
as float32. The residual stream, norms, attention and scores keep float32, which loses less than a
network that is bfloat16 throughout (Micikevicius et al. 2018, arXiv:1710.03740).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import load_model
from emodrift.models.products import OneDnnLinear
from emodrift.store.machine import multiplies_bfloat16


class MixedLinear(nn.Linear):
    """A linear layer with weights in bfloat16 that takes and gives float32."""

    def forward(self, input: Tensor) -> Tensor:
        """Give (..., out) for (..., in)."""
        return linear(input.to(self.weight.dtype), self.weight, self.bias).to(input.dtype)


def open_model(
    location: dict[str, Any],
    loading: dict[str, Any],
    dtype: str,
    mixed: bool,
    label: str,
    chat: Mapping[str, Any] | None = None,
) -> LanguageModel:
    """Load a checkpoint to be measured in the precision that is asked for.

    Parameters
    ----------
    location, loading, dtype, label, chat
        As in :func:`emodrift.models.loading.load_model`.
    mixed
        Whether products are to be in mixed precision.

    Raises
    ------
    EmodriftError
        As in :func:`emodrift.models.loading.load_model`.
    """
    return put_precision(load_model(location, loading, dtype, label, chat), mixed)


def put_precision(model: LanguageModel, mixed: bool) -> LanguageModel:
    """The model, in mixed precision if that is asked for; see :func:`open_model`."""
    if mixed:
        if model.device.type == "cpu" and not multiplies_bfloat16():
            logging.warning(
                "this processor has no instructions for bfloat16, so that compute.dtype float32 is "
                "faster here than bfloat16-mixed"
            )
        mix_precision(model.network)
    return model


def mix_precision(network: nn.Module) -> None:
    """Let a network's frozen linear layers multiply in bfloat16.

    Parameters
    ----------
    network
        Changed in place. Layers whose weights learn stay as they are, and so does an embedding that
        the LM head is tied to: the head gets weights of its own.
    """
    for module in network.modules():
        if type(module) in (nn.Linear, OneDnnLinear) and not module.weight.requires_grad:
            for name, weight in list(module.named_parameters(recurse=False)):
                half = nn.Parameter(weight.to(torch.bfloat16), requires_grad=False)
                setattr(module, name, half)
            module.__class__ = MixedLinear
