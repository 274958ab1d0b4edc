"""What mixed precision saves and what it costs, on one checkpoint of a finished study.

``python -m benchmarks.precision config/examples/real.yaml "collapse step 24"`` measures the
checkpoint anew with `compute.dtype` float32 and bfloat16-mixed, by emodrift both times, and fills
in the section of docs/engine.md.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from benchmarks.machine import describe_machine
from benchmarks.whole_checkpoint import (
    find_least_cosine,
    find_measured,
    link_sources,
    open_array,
    read_options,
    read_texts,
    share_equal,
)
from emodrift.measure.arrays import ACTIVATIONS, GRADIENTS
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
    options = read_options(__doc__, PAGE)
    with tempfile.TemporaryDirectory() as folder:
        found = measure_both(options.config, options.label, Path(folder))
        table = tabulate(found)
    machine = describe_machine("cpu", torch.get_num_threads())
    where = f"{machine['processor']}, {machine['threads']} threads"
    part = f"{options.label} of the study of SmolLM2-135M; {where}.\n\n{table}"
    text = options.page.read_text(encoding="utf-8")
    options.page.write_text(fill_parts(text, {"precision": part}, all_of_them=False))


def measure_both(config: Path, label: str, folder: Path) -> dict[str, list[Measured]]:
    """Stage -> what it took in float32 and in mixed precision, below a folder."""
    plan, entries, given = find_measured(config, label)
    found: dict[str, list[Measured]] = {}
    for mixed in (False, True):
        place = folder / str(mixed)
        place.mkdir()
        store = link_sources(plan.store, place)
        model = open_model(**(dict(given) | {"mixed": mixed}), label="emodrift")
        for stage in COMPARED:
            own = [entry for entry in entries if entry.stage == stage]
            started = time.perf_counter()
            measure_entries(model, own, given["loading"], "emodrift", store)
            taken = time.perf_counter() - started
            places = [store / entry.place for entry in own]
            found.setdefault(stage, []).append(Measured(taken, places))
            print(stage, "mixed" if mixed else "float32", f"{taken:.0f} s", flush=True)
    return found


def tabulate(found: Mapping[str, Sequence[Measured]]) -> str:
    """A row for each stage and one for all."""
    rows = [
        (stage, exact.seconds / mixed.seconds, COMPARED[stage](exact.places, mixed.places))
        for stage, (exact, mixed) in found.items()
    ]
    exact, mixed = (sum(pair[k].seconds for pair in found.values()) for k in (0, 1))
    shown = [(s, f"{gain:.1f}", said) for s, gain, said in [*rows, ("all", exact / mixed, "")]]
    table = pd.DataFrame(shown, columns=["stage", "× as fast", "beside float32"])
    return table.to_markdown(index=False, disable_numparse=True)


def compare_activations(exact: Sequence[Path], mixed: Sequence[Path]) -> str:
    """Least cosine, over parts and layers, of a part's mean beside the mean of all parts."""
    means = [_gather(places, ACTIVATIONS, "activation") for places in (exact, mixed)]
    least = find_least_cosine(*(mean - mean.mean(0) for mean in means))
    return f"least cosine of a part's mean less that of all parts {least:.4f}"


def compare_gradients(exact: Sequence[Path], mixed: Sequence[Path]) -> str:
    """Error of a score beside its spread over prompts; least cosine of a part's mean gradient."""
    errors, spreads = [], []
    for a, b in zip(exact, mixed, strict=True):
        one, two = (open_array(place / GRADIENTS)["score"].values for place in (a, b))
        errors.append(np.sqrt(np.mean((one - two) ** 2)))
        spreads.append(one.std(0).mean())
    least = find_least_cosine(*(_gather(p, GRADIENTS, "gradient") for p in (exact, mixed)))
    return (
        f"scores to {max(errors):.2f} nats (root mean square; over prompts they spread by "
        f"{min(spreads):.1f} or more), least cosine of a part's mean gradient {least:.4f}"
    )


def compare_samples(exact: Sequence[Path], mixed: Sequence[Path]) -> str:
    """Share of replies that are the same."""
    return f"{share_equal(read_texts(exact), read_texts(mixed)):.0%} of greedy replies the same"


COMPARED: dict[str, Callable[[Sequence[Path], Sequence[Path]], str]] = {
    "activations": compare_activations,
    "gradients": compare_gradients,
    "samples": compare_samples,
}


def _gather(places: Sequence[Path], array: str, name: str) -> np.ndarray:
    """Mean over rows (part, layer, hidden) of each part."""
    return np.stack([open_array(p / array)[name].values.astype(float).mean(0) for p in places])


if __name__ == "__main__":
    main()
