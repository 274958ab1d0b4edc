"""What is the smallest turn that is found four times in five?"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from emodrift.drift.checkpoint import share_confounds
from emodrift.drift.direction import assess_turning, compute_grams, draw_flips
from emodrift.vectors.fitting import measure_reliability
from validation.repeating import Rows
from validation.texts import Setting, measure_texts, plant_pairs, read_planted

TURNS = (0.0, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0, 45.0)
TOPICS = (6, 8, 14, 30, 60)
STORIES = (1, 2, 5)
OWN = {"near checkpoints": 0.1, "far checkpoints": 0.5}
FLIPS = 199
LEVEL = 0.05
WANTED = 0.8


def find_turns(setting: Setting, seed: int) -> Rows:
    """Whether turns of many sizes are found, and how reliable the vectors are."""
    rng = np.random.default_rng(seed)
    texts = read_planted(plant_pairs(TURNS, setting.hidden, rng), setting, rng)
    base, now = map(measure_texts, texts)
    now, base = share_confounds(now, base)
    values = now.fit.emotions.values
    grams = compute_grams(values, base.fit.emotions.values)
    p = assess_turning(grams, draw_flips(setting.topics, FLIPS, rng)).p[: len(TURNS)]
    reliability = measure_reliability(values, 10, rng)[1][: len(TURNS)]
    return [
        {"turn": angle, "found": float(value <= LEVEL), "reliability": float(r)}
        for angle, value, r in zip(TURNS, p, reliability, strict=True)
    ]


EXPERIMENTS = {
    (kind, topics, stories): partial(
        find_turns, Setting(topics=topics, stories=stories, own=own, controls=0)
    )
    for kind, own in OWN.items()
    for stories in STORIES
    for topics in TOPICS
}
"""(kind of checkpoints, topics, stories of each) -> experiment."""


def count_found(rows: pd.DataFrame) -> pd.DataFrame:
    """Share of turns that are found, by checkpoints, topics, stories and turn."""
    cells = rows.groupby(["checkpoints", "topics", "stories", "turn"], sort=False)
    return cells.agg(
        repetitions=("found", "size"),
        power=("found", "mean"),
        reliability=("reliability", "mean"),
    ).reset_index()


def find_smallest(power: pd.DataFrame) -> pd.DataFrame:
    """Smallest turn that is found at the power wanted, by linear interpolation between turns.

    NaN where no planted turn reaches it.
    """
    found = []
    for names, curve in power.groupby(["checkpoints", "topics", "stories"], sort=False):
        rising = np.maximum.accumulate(curve["power"].to_numpy())
        turns = curve["turn"].to_numpy()
        place = int(np.searchsorted(rising, WANTED))
        smallest = np.nan
        if 0 < place < len(rising):
            ends = slice(place - 1, place + 1)
            smallest = float(np.interp(WANTED, rising[ends], turns[ends]))
        labels = dict(zip(("checkpoints", "topics", "stories"), names, strict=True))
        found.append(
            labels | {"reliability": curve["reliability"].mean(), "smallest_turn": smallest}
        )
    return pd.DataFrame(found)
