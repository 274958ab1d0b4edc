"""What mixed precision saves and what it costs, on one checkpoint of a finished study.

``python -m benchmarks.precision config/examples/real.yaml "collapse step 24"`` measures the
checkpoint anew with `compute.dtype` float32 and bfloat16-mixed, by emodrift both times, and fills
in the section of docs/engine.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.machine import describe_machine
from benchmarks.whole_checkpoint import find_measured, link_sources, open_array
from emodrift.measure.arrays import ACTIVATIONS, GRADIENTS
from emodrift.measure.replies import REPLIES
from emodrift.measure.visit import measure_entries
from emodrift.models.precision import open_model
from validation.parts import fill_parts

PAGE = Path("docs/engine.md")


class Measured(NamedTuple):
    """A stage in one precision: seconds, and where its entries lie."""

    seconds: float
    places: list[Path]


def main() -> None:
    """Measure in both precisions and fill in the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("label", help='such as "collapse step 24"')
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    plan, entries, given = find_measured(options.config, options.label)
    stages = dict.fromkeys(entry.stage for entry in entries if entry.stage in COMPARED)
    found: dict[str, list[Measured]] = {stage: [] for stage in stages}
    with tempfile.TemporaryDirectory() as single, tempfile.TemporaryDirectory() as half:
        for mixed, folder in ((False, single), (True, half)):
            store = link_sources(plan.store, Path(folder))
            model = open_model(**(dict(given) | {"mixed": mixed}), label="emodrift")
            for stage in stages:
                own = [entry for entry in entries if entry.stage == stage]
                started = time.perf_counter()
                measure_entries(model, own, given["loading"], "emodrift", store)
                taken = time.perf_counter() - started
                found[stage].append(Measured(taken, [store / entry.place for entry in own]))
                print(stage, mixed, round(taken, 1), flush=True)
        rows = [
            {
                "stage": stage,
                "× as fast": f"{exact.seconds / mixed.seconds:.1f}",
                "beside float32": COMPARED[stage](exact.places, mixed.places),
            }
            for stage, (exact, mixed) in found.items()
        ]
    exact, mixed = (sum(pair[k].seconds for pair in found.values()) for k in (0, 1))
    rows.append({"stage": "all", "× as fast": f"{exact / mixed:.1f}", "beside float32": ""})
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    machine = describe_machine("cpu", torch.get_num_threads())
    where = f"{machine['processor']}, {machine['threads']} threads"
    text = options.page.read_text(encoding="utf-8")
    part = f"{options.label} of the study of SmolLM2-135M; {where}.\n\n{table}"
    options.page.write_text(fill_parts(text, {"precision": part}, all_of_them=False))


def compare_activations(exact: Sequence[Path], mixed: Sequence[Path]) -> str:
    """Least cosine, over parts and layers, of a part's mean beside the mean of all parts."""
    means = [_gather(places, ACTIVATIONS, "activation") for places in (exact, mixed)]
    least = _find_cosines(*(mean - mean.mean(0) for mean in means)).min()
    return f"least cosine of a part's mean less that of all parts {least:.4f}"


def compare_gradients(exact: Sequence[Path], mixed: Sequence[Path]) -> str:
    """Error of a score beside its spread over prompts; least cosine of a part's mean gradient."""
    errors, spreads = [], []
    for a, b in zip(exact, mixed, strict=True):
        one, two = (open_array(place / GRADIENTS)["score"].values for place in (a, b))
        errors.append(np.sqrt(np.mean((one - two) ** 2)))
        spreads.append(one.std(0).mean())
    cosines = _find_cosines(*(_gather(p, GRADIENTS, "gradient") for p in (exact, mixed)))
    return (
        f"scores to {max(errors):.2f} nats (root mean square; over prompts they spread by "
        f"{min(spreads):.1f} or more), least cosine of a part's mean gradient {cosines.min():.4f}"
    )


def compare_samples(exact: Sequence[Path], mixed: Sequence[Path]) -> str:
    """Share of replies that are the same."""
    said = [
        [json.loads(line)["text"] for p in places for line in (p / REPLIES).open(encoding="utf-8")]
        for places in (exact, mixed)
    ]
    return f"{np.mean([a == b for a, b in zip(*said, strict=True)]):.0%} of greedy replies the same"


COMPARED: dict[str, Callable[[Sequence[Path], Sequence[Path]], str]] = {
    "activations": compare_activations,
    "gradients": compare_gradients,
    "samples": compare_samples,
}


def _gather(places: Sequence[Path], array: str, name: str) -> np.ndarray:
    """Mean over rows (part, layer, hidden) of each part."""
    return np.stack([open_array(p / array)[name].values.astype(float).mean(0) for p in places])


def _find_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return ((a * b).sum(-1)[length > 0] / length[length > 0]).ravel()


if __name__ == "__main__":
    main()
