"""Families of tests keep their error rates, and p-values from draws their scale."""

import gc

import numpy as np
import pytest
from scipy.stats import kstest, norm

from emodrift.stats.corrections import correct_family, count_extremes


def test_holm_equals_the_published_steps():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(correct_family(p, "holm"), [0.03, 0.06, 0.06, 0.02])


def test_benjamini_yekutieli_equals_the_published_steps():
    p = np.array([0.01, 0.02, 0.5])
    harmonic = 1 + 1 / 2 + 1 / 3
    expected = np.minimum([3 * harmonic * 0.01, 1.5 * harmonic * 0.02, harmonic * 0.5], 1)
    np.testing.assert_allclose(correct_family(p, "by"), expected)


@pytest.mark.parametrize("method", ["by", "holm"])
def test_tests_that_were_not_made_do_not_count(method):
    p = np.array([[0.01, np.nan], [0.03, 0.2]])
    adjusted = correct_family(p, method)
    assert adjusted.shape == p.shape and np.isnan(adjusted[0, 1])
    np.testing.assert_allclose(adjusted[~np.isnan(p)], correct_family([0.01, 0.03, 0.2], method))
    assert np.isnan(correct_family([np.nan], method)).all()


@pytest.fixture
def frozen_heap():
    """Nothing to collect: statsmodels collects garbage whenever it corrects after Holm."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_heap")
@pytest.mark.parametrize("correlation", [0, 0.8])
def test_error_rates_hold_when_no_hypothesis_is_false_also_for_dependent_tests(correlation):
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((600, 1))
    z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.standard_normal((600, 20))
    p = norm.sf(z)
    for method in ("by", "holm"):
        family_wise = np.mean([(correct_family(row, method) < 0.05).any() for row in p])
        assert family_wise < 0.075
    assert np.mean((p < 0.05).any(1)) > 0.15


def test_a_family_refuses_what_is_no_p_value_and_what_is_no_method():
    with pytest.raises(ValueError, match="between 0 and 1"):
        correct_family([0.2, 1.2], "by")
    with pytest.raises(ValueError, match="no correction 'bonferroni'; known: by, holm"):
        correct_family([0.2], "bonferroni")


def test_p_values_from_draws_are_never_zero_and_uniform_under_the_null():
    rng = np.random.default_rng(0)
    observed, draws = rng.standard_normal(2000), rng.standard_normal((199, 2000))
    p = count_extremes(observed, draws)
    assert kstest(p, "uniform").pvalue > 0.01
    assert count_extremes(np.array(9.0), draws[:, 0]) == 1 / 200
    assert np.isnan(count_extremes(np.array(np.nan), draws[:, 0]))
