"""Run every experiment, write its numbers and figures, and bring docs/validation.md up to date.

``python -m validation`` from the root of the repository, or ``make validation``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pandas as pd

from validation import calibration, coverage, decoder, power
from validation.figures import save_figures
from validation.page import fill_page
from validation.repeating import repeat

ROOT = Path(__file__).parents[1]
REPETITIONS = {
    "coverage": 300,
    "effects": 600,
    "calibration": 500,
    "power": 60,
    "turned in the weights": 200,
    "merged in the weights": 200,
    "scaled in the weights": 100,
}


def main() -> None:
    """Run, write, draw."""
    parser = argparse.ArgumentParser(prog="python -m validation", description=main.__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "validation")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    start = time.time()
    tables = run_experiments(options.workers)
    for name, table in tables.items():
        table.to_csv(options.results / f"{name}.csv", index=False, float_format="%.6g")
    save_figures(tables, options.results)
    figures = ROOT / "docs" / "figures"
    figures.mkdir(exist_ok=True)
    for drawn in options.results.glob("validation_*.svg"):
        shutil.copy(drawn, figures)
    fill_page(tables, ROOT / "docs" / "validation.md")
    print(f"{time.time() - start:.0f} s; numbers and figures in {options.results}")


def run_experiments(workers: int) -> dict[str, pd.DataFrame]:
    """Tables of all experiments.

    Parameters
    ----------
    workers
        Processes.
    """
    intervals = run_intervals(workers)
    bounded = intervals.groupby("quantity")["low"].transform("count") > 0
    drawn = [repeat(e, REPETITIONS["calibration"], workers) for e in calibration.EXPERIMENTS]
    p_values = calibration.spread_steps(
        pd.concat(drawn, ignore_index=True), np.random.default_rng(0)
    )
    found = []
    for (kind, topics, stories), experiment in power.EXPERIMENTS.items():
        rows = repeat(experiment, REPETITIONS["power"], workers)
        found.append(rows.assign(checkpoints=kind, topics=topics, stories=stories))
    curves = power.count_found(pd.concat(found, ignore_index=True))
    return {
        "intervals": intervals,
        "coverage": coverage.count_covered(intervals[bounded]),
        "p_values": p_values,
        "uniformity": calibration.judge_uniformity(p_values),
        "power": curves,
        "smallest": power.find_smallest(curves),
    }


def run_intervals(workers: int) -> pd.DataFrame:
    """Rows of all experiments on estimates and intervals, numeric ones and through models."""
    found = []
    for name, experiment in coverage.EXPERIMENTS.items():
        number = REPETITIONS["effects" if name == "effects" else "coverage"]
        found.append(repeat(experiment, number, workers).assign(experiment=name))
    for name, through_models in decoder.EXPERIMENTS.items():
        found.append(repeat(through_models, REPETITIONS[name], workers).assign(experiment=name))
    return pd.concat(found, ignore_index=True)


if __name__ == "__main__":
    main()
