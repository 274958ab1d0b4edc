"""Stability: whether a direction moves a metric alike in every family of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from emodrift.stats.bootstrap import Interval, draw_weights, summarise_draws


class Stability(NamedTuple):
    """Stability of effects (concept,): its value and interval, and the share of families whose
    effect has the sign of the mean."""

    value: np.ndarray
    interval: Interval
    sign_consistency: np.ndarray


def measure_stability(
    slopes: np.ndarray, families: Sequence[str], draws: int, level: float, rng: np.random.Generator
) -> Stability:
    """One less the share that differences between families have in the mean square effect.

    Parameters
    ----------
    slopes
        (concept, prompt) effects on one metric.
    families
        (prompt,) family of each prompt.
    draws, level
        Of the bootstrap over families.
    rng
        Source of randomness.

    Returns
    -------
    Stability
        S = 1 − τ² / (τ² + mean²), in 0..1: 1 where all families are moved alike, 0 where the mean
        effect is nothing beside the differences.

    Notes
    -----
    METHODS, "Stability". τ² is the variance of family means less what the prompts of a family
    scatter about it, the method-of-moments estimate of DerSimonian & Laird (1986); without a family
    of two prompts nothing is subtracted.
    """
    codes, names = pd.factorize(np.asarray(families, dtype=object), sort=True)
    member = np.eye(len(names))[codes]
    counts = member.sum(0)
    means = slopes @ member / counts
    scatter = ((slopes - means[:, codes]) ** 2).sum(1) / max(1, len(codes) - len(names))
    noise = scatter[:, None] / counts
    drawn = draw_weights(list(names), draws, rng).astype(np.float64)
    weights = np.concatenate([np.ones((1, len(names))), drawn])
    values = _relate(means, noise, weights)
    signs = np.sign(means) == np.sign(means.mean(1, keepdims=True))
    return Stability(values[0], summarise_draws(values[1:], level), signs.mean(1))


def _relate(means: np.ndarray, noise: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(1, keepdims=True)
    mean = weights @ means.T / total
    square = weights @ (means**2).T / total
    spread = (square - mean**2) * total / np.maximum(total - 1, 1)
    between = np.maximum(spread - weights @ noise.T / total, 0)
    energy = between + mean**2
    return 1 - np.divide(between, energy, out=np.ones_like(energy), where=energy > 0)
