"""Caches of what blocks keep between tokens; keys and values are allocated once for a reply."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import (
    Cache,
    DummyLayer,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

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

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order."""
        held = self.get_seq_length()
        self.reserved = [memory[beam_idx.to(memory.device)] for memory in self.reserved]
        self._show(held)

    def _show(self, tokens: int) -> None:
        self.keys, self.values = (memory[..., :tokens, :] for memory in self.reserved)


@functools.cache
def name_cache(network: type[PreTrainedModel]) -> str:
    """The argument under which networks of a class take a cache."""
    given = inspect.signature(network.forward).parameters
    return "cache_params" if "cache_params" in given else "past_key_values"


def reserve_cache(model: LanguageModel, tokens: int) -> Cache:
    """Empty cache with room for so many tokens a row."""
    layers = DynamicCache(config=model.network.config).layers
    return Cache(layers=[ReservedLayer(tokens) if type(k) in PLAIN else k for k in layers])


def extend_cache(cache: Cache, shorter: Cache, layers: int, rows: Tensor) -> None:
    """Put rows of what another cache holds of the first blocks into an empty one."""
    for place, (own, other) in enumerate(zip(cache.layers, shorter.layers[:layers], strict=False)):
        if isinstance(own, ReservedLayer):
            own.update(*(held[rows.to(held.device)] for held in (other.keys, other.values)))
        else:
            cache.layers[place] = copy.deepcopy(other)
            cache.layers[place].reorder_cache(rows)


def holds_keys_alone(cache: Cache) -> bool:
    """Whether a reserved cache is for keys and values alone and not for, say, a state."""
    return all(isinstance(layer, ReservedLayer | DummyLayer) for layer in cache.layers)
