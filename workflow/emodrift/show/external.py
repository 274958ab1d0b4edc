"""Evals that other tools ran, as figures and the report show them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import norm

from emodrift.show.style import INDICATOR_COLOURS, RUN_MARKERS
from emodrift.warning.indicators import INDICATORS

EVAL = ["source", "task", "metric"]


def name_evals(table: pd.DataFrame, say: Callable[[str], str]) -> pd.Series:
    """Task, metric and tool of each row in words, such as *xstest: refusal (lm-eval)*.

    Parameters
    ----------
    table
        source, task, metric.
    say
        Name in the study -> words shown in its place.
    """
    names = [
        f"{say(task)}: {say(metric)} ({say(source)})"
        for source, task, metric in table[EVAL].itertuples(index=False)
    ]
    return pd.Series(names, index=table.index, dtype=object)


def bound_evals(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Scores with intervals ``low`` and ``high`` from their standard errors, where those are known.

    Parameters
    ----------
    table
        value, se.
    """
    half = norm.ppf((1 + level) / 2) * table["se"].astype(float)
    return table.assign(low=table["value"] - half, high=table["value"] + half)


def rank_evals(table: pd.DataFrame) -> list[str]:
    """Evals by name: those of known direction first, in the order of the config.

    Parameters
    ----------
    table
        eval, higher_is_better.
    """
    known = table.groupby("eval", sort=False)["higher_is_better"].first().notna()
    return list(known.index[np.argsort(~known.to_numpy(bool), kind="stable")])


def mark_indicators() -> dict[str, tuple[str, str]]:
    """Indicator -> its colour and marker, the same in every figure."""
    return {
        name: (
            INDICATOR_COLOURS[k % len(INDICATOR_COLOURS)],
            RUN_MARKERS[k % len(RUN_MARKERS)],
        )
        for k, name in enumerate(INDICATORS)
    }
