"""Products with weights in float32 on a CPU, by the library that is fastest there.

torch hands them to MKL, which on processors of other makers than Intel leaves half of an AVX-512
unit idle; oneDNN, which torch holds too, does not (measured on an AMD EPYC: 100 against 220 billion
operations a second and core). Both compute in float32, so that results differ by rounding alone.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PROCESSORS = Path("/proc/cpuinfo")


class OneDnnLinear(nn.Linear):
    """A linear layer that oneDNN computes; its weights get no gradients."""

    def forward(self, input: Tensor) -> Tensor:
        """Give (..., out) for (..., in)."""
        if _suits(self.weight) and input.dtype == torch.float32 and input.numel():
            return _Product.apply(input, self.weight, self.bias)
        return super().forward(input)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _multiply(hidden, weight, bias)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _multiply(slope, weight.t(), None), None, None


def _multiply(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(hidden, weight, bias, "none", [], "")


def speed_products(network: nn.Module) -> None:
    """Let oneDNN compute a frozen network's linear layers where that is faster.

    Parameters
    ----------
    network
        Without gradients of its weights. Layers in float32 on the CPU change their class; others,
        and subclasses of `nn.Linear`, stay as they are.
    """
    if not prefers_onednn():
        return
    for module in network.modules():
        if type(module) is nn.Linear and _suits(module.weight):
            module.__class__ = OneDnnLinear


def _suits(weight: Tensor) -> bool:
    plain = weight.device.type == "cpu" and weight.dtype == torch.float32
    return plain and not weight.requires_grad


@functools.cache
def prefers_onednn() -> bool:
    """Whether this processor has AVX-512, is not Intel's, and torch can call oneDNN."""
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and PROCESSORS.exists()
        and "GenuineIntel" not in PROCESSORS.read_text()
    )
