"""What small batches save where gradients are taken, on one checkpoint of a finished study.

``python -m benchmarks.batches config/examples/real.yaml "collapse step 24"`` takes the gradients of
the first part of a checkpoint's prompts with several numbers of tokens in a batch, each in as many
fresh processes side by side as there are cores, as a study does, and fills in the section of
docs/engine.md.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import pandas as pd
import torch

from benchmarks.machine import describe_machine
from benchmarks.whole_checkpoint import find_measured, link_sources, read_options
from emodrift.cli.running import count_cores
from emodrift.config.running import GRADIENT_SHARE
from emodrift.measure.visit import measure_entries
from emodrift.models.precision import open_model
from validation.parts import fill_parts

PAGE = Path("docs/engine.md")
WORK = "import sys; from benchmarks.batches import work; work(*sys.argv[1:])"
TOKENS = (4096, 2048, 1024, 512)
"""In a batch of gradients."""


class Cost(NamedTuple):
    """What gradients took: seconds, those of them that went into the system, and the most memory
    that the process held, GB; means over processes."""

    seconds: float
    system: float
    memory: float


def main() -> None:
    """Measure with all batches and fill in the page."""
    options = read_options(__doc__, PAGE)
    found = {n: run_side_by_side(options.config, options.label, n) for n in TOKENS}
    machine = describe_machine("cpu", 1)
    part = (
        f"{options.label} of the study of SmolLM2-135M, {count_cores()} processes side by side; "
        f"{machine['processor']}.\n\n{tabulate(found)}"
    )
    text = options.page.read_text(encoding="utf-8")
    options.page.write_text(fill_parts(text, {"batches": part}, all_of_them=False))


def run_side_by_side(config: Path, label: str, tokens: int) -> Cost:
    """One number of tokens, in a fresh process for each core."""
    command = [sys.executable, "-c", WORK, str(config), label, str(tokens)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count_cores())
    ]
    told = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
    cost = Cost(*map(mean, zip(*told, strict=True)))
    print(tokens, cost, flush=True)
    return cost


def work(config: str, label: str, tokens: str) -> None:
    """One process: gradients of the first part of a checkpoint's prompts; prints what they took."""
    torch.set_num_threads(1)
    plan, entries, given = find_measured(Path(config), label)
    loading = dict(given["loading"]) | {"batch_tokens": GRADIENT_SHARE * int(tokens)}
    own = [next(entry for entry in entries if entry.stage == "gradients")]
    with tempfile.TemporaryDirectory() as folder:
        store = link_sources(plan.store, Path(folder))
        model = open_model(**(dict(given) | {"loading": loading}), label=label)
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        measure_entries(model, own, loading, label, store)
        taken, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    print(json.dumps(Cost(taken, system, after.ru_maxrss * 1024 / 1e9)))


def tabulate(found: Mapping[int, Cost]) -> str:
    """A row for each number of tokens; times beside the first."""
    slowest = found[TOKENS[0]].seconds
    rows = [
        (
            f"{tokens:,}",
            f"{slowest / cost.seconds:.2f}",
            f"{cost.system / cost.seconds:.0%}",
            f"{cost.memory:.1f}",
        )
        for tokens, cost in found.items()
    ]
    columns = ["tokens in a batch", "× as fast", "of it in the system", "GB"]
    table = pd.DataFrame(rows, columns=columns)
    return table.to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    main()
