"""Evidence against sound runs: has a run left what sound training does?

A run is held against the healthy runs of its stage, at the same step and on the same prompts. Its
deviation is counted in standard deviations of what one more sound run would show. docs/warning.md,
"Against sound runs".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import digamma

from emodrift.warning.indicators.indicator import orient

PRIOR_FREEDOM = 4
PRIOR_RATIO = 20.0
LEAST_SHARE = 0.02
LEAST_RATIO = 1e-6
SIMULATED = 4000


class Curves(NamedTuple):
    """Parts of one run: steps (step,), rising, and draws (step, part, draw), draw 0 first."""

    steps: np.ndarray
    draws: np.ndarray

    def interpolate(self, steps: np.ndarray) -> np.ndarray:
        """Draws (step, part, draw) at other steps; beyond its ends a run stays as it is there."""
        place = np.interp(steps, self.steps, np.arange(len(self.steps)))
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, len(self.steps) - 1)
        share = (place - low)[:, None, None]
        return self.draws[low] * (1 - share) + self.draws[high] * share


class Prediction(NamedTuple):
    """What one more sound run would show at some steps.

    mean, scale: (step, part). paired: (step, part), the share of the squared scale that is due to
    the prompts. freedom: of Student's t. draws: (step, part, draw) of the sound runs' mean.
    """

    mean: np.ndarray
    scale: np.ndarray
    paired: np.ndarray
    freedom: int
    draws: np.ndarray


class Comparison(NamedTuple):
    """A run held against sound ones.

    deviation: (step, part), in scales; rises warn. level: (step,), the chance that a sound run's
    largest deviation, over all its steps and the parts that raise alarms, reaches the largest one
    seen so far. null: (simulation,) largest deviations of sound runs.
    """

    prediction: Prediction
    deviation: np.ndarray
    level: np.ndarray
    null: np.ndarray


def predict_sound(sound: Sequence[Curves], steps: np.ndarray) -> Prediction:
    """Predictive mean and scale of a new sound run.

    Parameters
    ----------
    sound
        Healthy runs of the stage, at least one.
    steps
        (step,) where the run to be judged was measured.

    Notes
    -----
    With v the variance that resampling prompt families gives a sound run's change from the
    reference, and r v the variance between sound runs, a new run differs from the mean of H by
    v (1 + r (1 + 1/H)). The ratio r is pooled over steps (a run's steps are not independent, so
    that H − 1 degrees of freedom stay) and shrunk to what all parts have in common, which counts as
    `PRIOR_FREEDOM` more (a moderated variance, after Smyth 2004, with a fixed weight). With a
    single sound run r is `PRIOR_RATIO`, the median of what looked-at seeds show.
    """
    number = len(sound)
    at = np.stack([curves.interpolate(steps) for curves in sound])
    estimates, paired = at[..., 0], _floor(at[..., 1:].var(-1, ddof=1).mean(0))
    freedom = number - 1
    ratio = np.full(paired.shape[1], PRIOR_RATIO)
    if freedom:
        grid = np.unique(np.concatenate([curves.steps for curves in sound]))
        on_grid = np.stack([curves.interpolate(grid) for curves in sound])
        spread = on_grid[..., 0].var(0, ddof=1)
        own = (spread / _floor(on_grid[..., 1:].var(-1, ddof=1).mean(0))).mean(0)
        ratio = _shrink(own, freedom)
    squared = paired * (1 + ratio * (1 + 1 / number))
    return Prediction(
        estimates.mean(0),
        np.sqrt(squared),
        paired / squared,
        PRIOR_FREEDOM + freedom,
        at.mean(0),
    )


def compare_run(run: Curves, sound: Sequence[Curves], signs: np.ndarray, seed: int) -> Comparison:
    """Deviations of a run from sound ones, and how rare so large ones are.

    Parameters
    ----------
    run
        To be judged.
    sound
        Healthy runs of its stage, itself not among them.
    signs
        (part,) in which direction each warns; see
        :class:`emodrift.warning.indicators.indicator.Part`.
    seed
        Of the simulated null.
    """
    prediction = predict_sound(sound, run.steps)
    raw = (run.draws[..., 0] - prediction.mean) / prediction.scale
    deviation = orient(raw, signs)
    if not signs.any():
        return Comparison(prediction, deviation, np.ones(len(raw)), np.zeros(1))
    null = simulate_largest(prediction, signs != 0, seed)
    largest = np.maximum.accumulate(deviation[:, signs != 0].max(1))
    level = ((null[:, None] >= largest).sum(0) + 1) / (len(null) + 1)
    return Comparison(prediction, deviation, level, null)


def simulate_largest(prediction: Prediction, chosen: np.ndarray, seed: int) -> np.ndarray:
    """Largest deviation, over steps and chosen parts, of simulated sound runs, (simulation,).

    What is due to prompts is correlated over steps and parts as the draws are. What differs between
    runs grows like a random walk with an increment at every checkpoint, independently in every
    part. Each part's scale is uncertain, alike at all steps.

    Parameters
    ----------
    prediction
        Of one more sound run.
    chosen
        (part,) which take part.
    seed
        Of the simulation.
    """
    rng = np.random.default_rng(seed)
    draws, paired = prediction.draws[:, chosen, 1:], prediction.paired[:, chosen]
    steps, parts, number = draws.shape
    spread = draws.std(-1, keepdims=True)
    unit = np.divide(
        draws - draws.mean(-1, keepdims=True), spread, out=np.zeros_like(draws), where=spread > 0
    ).reshape(steps * parts, number)
    common = rng.standard_normal((SIMULATED, number)) @ unit.T / math.sqrt(number)
    common = common.reshape(SIMULATED, steps, parts)
    walk = rng.standard_normal((SIMULATED, steps, parts)).cumsum(1)
    own = walk / np.sqrt(np.arange(1, steps + 1))[:, None]
    noise = np.sqrt(paired) * common + np.sqrt(1 - paired) * own
    freedom = prediction.freedom
    noise /= np.sqrt(rng.chisquare(freedom, (SIMULATED, 1, parts)) / freedom)
    return noise.max((1, 2))


class Matched(NamedTuple):
    """A run, and the sound runs that it is held against."""

    run: Curves
    sound: list[Curves]


class Threshold(NamedTuple):
    """Level that a run's own must fall to for an alarm, what it rests on, and the least p-value
    that so many sound runs can give."""

    level: float
    basis: str
    attainable: float


def set_threshold(sound_levels: Sequence[float], rate: float) -> Threshold:
    """Level at which the rate of false alarms, over a whole run, is the one asked for.

    Conformal where there are sound runs enough: alarms of one in n + 1 sound runs, by their rank
    when each is left out and held against the others. Else the level that Student's t promises.

    Parameters
    ----------
    sound_levels
        The last level of every sound run that was left out.
    rate
        Config: `alarms.false_alarm_rate`.
    """
    number = len(sound_levels)
    attainable = 1 / (number + 1)
    rank = math.floor((number + 1) * rate)
    if rank >= 1:
        level = float(np.sort(sound_levels)[rank - 1])
        return Threshold(level, f"rank among {number} sound runs left out in turn", attainable)
    return Threshold(
        rate,
        f"Student's t for one more sound run, scale from {number} sound "
        f"run{'s' if number != 1 else ''}; ranks alone could not go below {attainable:.2f}",
        attainable,
    )


def rank_run(level: float, sound_levels: Sequence[float]) -> float:
    """p-value of a run by its rank among sound runs left out in turn; none is below 1/(n + 1)."""
    return (1 + int(np.sum(np.asarray(sound_levels) <= level))) / (len(sound_levels) + 1)


def split_runs(
    places: pd.DataFrame, values: np.ndarray, chosen: Sequence[int]
) -> dict[str, Curves]:
    """Curves of every run at chosen checkpoints.

    Parameters
    ----------
    places
        run and step of each checkpoint, in order.
    values
        (checkpoint, part, draw).
    chosen
        Numbers of checkpoints.
    """
    table = places.loc[list(chosen)].sort_values("step", kind="stable")
    return {
        str(run): Curves(rows["step"].to_numpy(float), values[rows.index.to_numpy()])
        for run, rows in table.groupby("run", sort=False)
    }


def match_sound(
    run: str, stages: Mapping[str, str], roles: Mapping[str, str], runs: Mapping[str, Curves]
) -> list[str]:
    """Healthy runs of a run's stage, itself not among them."""
    return [
        other
        for other in runs
        if other != run and roles[other] == "healthy" and stages[other] == stages[run]
    ]


