"""Direction: how far a vector has turned between two checkpoints, free of sampling noise.

Both checkpoints read the same texts, so their vectors share sampling noise: the plain cosine is too
low where the noise is each checkpoint's own, and too high where it is shared. Products of
*different* topics are free of both. All of this needs no more than the inner products of topic
vectors (:class:`Grams`): resampling topics weighs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from emodrift.stats.corrections import count_extremes
from emodrift.stats.jackknife import Jackknife

RELIABILITY_FLOOR = 0.05


class Grams(NamedTuple):
    """Inner products of topic vectors, (concept, topic, topic) each.

    own: of the checkpoint's. locked: of the reference's. cross: the checkpoint's (rows) with the
    reference's (columns). present: (concept, topic) whether both have a vector of the topic; the
    products of others are 0.
    """

    own: np.ndarray
    locked: np.ndarray
    cross: np.ndarray
    present: np.ndarray


class Turning(NamedTuple):
    """A test of whether vectors turned.

    statistic: (flip, concept), the first flip being the observed one. p: (concept,).
    """

    statistic: np.ndarray
    p: np.ndarray


def compute_grams(fitted: np.ndarray, locked: np.ndarray) -> Grams:
    """Inner products of topic vectors (topic, concept, hidden) of two checkpoints."""
    present = ~(np.isnan(fitted[..., 0]) | np.isnan(locked[..., 0])).T
    ours, theirs = (
        np.where(present[..., None], a.transpose(1, 0, 2), 0).astype(np.float64)
        for a in (fitted, locked)
    )
    return Grams(
        ours @ ours.transpose(0, 2, 1),
        theirs @ theirs.transpose(0, 2, 1),
        ours @ theirs.transpose(0, 2, 1),
        present,
    )


def estimate_cosine(grams: Grams, weights: np.ndarray) -> np.ndarray:
    """Cosine of the vectors refitted with topic weights (draw, topic), (draw, concept)."""
    own, locked, cross = (_weigh(g, weights) for g in grams[:3])
    with np.errstate(invalid="ignore", divide="ignore"):
        return cross / np.sqrt(own * locked)


def correct_cosine(grams: Grams, weights: np.ndarray) -> np.ndarray:
    """Cosine of the vectors without their sampling noise, (draw, concept).

    ⟨c, r⟩ / √(⟨c, c⟩ ⟨r, r⟩), each ⟨a, b⟩ being the weighted mean of aₜ · bᵤ over pairs of
    different topics t ≠ u, which estimates the product of the true vectors without bias. It may
    exceed 1 by noise. NaN where the share of ⟨c, c⟩ or ⟨r, r⟩ in the vector's squared length, its
    reliability, is below .05: such a vector is noise, and no correction saves it.

    Parameters
    ----------
    grams
        Inner products.
    weights
        (draw, topic).

    Notes
    -----
    The attenuation correction of Spearman (1904) with cross-validated products, as in Walther et
    al. (2016), NeuroImage 137.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(size=(1, 1, 2000))  # the same vector at both checkpoints
    >>> fitted, locked = (true + 3 * rng.normal(size=(12, 1, 2000)) for _ in range(2))
    >>> grams, whole = compute_grams(fitted, locked), np.ones((1, 12))
    >>> estimate_cosine(grams, whole).round(1).item(), correct_cosine(grams, whole).round(1).item()
    (0.5, 1.0)
    """
    own, locked, cross = (_pair_topics(g, weights, grams.present) for g in grams[:3])
    usable = np.ones(own.shape, bool)
    for pure, gram in ((own, grams.own), (locked, grams.locked)):
        total = _weigh(gram, weights) / (weights @ grams.present.T) ** 2
        usable &= pure > RELIABILITY_FLOOR * total
    with np.errstate(invalid="ignore"):
        return np.where(usable, cross / np.sqrt(np.where(usable, own * locked, 1)), np.nan)


def jackknife_cosine(grams: Grams) -> Jackknife:
    """Corrected cosine with its standard error, each topic and each two topics left out.

    With few topics its intervals hold their level where percentile intervals of a bootstrap do not.
    Near a true cosine of 1 the corrected cosine is all products of pairs, of which leaving out one
    topic at a time sees twice the variance; leaving out two tells how much of it is of that kind.
    At least half of the ordinary jackknife's variance is kept.

    Notes
    -----
    Tukey (1958); Efron & Stein (1981), Annals of Statistics 9, section 5.
    """
    whole = correct_cosine(grams, np.ones((1, grams.present.shape[1])))[0]
    own, locked, cross = (_leave_out(g, grams.present) for g in grams[:3])
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.where((own > 0) & (locked > 0), cross / np.sqrt(np.abs(own * locked)), np.nan)
    return _jackknife(whole, without, grams.present)


def jackknife_length(grams: Grams) -> Jackknife:
    """Logarithm of the checkpoint's noise-free length over the reference's, with its error.

    ½ log ⟨c, c⟩ / ⟨r, r⟩, with the products of :func:`correct_cosine` and the error of
    :func:`jackknife_cosine`. The plain ratio is drawn towards that of the noise.
    """
    usable = np.isfinite(correct_cosine(grams, np.ones((1, grams.present.shape[1])))[0])
    own, locked = (_leave_out(g, grams.present) for g in (grams.own, grams.locked))
    pure = (
        _pair_topics(g, np.ones((1, grams.present.shape[1])), grams.present)[0]
        for g in (grams.own, grams.locked)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        whole, without = (0.5 * np.log(a / b) for a, b in (tuple(pure), (own, locked)))
    return _jackknife(np.where(usable, whole, np.nan), without, grams.present)


def exceed_controls(estimate: Jackknife, controls: Sequence[Jackknife]) -> np.ndarray:
    """p-value that a vector turned more than the control contrasts did on average, (concept,).

    One-sided Welch test of the corrected cosine against the controls' mean, by jackknife errors:
    the sampling of texts counts, the choice of controls does not. Conservative where nothing
    turned.
    """
    known = [c for c in controls if np.isfinite(c.se).all()]
    if not known:
        return np.full(len(estimate.value), np.nan)
    mean = np.mean([c.value[0] for c in known])
    variances = np.array([c.se[0] ** 2 for c in known]) / len(known) ** 2
    total = estimate.se**2 + variances.sum()
    spread = estimate.se**4 / estimate.freedom
    spread = spread + sum(v**2 / c.freedom[0] for v, c in zip(variances, known, strict=True))
    with np.errstate(invalid="ignore", divide="ignore"):
        return student.cdf((estimate.value - mean) / np.sqrt(total), total**2 / spread)


def draw_flips(topics: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Which topics swap their two checkpoints, (flip, topic) of ±1; none do in the first.

    All patterns where they are few enough (a pattern and its opposite count once), else random
    ones.
    """
    if 2 ** (topics - 1) <= draws + 1:
        rest = np.array(list(product([1.0, -1.0], repeat=topics - 1)))
        return np.concatenate([np.ones((len(rest), 1)), rest], axis=1)
    return np.concatenate([np.ones((1, topics)), rng.choice([1.0, -1.0], (draws, topics))])


