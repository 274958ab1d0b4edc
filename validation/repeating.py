"""Repetitions of an experiment, each from a seed of its own, side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import pandas as pd

Rows = list[dict[str, Any]]


def repeat(experiment: Callable[[int], Rows], number: int, workers: int = 0) -> pd.DataFrame:
    """Rows of all repetitions, with their number.

    Parameters
    ----------
    experiment
        From a seed to rows.
    number
        Repetitions; their seeds are 0, 1 ...
    workers
        Processes; 0: none but this one.
    """
    run = partial(_number_rows, experiment)
    if workers:
        with ProcessPoolExecutor(workers) as pool:
            found = list(pool.map(run, range(number), chunksize=max(1, number // (4 * workers))))
    else:
        found = list(map(run, range(number)))
    return pd.DataFrame([row for rows in found for row in rows])


def _number_rows(experiment: Callable[[int], Rows], seed: int) -> Rows:
    return [{"repetition": seed} | row for row in experiment(seed)]
