"""Time emodrift and its peers side by side: the same checkpoint, prompts and threads.

Every contestant runs in a process of its own and they take turns, round by round, so that a slow
spell of the machine meets all of them. Before the rounds each is given the batch size that suits it
best, found on a part of the work. The result file is written anew after every task.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS, OURS
from benchmarks.inputs import Amounts, prepare_inputs
from benchmarks.machine import describe_machine
from benchmarks.models import SHAPES
from benchmarks.pool import Pool, Setting
from benchmarks.tasks import (
    Bench,
    Sizes,
    measure_growth,
    time_extraction,
    time_generation,
    time_scores,
    time_slopes,
)

ROOT = Path(__file__).parents[1]
TASKS = {
    "extract": time_extraction,
    "generate": time_generation,
    "score": time_scores,
    "slopes": time_slopes,
    "growth": measure_growth,
}
AMOUNTS = {
    "quick": Amounts(24, 3, 2, 4, 4, 2, 1, 2),
    "cpu": Amounts(96, 8, 3, 24, 24, 2, 2, 3),
    "cuda": Amounts(1024, 32, 16, 64, 48, 4, 8, 3),
}
SIZES = {
    "quick": Sizes((4,), (512,), (4,), (512,)),
    "cpu": Sizes((1, 4, 16), (512, 1024, 4096), (8, 40), (1024, 4096)),
    "cuda": Sizes((16, 64, 256), (4096, 16_384, 65_536), (64, 512), (16_384, 65_536)),
}
MATRIX = {"cpu": 2048, "cuda": 16_384}


def main() -> None:
    """Run the tasks."""
    options = read_options()
    start = time.time()
    kind = options.device.partition(":")[0]
    extent = "quick" if options.quick else kind
    amounts, shape = AMOUNTS[extent], SHAPES[options.model]
    folder = options.results / "work"
    folder.mkdir(parents=True, exist_ok=True)
    inputs = prepare_inputs(folder, options.model, options.device, options.dtype, amounts)
    setting = Setting(options.environments, options.device, options.dtype, options.threads)
    out = options.results / f"{kind}-{options.model}{'-quick' if options.quick else ''}.json"
    with Pool(setting) as pool:
        bench = Bench(pool, inputs, amounts, options.only, SIZES[extent], kind == "cpu")
        product = pool.ask(OURS, inputs.checkpoint, "multiply", size=MATRIX[kind])
        found: dict[str, Any] = {
            "model": options.model,
            "shape": shape._asdict() | {"block_weights": shape.block_weights},
            "device": options.device,
            "dtype": options.dtype,
            "quick": options.quick,
            "amounts": amounts._asdict(),
            "sizes": SIZES[extent]._asdict(),
            "tokens": int(inputs.lengths.sum()),
            "layer": bench.layer,
            "machine": describe_machine(options.device, options.threads),
            "matrix_flops": product["flops"],
            "started": time.strftime("%Y-%m-%d %H:%M", time.gmtime(start)),
            "rows": [],
        }
        for task in options.tasks:
            found["rows"] += TASKS[task](bench)
            found["seconds"] = round(time.time() - start)
            took_part = {row.get("contestant", OURS) for row in found["rows"]}
            found["workers"] = {
                name: pool.started[contestant.module, inputs.checkpoint]
                for name, contestant in CONTESTANTS.items()
                if name in took_part
            }
            out.write_text(json.dumps(found, indent=1) + "\n")
            print(f"{task} done after {found['seconds']} s, see {out}", flush=True)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:0")
    parser.add_argument("--dtype", help="float32 on a CPU, bfloat16 on a GPU if left out")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every contestant")
    parser.add_argument("--quick", action="store_true", help="tiny amounts, to try the benchmark")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "benchmarks")
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="contestants, with commas")
    parser.add_argument("--tasks", default=",".join(TASKS), help="tasks, with commas")
    parser.add_argument(
        "--environments", type=Path, help="folder with current/ and earlier/, else this Python"
    )
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.device == "cpu" else "bfloat16")
    for name, known in (("only", CONTESTANTS), ("tasks", TASKS)):
        chosen = tuple(getattr(options, name).split(","))
        if set(chosen) - set(known):
            parser.error(f"--{name} takes {', '.join(known)}")
        setattr(options, name, chosen)
    if OURS not in options.only:
        parser.error(f"--only needs {OURS}")
    return options


if __name__ == "__main__":
    main()