def assess_turning(grams: Grams, flips: np.ndarray) -> Turning:
    """Test whether vectors turned, by swapping the two checkpoints' labels within topics.

    Null hypothesis: both checkpoints have the same direction, lengths apart. Then the differences
    dₜ = cₜ/|c| − rₜ/|r|, taken across the common direction m, have mean zero, and the checkpoints
    may swap places in any topic. Statistic: |Σ sₜ dₜ|² over Σ |dₜ|². The lengths are free of noise
    (:func:`correct_cosine`); m is the mixture of both vectors that is uncorrelated with dₜ over
    topics, so that checkpoints of unequal noise are found turned no more often than α.

    Parameters
    ----------
    grams
        Inner products.
    flips
        (flip, topic) signs from :func:`draw_flips`.

    Returns
    -------
    Turning
        p = share of flips, the observed one among them, that reach the observed statistic:
        (b + 1)/(n + 1). It cannot be below 2^(1 − topics). NaN where a vector is all noise.

    Notes
    -----
    Winkler et al. (2014), NeuroImage 92, on sign-flipping for paired designs.
    """
    ones = np.ones((1, grams.present.shape[1]))
    own, locked = (
        _pair_topics(g, ones, grams.present)[0][:, None, None] for g in (grams.own, grams.locked)
    )
    usable = np.isfinite(correct_cosine(grams, ones)[0])
    scale = np.where(usable[:, None, None], own * locked, 1)
    own, locked = (np.where(usable[:, None, None], v, 1) for v in (own, locked))
    own, locked, cross = grams.own / own, grams.locked / locked, grams.cross / np.sqrt(scale)
    apart = own + locked - cross - cross.transpose(0, 2, 1)
    across = _remove_common(own - cross.transpose(0, 2, 1), apart, own, grams.present)
    energy = np.trace(across, axis1=1, axis2=2)
    total = np.einsum("ft,ctu,fu->fc", flips, across, flips, optimize=True)
    moved = usable & (energy > 1e-10)
    statistic = np.divide(total, energy, out=np.zeros_like(total), where=moved)
    p = count_extremes(statistic[0] - 1e-9, statistic[1:])
    return Turning(statistic, np.where(usable, p, np.nan))


