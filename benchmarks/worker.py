"""A process that loads one peer and runs what it is told, one line of JSON at a time.

Each line names a function of the peer's module and its arguments; arguments ``{"texts": path}``
and ``{"array": path}`` are read from files. The answer is a line with seconds and memory; an array
that the function gives is saved where ``out`` says.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import list_versions, measure_call
from benchmarks.peers import rows


def main() -> None:
    """Answer lines until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    torch.set_num_threads(arguments.threads)
    peer = importlib.import_module(f"benchmarks.peers.{arguments.module}")
    load = functools.partial(peer.load, arguments.checkpoint, arguments.device, arguments.dtype)
    loaded, cost = measure_call(load, arguments.device)
    print(json.dumps(cost | {"versions": list_versions(peer.PACKAGES)}), file=channel)
    for line in sys.stdin:
        print(json.dumps(answer(peer, loaded, json.loads(line), arguments.device)), file=channel)


def answer(peer: Any, loaded: Any, order: dict[str, Any], device: str) -> dict[str, Any]:
    """Do what a line orders; see the module's docstring."""
    function = getattr(peer, order["call"], None)
    if function is None:
        function = functools.partial(getattr(rows, order["call"]), peer)
    arguments = {name: read_argument(value) for name, value in order["arguments"].items()}
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        result, cost = measure_call(lambda: function(loaded, **arguments), device)
    if isinstance(result, np.ndarray):
        if order.get("out"):
            np.save(order["out"], result)
        return cost
    return cost | (result or {})


def read_argument(value: Any) -> Any:
    """A value as it is, or what the named file holds."""
    if isinstance(value, dict) and "texts" in value:
        return json.loads(Path(value["texts"]).read_text())
    if isinstance(value, dict) and "array" in value:
        return torch.from_numpy(np.load(value["array"]))
    return value


if __name__ == "__main__":
    main()
