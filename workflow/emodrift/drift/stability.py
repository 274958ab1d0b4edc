"""Stability: whether a direction moves a metric alike in every family of prompts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from emodrift.stats.bootstrap import Labels
from emodrift.stats.jackknife import jackknife, widen


class Stability(NamedTuple):
    """Stability of effects (concept,): its value and interval, and the share of families whose
    effect has the sign of the mean."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sign_consistency: np.ndarray


def measure_stability(slopes: np.ndarray, families: Labels, level: float) -> Stability:
    """One less the share that differences between families have in the mean square effect.

    Parameters
    ----------
    slopes
        (concept, prompt) effects on one metric.
    families
        (prompt,) family of each prompt.
    level
        Level of the interval.

    Returns
    -------
    Stability
        S = 1 − τ² / (τ² + mean²), in 0..1: 1 where all families are moved alike, 0 where the mean
        effect is nothing beside the differences.

    Notes
    -----
    docs/effects.md, "Stability". τ² is the variance of family means less what the prompts of a
    family scatter about it, the method-of-moments estimate of DerSimonian & Laird (1986); without a
    family of two prompts nothing is subtracted. √S is the cosine of the angle between the effects
    of the families and their mean; the interval is a jackknife of that angle over families.
    Percentile intervals of a bootstrap are far too narrow.

    Examples
    --------
    >>> slopes = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, -1.0, -1.0]])
    >>> found = measure_stability(slopes, ["a", "a", "b", "b"], level=0.95)
    >>> found.value, found.sign_consistency
    (array([1., 0.]), array([1., 0.]))
    """
    codes, names = pd.factorize(np.asarray(families, dtype=object), sort=True)
    member = np.eye(len(names))[codes]
    counts = member.sum(0)
    means = slopes @ member / counts
    scatter = ((slopes - means[:, codes]) ** 2).sum(1) / max(1, len(codes) - len(names))
    noise = scatter[:, None] / counts
    number = len(names)
    whole, *rest = _relate(means, noise, np.concatenate([np.ones((1, number)), 1 - np.eye(number)]))
    angle, without = np.arccos(np.sqrt(whole)), np.arccos(np.sqrt(np.array(rest)))
    near, far = (np.clip(a, 0, np.pi / 2) for a in widen(jackknife(angle, without), level))
    signs = np.sign(means) == np.sign(means.mean(1, keepdims=True))
    return Stability(whole, np.cos(far) ** 2, np.cos(near) ** 2, signs.mean(1))


def _relate(means: np.ndarray, noise: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(1, keepdims=True)
    mean = weights @ means.T / total
    square = weights @ (means**2).T / total
    spread = (square - mean**2) * total / np.maximum(total - 1, 1)
    between = np.maximum(spread - weights @ noise.T / total, 0)
    energy = between + mean**2
    return 1 - np.divide(between, energy, out=np.ones_like(energy), where=energy > 0)
