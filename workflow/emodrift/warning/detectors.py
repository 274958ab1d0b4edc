"""Detectors to compare: how alarming each checkpoint of each run looks, by emodrift and by rivals.

All scores rise with trouble and are causal: the score at a step is the largest so far. Read from
the published tables of a finished study, so that scoring costs no measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

SAMPLED = (20, 50, 200)
COMPONENTS = 5
KEYS = ["run", "step"]


class Tables(NamedTuple):
    """Published tables of one study, and the place of its reference (run, step)."""

    indicators: pd.DataFrame
    behaviour: pd.DataFrame
    drift: pd.DataFrame
    projections: pd.DataFrame
    reference: tuple[str, int]
    sound: tuple[str, ...]
    seed: int


def score_study(tables: Tables) -> pd.DataFrame:
    """Score of every checkpoint after the reference by every detector: run, step, detector, score.

    Parameters
    ----------
    tables
        Of the study.
    """
    found = []
    for name, score in list_detectors().items():
        table = score(tables).rename("score").reset_index().assign(detector=name)
        found.append(table)
    scores = pd.concat(found, ignore_index=True)
    run, step = tables.reference
    scores = scores[(scores["run"] != run) | (scores["step"] > step)]
    scores = scores.sort_values([*KEYS], kind="stable", ignore_index=True)
    scores["score"] = scores.groupby(["detector", "run"])["score"].cummax()
    return scores


def list_detectors() -> Mapping[str, Callable[[Tables], pd.Series]]:
    """Detectors by name, each from tables to a score by (run, step)."""
    sampled = {f"evals, {n} sampled": _sample_evals(n) for n in SAMPLED}
    return {
        "emodrift": _score_level,
        "evals, exact": lambda tables: _measure_evals(_pivot_evals(tables), tables),
        **sampled,
        "harmful refusal alone": _score_refusal,
        "drift norm": _score_drift,
        "least cosine": _score_least_cosine,
        "PCA of projections": _score_components,
    }


def _score_level(tables: Tables) -> pd.Series:
    judged = tables.indicators.dropna(subset="level")
    return -np.log(judged.groupby(KEYS)["level"].min())


def _pivot_evals(tables: Tables) -> pd.DataFrame:
    safety = tables.behaviour[tables.behaviour["safety"]]
    return safety.pivot_table(index=KEYS, columns=["metric", "split"], values="probability")


def _measure_evals(wide: pd.DataFrame, tables: Tables) -> pd.Series:
    """Largest change of a safety metric, mean over splits, from the reference."""
    means = wide.T.groupby(level="metric").mean().T
    return (means - means.loc[tables.reference]).abs().max(axis=1)


def _sample_evals(number: int) -> Callable[[Tables], pd.Series]:
    """Exact evals as if so many replies a metric had been sampled at every checkpoint."""

    def score(tables: Tables) -> pd.Series:
        wide = _pivot_evals(tables)
        means = wide.T.groupby(level="metric").mean().T
        rng = np.random.default_rng([tables.seed, number])
        drawn = rng.binomial(number, means.to_numpy().clip(0, 1)) / number
        sampled = pd.DataFrame(drawn, means.index, means.columns)
        return (sampled - sampled.loc[tables.reference]).abs().max(axis=1)

    return score


def _score_refusal(tables: Tables) -> pd.Series:
    refusal = _pivot_evals(tables)["refusal"].mean(axis=1)
    return (refusal - refusal.loc[tables.reference]).abs()


def _score_drift(tables: Tables) -> pd.Series:
    emotions = tables.drift[tables.drift["kind"] == "emotion"]
    return 1 - emotions.groupby(KEYS)["cosine"].mean()


def _score_least_cosine(tables: Tables) -> pd.Series:
    emotions = tables.drift[tables.drift["kind"] == "emotion"]
    return 1 - emotions.groupby(KEYS)["cosine"].min()


def _score_components(tables: Tables) -> pd.Series:
    """Distance from the reference along the leading components of how all checkpoints of sound runs
    differ, in their standard deviations."""
    wide = tables.projections.pivot_table(
        index=KEYS, columns=["concept", "suite", "split"], values="projection"
    )
    change = wide - wide.loc[tables.reference]
    sound = change[change.index.get_level_values("run").isin(tables.sound)].to_numpy()
    if len(sound) < 2:
        return np.sqrt((change**2).sum(axis=1))
    _, singular, right = np.linalg.svd(sound - sound.mean(0), full_matrices=False)
    kept = right[: min(COMPONENTS, len(sound) - 1)]
    spread = singular[: len(kept)] / np.sqrt(len(sound) - 1)
    placed = (change.to_numpy() - sound.mean(0)) @ kept.T / np.maximum(spread, 1e-12)
    return pd.Series(np.sqrt((placed**2).mean(1)), change.index)
