"""What all detectors look at of one organism seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

KEYS = ["run", "step"]


class Tables(NamedTuple):
    """Tables of one organism seed's study.

    indicators, course, behaviour, projections: as published. probabilities: safety metric and split
    -> (checkpoint, draw), the estimate first. places: run, step and stage of each checkpoint.
    signals: run, step, signal, value, of :mod:`emodrift.benchmark.rivals`. reference: run and step.
    sound: runs declared healthy. seed: of the organism.
    """

    indicators: pd.DataFrame
    course: pd.DataFrame
    behaviour: pd.DataFrame
    projections: pd.DataFrame
    probabilities: Mapping[tuple[str, str], np.ndarray]
    places: pd.DataFrame
    signals: pd.DataFrame
    reference: tuple[str, int]
    sound: tuple[str, ...]
    seed: int
