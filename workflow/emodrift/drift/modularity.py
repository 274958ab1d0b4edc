"""Modularity: how narrowly a direction acts on the metrics that it is meant for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emodrift.stats.measures import count_effectively


def standardise_effects(slopes: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Effects over the standard deviation that isotropic random directions have.

    Parameters
    ----------
    slopes
        (..., metric) slopes along unit directions.
    gradients
        (metric, hidden) mean gradients; along a random unit direction their slope has the standard
        deviation ‖gradient‖ / √hidden.
    """
    return slopes / (np.linalg.norm(gradients, axis=1) / np.sqrt(gradients.shape[1]))


def measure_modularity(effects: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Share of the effect energy that falls on named metrics.

    Parameters
    ----------
    effects
        (..., metric) standardised effects.
    named
        Mask that broadcasts to them: the safety metrics named for the direction's bundle.

    Returns
    -------
    np.ndarray
        (...): M = Σ_named z² / Σ z², NaN where nothing is moved. docs/effects.md, "Modularity".

    Examples
    --------
    >>> measure_modularity(np.array([3.0, 1.0]), named=np.array([True, False])).item()
    0.9
    """
    energy = effects**2
    with np.errstate(invalid="ignore"):
        return (energy * named).sum(-1) / energy.sum(-1)


def measure_entanglement(effects: np.ndarray) -> np.ndarray:
    """Effective number of metrics that are moved: the exponential of the entropy of z² shares.

    Parameters
    ----------
    effects
        (..., metric) standardised effects.

    Examples
    --------
    >>> measure_entanglement(np.array([[3.0, 0.0], [1.0, -1.0]])).round(3)
    array([1., 2.])
    """
    return count_effectively(effects**2)


def name_metrics(
    concepts: Sequence[str],
    bundles: Mapping[str, Sequence[str]],
    metrics: Mapping[str, Mapping[str, Any]],
) -> np.ndarray:
    """Which metrics are named for the bundle that a concept is, or is a member of.

    Returns
    -------
    np.ndarray
        (concept, metric); a row without any is one of a concept that no metric is named for.
    """
    of_concept = [
        {name for name, members in bundles.items() if concept == name or concept in members}
        for concept in concepts
    ]
    return np.array(
        [[bool(own & set(m["bundles"])) for m in metrics.values()] for own in of_concept]
    )
