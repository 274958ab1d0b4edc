"""Measure how planning and stages grow with the number of checkpoints: docs/scale.md.

``python -m benchmarks.scale`` or `make scale`; ``--most 100`` tries it, and ``--planning`` measures
planning alone, beside stages as they were measured last.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine
from benchmarks.scale.page import write_page
from benchmarks.scale.planning import measure_planning
from benchmarks.scale.processes import ROOT
from benchmarks.scale.stages import STAGES, measure_layers, measure_stages

RESULT = ROOT / "results/benchmarks/scale.json"
PLANNED = (100, 500, 2000, 10000)
LAYERS = (4, 8, 16, 32)
QUICK = 100


def main() -> None:
    """Measure, and write the page and its figure."""
    options = read_options()
    planned = tuple(n for n in PLANNED if n <= options.most)
    sizes = dict.fromkeys(STAGES, planned)
    layers = LAYERS[:2] if options.most <= QUICK else LAYERS
    started = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    found: dict[str, Any] = json.loads(RESULT.read_text()) if options.planning else {}
    found |= {"started": started, "machine": describe_machine("cpu", 1)}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plans = [measure_planning(folder / f"plan-{n}", n, options.rounds) for n in planned]
        found["planning"] = [
            {"checkpoints": p.checkpoints, "jobs": p.jobs}
            | {"ours": p.ours._asdict(), "bare": p.bare._asdict()}
            for p in plans
        ]
        if not options.planning:
            found["stages"] = [_describe(g) for g in measure_stages(folder / "stages", sizes)]
            found["layers"] = [_describe(g) for g in measure_layers(folder, layers)]
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    write_page(found)


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--most", type=int, default=PLANNED[-1], help="largest number of checkpoints"
    )
    parser.add_argument("--rounds", type=int, default=3, help="dry runs of each, in turns")
    parser.add_argument("--planning", action="store_true", help="measure planning alone")
    return parser.parse_args()


def _describe(grown: Any) -> dict[str, Any]:
    return {"stage": grown.stage, "number": grown.number} | grown.cost._asdict()


if __name__ == "__main__":
    main()
