"""Attention masks of our own, in the form in which a network's layers take them."""

from __future__ import annotations

import torch
from torch import Tensor

from emodrift.models.language_model import LanguageModel

FULL, SLIDING = "full_attention", "sliding_attention"


def shape_masks(
    model: LanguageModel, visible: Tensor, positions: Tensor
) -> Tensor | dict[str, Tensor]:
    """Additive masks that let tokens see what they may, and no further than a layer's window.

    transformers takes a mask with four dimensions as it is, for all layers, and then forgets the
    window of sliding attention; so the window, counted in positions, is put in here.

    Parameters
    ----------
    model
        The checkpoint.
    visible
        (row, token, token), whether the first token may see the second.
    positions
        (row, token) position of each token in its text.

    Returns
    -------
    Tensor or dict
        (row, 1, token, token) in the weights' data type; by kind of layer where there are several.

    Raises
    ------
    NotImplementedError
        The network has layers whose attention no mask describes.
    """
    config = model.network.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if kinds - {FULL, SLIDING}:
        raise NotImplementedError(f"no mask describes layers of {', '.join(sorted(kinds))}")
    if kinds == {FULL} or window is None:
        return _make_additive(visible, model.network.dtype)
    near = visible & (positions[:, :, None] - positions[:, None] < window)
    if not kinds:
        return _make_additive(near, model.network.dtype)
    masks = {FULL: visible, SLIDING: near}
    return {kind: _make_additive(masks[kind], model.network.dtype) for kind in kinds}


def _make_additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    zeros = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return zeros.masked_fill(~visible, torch.finfo(dtype).min)[:, None]
