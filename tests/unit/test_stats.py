"""Small measures, shuffles and jackknife intervals."""

import numpy as np
import pytest

from emodrift.stats.jackknife import jackknife, widen
from emodrift.stats.measures import count_effectively, normalise
from emodrift.stats.shuffling import shuffle_within


def test_the_jackknife_of_a_mean_is_its_standard_error_and_its_interval_student_s():
    values = np.random.default_rng(0).standard_normal((600, 8)) + 2
    without = (values.sum(1) - values.T) / 7
    estimate = jackknife(values.mean(1), without)
    np.testing.assert_allclose(estimate.se, values.std(1, ddof=1) / np.sqrt(8))
    assert set(estimate.freedom) == {7}
    low, high = widen(estimate, 0.9)
    np.testing.assert_allclose(high - low, 2 * 1.8945786 * estimate.se, rtol=1e-6)
    assert 0.87 <= ((low <= 2) & (high >= 2)).mean() <= 0.93


def test_one_unit_alone_has_no_error():
    estimate = jackknife(np.array([1.0, 2.0]), np.ones((1, 2)))
    assert np.isnan(estimate.se).all() and np.isnan(widen(estimate, 0.95)).all()


def test_the_effective_number_counts_parts_that_share_alike_and_not_those_that_have_none():
    energy = np.array([[2.0, 2, 0, 0], [5, 0, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_allclose(count_effectively(energy), [2, 1, 4])
    assert 1 < count_effectively(np.array([9.0, 1.0])) < 1.5


def test_a_zero_vector_has_no_direction_and_stays_zero():
    np.testing.assert_allclose(normalise(np.array([[3.0, 4], [0, 0]])), [[0.6, 0.8], [0, 0]])


def test_labels_are_shuffled_within_their_groups_alone_and_every_order_is_as_likely():
    labels, groups = np.array([0, 1, 2, 7, 8, 9, 9]), np.array([0, 0, 0, 1, 1, 1, 1])
    drawn = shuffle_within(labels, groups, 6000, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(drawn[:, :3]), np.tile([0, 1, 2], (6000, 1)))
    np.testing.assert_array_equal(np.sort(drawn[:, 3:]), np.tile([7, 8, 9, 9], (6000, 1)))
    orders, counts = np.unique(drawn[:, :3], axis=0, return_counts=True)
    assert len(orders) == 6
    assert counts / 6000 == pytest.approx(1 / 6, abs=0.02)
