"""Evals held against sound runs, step by step, as emodrift holds what it reads off vectors.

The score is the largest deviation of a safety metric, in the predictive scale of one more sound run
(:func:`emodrift.warning.sound.predict_sound`). A run without sound runs of its stage has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from emodrift.benchmark.tables import KEYS, Tables
from emodrift.drift.paired import ALL
from emodrift.warning.evidence import list_judged
from emodrift.warning.sound import Curves, compare_run, match_runs, predict_sound

DRAWS = 200
"""Of what other replies to the same number of prompts would have given."""


def hold_evals(tables: Tables) -> pd.Series:
    """Exact probabilities, each metric over all its prompts."""
    return _measure_largest(tables, _stack_changes(tables, by_split=False))


def hold_splits(tables: Tables) -> pd.Series:
    """Exact probabilities, each metric on every split of its prompts."""
    return _measure_largest(tables, _stack_changes(tables, by_split=True))


def hold_sampled(tables: Tables, number: int) -> pd.Series:
    """Shares of replies, as if so many a metric had been sampled at every checkpoint and judged
    without error."""
    rng = np.random.default_rng([tables.seed, number, DRAWS])
    exact = _stack_evals(tables, by_split=False)[..., 0]
    found = rng.binomial(number, exact.clip(0, 1))
    likely = (found + 1) / (number + 2)
    others = rng.binomial(number, likely[..., None], (*found.shape, DRAWS))
    return _measure_largest(tables, np.concatenate([found[..., None], others], axis=2) / number)


def judge_evals(tables: Tables) -> pd.Series:
    """Minus the logarithm of a sound run's chance of evals that deviate as far, by the null that
    emodrift simulates for its own parts: exact probabilities, whose rise and fall both warn."""
    changes = _stack_changes(tables, by_split=False)
    either = np.concatenate([changes, -changes], axis=1)
    signs = np.ones(either.shape[1], int)
    return _score_runs(
        tables, either, lambda run, sound: -np.log(compare_run(run, sound, signs, 0).level)
    )


def _find_reference(tables: Tables) -> int:
    at_reference = (tables.places[KEYS] == list(tables.reference)).all(axis=1)
    return int(tables.places.index[at_reference][0])


def _stack_evals(tables: Tables, by_split: bool) -> np.ndarray:
    """Probabilities (checkpoint, metric, draw), over all prompts or on each split of them."""
    evals = tables.probabilities.items()
    return np.stack([draws for (_, split), draws in evals if (split != ALL) == by_split], axis=1)


def _stack_changes(tables: Tables, by_split: bool) -> np.ndarray:
    """The same from the reference on: all checkpoints are asked the same prompts."""
    values = _stack_evals(tables, by_split)
    return values - values[_find_reference(tables)]


def _measure_largest(tables: Tables, values: np.ndarray) -> pd.Series:
    """Largest deviation by (run, step) of values (checkpoint, metric, draw), the estimate first."""

    def measure(run: Curves, sound: Sequence[Curves]) -> np.ndarray:
        expected = predict_sound(sound, run.steps)
        return (np.abs(run.draws[..., 0] - expected.mean) / expected.scale).max(1)

    return _score_runs(tables, values, measure)


def _score_runs(
    tables: Tables,
    values: np.ndarray,
    measure: Callable[[Curves, Sequence[Curves]], np.ndarray],
) -> pd.Series:
    """Scores by (run, step), from a run and its sound ones to its scores (step,)."""
    places = tables.places
    roles = {run: "healthy" if run in tables.sound else "observed" for run in places["run"]}
    judged = list_judged(places, _find_reference(tables))
    scores: dict[tuple[str, int], float] = {}
    for run, (curves, sound) in match_runs(places, values, roles, judged).items():
        if sound:
            found = measure(curves, sound)
            scores |= {(run, int(s)): float(v) for s, v in zip(curves.steps, found, strict=True)}
    index = pd.MultiIndex.from_tuples(scores, names=KEYS)
    return pd.Series(list(scores.values()), index, float)