def _remove_common(
    ours_apart: np.ndarray, apart: np.ndarray, own: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Inner products of the differences dₜ less their part along the common direction m.

    Parameters
    ----------
    ours_apart, apart, own
        (concept, topic, topic): cₜ · dᵤ transposed to rows d, dₜ · dᵤ, cₜ · cᵤ.
    present
        (concept, topic).
    """
    mean = present / present.sum(1, keepdims=True)
    between = np.einsum("ct,ctu,cu->c", mean, ours_apart, mean)
    spread = np.einsum("ct,ctu,cu->c", mean, apart, mean)
    covariance = np.einsum("ct,ctt->c", mean, ours_apart) - between
    variance = np.einsum("ct,ctt->c", mean, apart) - spread
    share = np.divide(covariance, variance, out=np.full_like(variance, 0.5), where=variance > 1e-12)
    along = np.einsum("ctu,cu->ct", ours_apart, mean)
    along = along - share[:, None] * np.einsum("ctu,cu->ct", apart, mean)
    length = np.einsum("ct,ctu,cu->c", mean, own, mean) - 2 * share * between + share**2 * spread
    common = along[:, :, None] * along[:, None, :] / length[:, None, None]
    return apart - common * present[:, :, None] * present[:, None, :]


def _weigh(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.einsum("dt,ctu,du->dc", weights, gram, weights, optimize=True)


def _pair_topics(gram: np.ndarray, weights: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Weighted mean product of different topics, (draw, concept)."""
    products = _weigh(gram, weights) - weights**2 @ np.diagonal(gram, axis1=1, axis2=2).T
    pairs = (weights @ present.T) ** 2 - weights**2 @ present.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / pairs


def _leave_out(gram: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Mean product of different topics but t and u, (concept, t, u); but t where t = u."""
    apart = gram * (1 - np.eye(gram.shape[1]))
    both = apart + apart.transpose(0, 2, 1)
    of_topic = both.sum(2)
    total = apart.sum((1, 2))[:, None]
    left = total[..., None] - of_topic[:, :, None] - of_topic[:, None] + both
    number = present.sum(1)[:, None, None]
    pairs = np.broadcast_to((number - 2) * (number - 3.0), left.shape).copy()
    own = np.arange(gram.shape[1])
    left[:, own, own] = total - of_topic
    pairs[:, own, own] = ((number - 1) * (number - 2.0))[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return left / pairs


def _jackknife(whole: np.ndarray, without: np.ndarray, present: np.ndarray) -> Jackknife:
    variance = [_spread(*concept) for concept in zip(whole, without, present, strict=True)]
    return Jackknife(whole, np.sqrt(variance), present.sum(1) - 1.0)


def _spread(whole: float, without: np.ndarray, present: np.ndarray) -> float:
    """Variance of an estimate from its values without one (diagonal) and two topics."""
    without, number = without[np.ix_(present, present)], int(present.sum())
    once = np.diagonal(without)
    if number < 2 or np.isnan([whole, *once]).any():
        return np.nan
    variance = (number - 1) ** 2 / number * once.var(ddof=1)
    if number < 4:
        return variance
    interaction = number * whole - (number - 1) * (once[:, None] + once) + (number - 2) * without
    interaction = interaction[np.triu_indices(number, 1)]
    of_pairs = interaction.var() * len(interaction) * ((number - 3) / (number * (number - 1))) ** 2
    return max(variance - of_pairs, variance / 2) if np.isfinite(of_pairs) else variance
