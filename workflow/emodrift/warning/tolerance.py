"""Evidence against a declared tolerance, for runs without sound ones beside them.

Each prompt family bets on whether a part changed by more than is tolerated. The winnings are an
e-value: its expectation is at most 1 if the mean change is tolerable, however many families are
looked at and whenever one stops. docs/warning.md, "Against a declared tolerance".
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from emodrift.warning.indicators.indicator import Part, Term
from emodrift.warning.measured import Measured

LARGEST_CHANGE = 1.0
LARGEST_STAKE = 0.95
STAKES = 40


def measure_families(part: Part, measured: Measured, checkpoint: int, seed: int) -> np.ndarray:
    """Change of a part from the reference, one value for each group of prompt families, (group,).

    A term that subtracts two suites, or a part that compares splits, takes one family of each: so
    many groups as the least numerous has families, put together at random, the same at every
    checkpoint. Empty where a term is no mean over prompts.
    """
    rng = np.random.default_rng(seed)
    sides = [side for term in part.terms for side in _change_families(term, measured, checkpoint)]
    if not sides or any(not len(side) for side in sides):
        return np.zeros(0)
    size = min(len(side) for side in sides)
    return np.sum([rng.permutation(side)[:size] for side in sides], axis=0)


def _change_families(term: Term, measured: Measured, checkpoint: int) -> list[np.ndarray]:
    component = measured.components[term.component]
    if not component.quantity:
        return [np.zeros(0)]
    values = measured.values[component.quantity]
    change = (values[checkpoint] - values[measured.reference]).astype(float)
    change *= term.weight / measured.get_scale(term.per)
    sides = [(component.upper, 1.0)] + ([(component.lower, -1.0)] if component.lower else [])
    found = []
    for suite, sign in sides:
        chosen = measured.pick(suite, component.split)
        cells = np.char.add(
            np.char.add(measured.labels["split"][chosen], "/"), measured.labels["family"][chosen]
        )
        _, family = np.unique(cells, return_inverse=True)
        found.append(sign * np.bincount(family, change[chosen]) / np.bincount(family))
    return found


def bet(values: np.ndarray, tolerance: float) -> float:
    """e-value against a mean change of at most the tolerance.

    Parameters
    ----------
    values
        (family,) changes, cut to ±`LARGEST_CHANGE`: what is tested is the mean of the cut change.
    tolerance
        Largest mean change that is tolerated.

    Notes
    -----
    The capital of a gambler who spreads it over constant stakes λ, Π (1 + λ (y − m)) for values y
    of 0 to 1 and the null mean m, and so needs not know how large the change is (Waudby-Smith &
    Ramdas 2024, Journal of the Royal Statistical Society B 86, on betting for bounded means). It
    does not depend on the order of the families.

    Examples
    --------
    >>> steady, moved = np.zeros(40), np.full(40, 0.4)
    >>> round(bet(steady, tolerance=0.2), 2), round(bet(moved, tolerance=0.2), 2)
    (0.16, 66.64)
    """
    if not len(values):
        return 1.0
    width = 2 * LARGEST_CHANGE
    unit = (np.clip(values, -LARGEST_CHANGE, LARGEST_CHANGE) + LARGEST_CHANGE) / width
    null = (tolerance + LARGEST_CHANGE) / width
    stakes = np.linspace(0, LARGEST_STAKE, STAKES) / null
    capital = np.log1p(stakes[:, None] * (unit - null)).sum(1)
    return float(np.exp(logsumexp(capital)) / STAKES)


def bet_on_part(
    part: Part, measured: Measured, checkpoint: int, tolerance: float, seed: int
) -> float:
    """e-value that a part changed by more than its tolerance at a checkpoint, as warns."""
    return bet(part.sign * measure_families(part, measured, checkpoint, seed), tolerance)


def accumulate(e_values: np.ndarray, planned: int) -> np.ndarray:
    """Evidence of a run up to each checkpoint: the sum of its e-values over how many are planned.

    The prompts are the same at every checkpoint, so e-values are averaged, never multiplied: the
    mean of all planned ones is an e-value, and the sum so far never exceeds it.

    Parameters
    ----------
    e_values
        (checkpoint, part).
    planned
        Checkpoints of the whole run.
    """
    return np.cumsum(e_values.sum(1)) / (planned * e_values.shape[1])


def is_bettable(part: Part, measured: Measured) -> bool:
    """Whether a part raises alarms and is a mean over prompts, which alone can be bet on."""
    return bool(part.sign) and all(
        measured.components[term.component].quantity for term in part.terms
    )
