"""What keeping freed memory and small batches of gradients save, on one checkpoint of a study.

``python -m benchmarks.allocation config/examples/real.yaml "collapse step 24"`` takes the gradients
of a checkpoint in four ways, each in as many fresh processes side by side as there are cores, as a
study does, and fills in the section of docs/engine.md.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import pandas as pd
import torch

from benchmarks.machine import describe_machine
from benchmarks.whole_checkpoint import find_measured, link_sources, read_options
from emodrift.cli.running import count_cores
from emodrift.config.running import GRADIENT_SHARE
from emodrift.measure import visit
from emodrift.models.precision import open_model
from validation.parts import fill_parts

PAGE = Path("docs/engine.md")
WORK = "import sys; from benchmarks.allocation import work; work(*sys.argv[1:])"
AMOUNTS = (GRADIENT_SHARE * 4096, 4096)
"""`compute.batch_tokens`: such that gradients get the default's tokens, and the default."""


class Cost(NamedTuple):
    """What gradients took: seconds, the part of them that went into the system, and the most
    memory that the process held, GB; means over processes."""

    seconds: float
    system: float
    memory: float


def main() -> None:
    """Measure in all ways and fill in the page."""
    options = read_options(__doc__, PAGE)
    found = {
        (keep, tokens): run_side_by_side(options.config, options.label, keep, tokens)
        for keep in (False, True)
        for tokens in AMOUNTS
    }
    machine = describe_machine("cpu", 1)
    part = (
        f"{options.label} of the study of SmolLM2-135M, {count_cores()} processes side by side; "
        f"{machine['processor']}.\n\n{tabulate(found)}"
    )
    text = options.page.read_text(encoding="utf-8")
    options.page.write_text(fill_parts(text, {"allocation": part}, all_of_them=False))


def run_side_by_side(config: Path, label: str, keep: bool, tokens: int) -> Cost:
    """One way, in a fresh process for each core."""
    command = [sys.executable, "-c", WORK, str(config), label, str(int(keep)), str(tokens)]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count_cores())
    ]
    told = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
    cost = Cost(*map(mean, zip(*told, strict=True)))
    print("kept" if keep else "given back", tokens // GRADIENT_SHARE, cost, flush=True)
    return cost


def work(config: str, label: str, keep: str, tokens: str) -> None:
    """One process: gradients of the first part of a checkpoint's prompts; prints what they took."""
    torch.set_num_threads(1)
    plan, entries, given = find_measured(Path(config), label)
    loading = dict(given["loading"]) | {"batch_tokens": int(tokens)}
    if not int(keep):
        visit.keep_freed = contextlib.nullcontext
    own = [next(entry for entry in entries if entry.stage == "gradients")]
    with tempfile.TemporaryDirectory() as folder:
        store = link_sources(plan.store, Path(folder))
        model = open_model(**(dict(given) | {"loading": loading}), label=label)
        taken = _measure(lambda: visit.measure_entries(model, own, loading, label, store))
    print(json.dumps(taken))


def tabulate(found: dict[tuple[bool, int], Cost]) -> str:
    """A row for each way."""
    slowest = found[False, AMOUNTS[0]]
    rows = [
        (
            "kept" if keep else "given back",
            f"{tokens // GRADIENT_SHARE:,}",
            f"{slowest.seconds / cost.seconds:.2f}",
            f"{cost.system / cost.seconds:.0%}",
            f"{cost.memory:.1f}",
        )
        for (keep, tokens), cost in found.items()
    ]
    columns = ["freed memory", "tokens in a batch", "× as fast", "of it in the system", "GB"]
    table = pd.DataFrame(rows, columns=columns)
    return table.to_markdown(index=False, disable_numparse=True)


def _measure(call: Callable[[], None]) -> Cost:
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    call()
    after, taken = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - started
    return Cost(taken, after.ru_stime - before.ru_stime, after.ru_maxrss * 1024 / 1e9)


if __name__ == "__main__":
    main()
