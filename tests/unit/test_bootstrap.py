"""Resampled means spread as means do over samples, also with a handful of clusters."""

import numpy as np
import pytest
from scipy.stats import binomtest

from emodrift.stats.bootstrap import (
    bound_settled,
    count_freedom,
    draw_weights,
    summarise_draws,
)

REPETITIONS = 2000


def sample(families, strata, seed=0):
    """Values (repetition, item) that differ between families, with their labels."""
    rng = np.random.default_rng(seed)
    stratum = np.repeat(np.arange(strata), families * 3).astype(str)
    family = np.tile(np.repeat(np.arange(families), 3), strata).astype(str)
    code = np.repeat(np.arange(families * strata), 3)
    between = rng.standard_normal((REPETITIONS, families * strata))[:, code]
    return between + 0.5 * rng.standard_normal(between.shape), family, stratum


@pytest.mark.parametrize(("families", "strata"), [(3, 1), (3, 4), (6, 2), (20, 1)])
def test_intervals_cover_at_their_rate_however_few_the_families(families, strata):
    values, family, stratum = sample(families, strata)
    weights = draw_weights(family, 400, np.random.default_rng(1), stratum)
    draws = weights @ values.T / weights.sum(1, keepdims=True)
    interval = summarise_draws(draws, 0.95, count_freedom(family, stratum))
    assert 0.92 <= ((interval.low <= 0) & (interval.high >= 0)).mean() <= 0.98


def test_the_standard_error_is_that_of_the_mean_with_three_families_in_each_stratum():
    values, family, stratum = sample(3, 4)
    weights = draw_weights(family, 400, np.random.default_rng(1), stratum)
    found = summarise_draws(weights @ values.T / weights.sum(1, keepdims=True), 0.95).se
    assert np.sqrt((found**2).mean()) == pytest.approx(values.mean(1).std(), rel=0.05)


def test_a_stratum_of_one_cluster_keeps_it_and_every_stratum_keeps_its_share():
    weights = draw_weights(list("aabbc"), 50, np.random.default_rng(0), list("xxxxy"))
    np.testing.assert_array_equal(weights[:, 4], 1)
    np.testing.assert_allclose(weights[:, :4].sum(1), 4)
    assert count_freedom(list("aabbc"), list("xxxxy")) == 1


def test_an_interval_does_not_leave_the_range_of_what_can_be():
    draws = np.random.default_rng(0).uniform(0, 1, (200, 3))
    interval = summarise_draws(draws, 0.95, 2, (0, 1))
    assert (interval.low == 0).all() and (interval.high == 1).all()


@pytest.mark.parametrize("families", [1, 4, 30])
def test_a_share_that_all_families_agree_on_has_the_exact_interval_of_so_many_tosses(families):
    low, high = bound_settled(np.array([0.0, 1.0]), np.array([families, families]), 0.9)
    for share in (0, 1):
        exact = binomtest(share * families, families).proportion_ci(0.9)
        assert (low[share], high[share]) == pytest.approx((exact.low, exact.high))
