"""What a callback measures with: what it costs, what was found, and when that is an alarm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import nn
from transformers.tokenization_utils_base import PreTrainedTokenizerBase


class Found(NamedTuple):
    """What one measurement found.

    values: indicator or other quantity -> value. alarms: indicator -> value, of those that alarm.
    sentence: the same in words.
    """

    values: dict[str, float]
    alarms: dict[str, float]
    sentence: str


class Training(NamedTuple):
    """The model in training at one moment: network, tokenizer, step, and the folder of its
    checkpoint, where it was saved at this step."""

    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    step: int
    folder: Path


class Instrument(Protocol):
    """Measures a model in training.

    reads_saves: whether it needs the model to be saved at the step at which it measures.
    """

    reads_saves: bool

    def begin(self, training: Training) -> None:
        """Look at the model where its training begins."""

    def predict_seconds(self, training: Training) -> float:
        """What measuring would take."""

    def measure(self, training: Training) -> Found:
        """Measure; the training goes on afterwards as if nothing had been."""


@contextlib.contextmanager
def keep_settings(threads: int | None = None) -> Iterator[None]:
    """Settings of torch as a job of the workflow finds them; then those of the training again.

    Random streams are put back too.

    Parameters
    ----------
    threads
        Threads of the CPU; None leaves them.
    """
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    precision = matmul.fp32_precision, convolution.fp32_precision
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    exact = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    before = torch.get_num_threads()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        try:
            matmul.fp32_precision = "ieee"
            torch.set_num_threads(threads or before)
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(exact, warn_only=lenient)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
            matmul.fp32_precision, convolution.fp32_precision = precision
            if devices:
                torch.cuda.empty_cache()