def expect_sound(
    places: pd.DataFrame,
    values: np.ndarray,
    run: str,
    roles: Mapping[str, str],
    chosen: Sequence[int],
) -> np.ndarray:
    """Mean of the sound runs of a run's stage at its own steps; 0 where there is none.

    Parameters
    ----------
    places
        run, step and stage of each checkpoint.
    values
        (checkpoint, ...).
    run, roles
        The run, and the role of each.
    chosen
        Numbers of the checkpoints that are judged.

    Returns
    -------
    np.ndarray
        (step, ...), steps rising.
    """
    flat = values.reshape(len(values), -1)[:, None]
    runs = split_runs(places, flat, chosen)
    stages = places.groupby("run")["stage"].last().to_dict()
    matched = [runs[o].interpolate(runs[run].steps) for o in match_sound(run, stages, roles, runs)]
    if not matched:
        return np.zeros((len(runs[run].steps), *values.shape[1:]))
    return np.mean(matched, axis=0).reshape(-1, *values.shape[1:])


def match_runs(
    places: pd.DataFrame, values: np.ndarray, roles: Mapping[str, str], chosen: Sequence[int]
) -> dict[str, Matched]:
    """Every run with the sound runs of its stage.

    Parameters
    ----------
    places
        run, step and stage of each checkpoint.
    values
        (checkpoint, part, draw) paired draws of changes from the reference, the estimate first.
    roles
        Role of each run.
    chosen
        Numbers of the checkpoints that are judged.
    """
    runs = split_runs(places, values, chosen)
    stages = places.groupby("run")["stage"].last().to_dict()
    return {
        run: Matched(curves, [runs[other] for other in match_sound(run, stages, roles, runs)])
        for run, curves in runs.items()
    }


def _shrink(own: np.ndarray, freedom: int) -> np.ndarray:
    """Ratios (part,) shrunk to their common size; its logarithm is unbiased, and `PRIOR_RATIO`
    counts as one part of two degrees of freedom. Parts that never moved say nothing."""
    half = freedom / 2
    logs = np.log(own[own > LEAST_RATIO]) - digamma(half) + math.log(half)
    known = freedom * len(logs) / 2
    common = np.exp((math.log(PRIOR_RATIO) + freedom / 2 * logs.sum()) / (1 + known))
    return (PRIOR_FREEDOM * common + freedom * own) / (PRIOR_FREEDOM + freedom)


def _floor(variance: np.ndarray) -> np.ndarray:
    """Variances (step, part) not below a share of their largest: no step is free of noise."""
    return np.maximum(variance, LEAST_SHARE * variance.max(0) + 1e-18)
