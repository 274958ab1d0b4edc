"""How fast this machine multiplies, by the products that measuring consists of.

``python -m emodrift.cost.probe`` runs in a process of its own, so that a plan need not load torch.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from emodrift.cost.shapes import Shape
from emodrift.models.precision import mix_precision
from emodrift.models.products import speed_products

READ_ROWS, WRITTEN_ROWS = 1024, 32
"""Rows of a product while texts are read and while replies are written."""
LARGEST = 2**26
"""Weights that are multiplied with, at the most."""


class Rates(NamedTuple):
    """Operations a second of all cores together, over many rows and over few."""

    reading: float
    writing: float


@torch.inference_mode()
def time_products(
    shape: Shape, mixed: bool, seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Rates:
    """Time products of a network's own widths, computed as a visit computes them.

    Parameters
    ----------
    shape
        The network.
    mixed
        Whether in mixed precision.
    seconds
        It takes no longer, but for two products more of each kind.
    clock
        Gives seconds.
    """
    wide = max(1, round(shape.weights / (shape.layers * shape.hidden)))
    number = max(1, min(shape.layers, LARGEST // (wide * shape.hidden)))
    network = nn.ModuleList(nn.Linear(shape.hidden, wide, bias=False) for _ in range(number))
    network.requires_grad_(False)
    speed_products(network)
    if mixed:
        mix_precision(network)
    rates = []
    for rows in (READ_ROWS, WRITTEN_ROWS):
        given = torch.ones(rows, shape.hidden)
        network[0](given)
        started, products = clock(), 0
        while clock() - started < 0.5 * seconds or not products:
            network[products % number](given)
            products += 1
        rates.append(2.0 * rows * shape.hidden * wide * products / (clock() - started))
    return Rates(*rates)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["cores"])
    print(json.dumps(time_products(Shape(*asked["shape"]), asked["mixed"], asked["seconds"])))
