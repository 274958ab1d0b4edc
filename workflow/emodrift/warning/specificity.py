"""Specificity: whether a change is one of emotions, or of everything.

The same change, from the same sound runs, along directions that stand for no emotion. docs/
warning.md, "Specificity".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emodrift.stats.corrections import count_extremes
from emodrift.warning.indicators.indicator import orient

KINDS = ("matched", "shuffled", "control")
SPECIFIC = 0.05


class Specificity(NamedTuple):
    """p: kind of null direction -> share that changed at least as much. specific: whether all are
    at most `SPECIFIC`; None where there are no null directions."""

    p: dict[str, float]
    specific: bool | None


def judge_specificity(change: float, null: np.ndarray, kinds: np.ndarray, sign: int) -> Specificity:
    """Hold a change against the same change along null directions.

    Parameters
    ----------
    change
        Of a part, from what sound runs show.
    null, kinds
        (null,) the same along null directions, and their kinds.
    sign
        In which direction the part warns; see
        :class:`emodrift.warning.indicators.indicator.Part`.
    """
    value, draws = orient(np.array(change), sign), orient(null, sign)
    p = {
        kind: float(count_extremes(value, draws[kinds == kind]))
        for kind in KINDS
        if (kinds == kind).any() and np.isfinite(draws[kinds == kind]).all()
    }
    return Specificity(p, all(v <= SPECIFIC for v in p.values()) if p else None)
