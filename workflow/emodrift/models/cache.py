"""A cache of keys and values that is allocated once for the longest reply."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DummyLayer,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from emodrift.errors import EmodriftError
from emodrift.models.language_model import LanguageModel

PLAIN = (DynamicLayer, DynamicSlidingWindowLayer)


class ReservedLayer(DynamicLayer):
    """Keys and values of one block, in memory that is reserved for all tokens to come.

    ``DynamicLayer`` copies what it holds for every new token. Blocks with a sliding window keep all
    tokens too; the model's mask hides those outside.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.reserved: list[Tensor] = []

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Reserve memory like the first keys and values."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.reserved = [
            new.new_empty(*new.shape[:-2], self.tokens, new.shape[-1])
            for new in (key_states, value_states)
        ]
        self._show(0)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add the keys and values of new tokens; gives those of all tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        for memory, new in zip(self.reserved, (key_states, value_states), strict=True):
            memory[..., start:end, :] = new
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows only."""
        held = self.get_seq_length()
        self.reserved = [memory[indices] for memory in self.reserved]
        self._show(held)

    def _show(self, tokens: int) -> None:
        self.keys, self.values = (memory[..., :tokens, :] for memory in self.reserved)


def reserve_cache(model: LanguageModel, tokens: int) -> Cache:
    """Empty cache with room for so many tokens a row."""
    layers = DynamicCache(config=model.network.config).layers
    return Cache(layers=[ReservedLayer(tokens) if type(k) in PLAIN else k for k in layers])


def extend_cache(cache: Cache, shorter: Cache, layers: int, copies: int) -> None:
    """Put what another cache holds of the first blocks into an empty one, each row repeated."""
    for own, other in zip(cache.layers[:layers], shorter.layers[:layers], strict=True):
        if isinstance(own, ReservedLayer):
            own.update(*(t.repeat_interleave(copies, 0) for t in (other.keys, other.values)))


def check_cache(model: LanguageModel) -> None:
    """Refuse a model whose blocks keep anything but keys and values.

    Raises
    ------
    EmodriftError
        Such as one with recurrent blocks.
    """
    kinds = {type(layer) for layer in DynamicCache(config=model.network.config).layers}
    other = sorted(kind.__name__ for kind in kinds - {*PLAIN, DummyLayer})
    if other:
        raise EmodriftError(
            f"{type(model.network).__name__} keeps {', '.join(other)} between tokens, and replies "
            "can be steered where keys and values are kept alone; drop the `generation` section"
        )
