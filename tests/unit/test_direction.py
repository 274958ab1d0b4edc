"""A turn is read at its true size, its interval covers, and its tests are calibrated.

Concepts stand for repetitions: each has a truth and noise of its own.
"""

import numpy as np
import pytest
from scipy.stats import kstest

from emodrift.drift.direction import (
    assess_turning,
    compute_grams,
    correct_cosine,
    draw_flips,
    estimate_cosine,
    exceed_controls,
    jackknife_cosine,
    jackknife_length,
)
from emodrift.stats.jackknife import Jackknife, widen

HIDDEN = 64


def plant(angle, topics, noise, shared=0.0, length=1.0, repetitions=300, seed=0):
    """Topic vectors (topic, repetition, hidden) of a checkpoint and the reference.

    The checkpoint's are turned by an angle and longer by a factor. Noise is each vector's
    expected deviation per topic over its length, a share of its variance common to both.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((repetitions, HIDDEN, 2)))[0]
    radians = np.deg2rad(angle)
    truth = np.cos(radians) * basis[..., 0] + np.sin(radians) * basis[..., 1]
    common = rng.standard_normal((topics, repetitions, HIDDEN)) / np.sqrt(HIDDEN)

    def blur(size):
        own = rng.standard_normal(common.shape) / np.sqrt(HIDDEN)
        return size * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)

    ours, theirs = (noise, noise) if np.isscalar(noise) else noise
    return length * (truth + blur(ours)), basis[..., 0] + blur(theirs)


def whole(topics):
    return np.ones((1, topics))


@pytest.mark.parametrize("angle", [0, 5, 15, 30, 60, 90])
@pytest.mark.parametrize("shared", [0, 0.9])
def test_the_corrected_cosine_is_the_planted_one_whatever_noise_is_shared(angle, shared):
    grams = compute_grams(*plant(angle, 20, 1.0, shared, length=3))
    found = correct_cosine(grams, whole(20))[0]
    assert found.mean() == pytest.approx(np.cos(np.deg2rad(angle)), abs=0.01)


def test_the_plain_cosine_is_too_low_with_own_noise_and_too_high_with_shared_noise():
    own, shared = (
        estimate_cosine(compute_grams(*plant(60, 8, 1.5, s)), whole(8)).mean() for s in (0, 0.9)
    )
    assert own < 0.43 and shared > 0.55


@pytest.mark.parametrize(
    ("angle", "topics", "noise", "shared"),
    [(15, 8, 0.5, 0), (30, 8, 0.5, 0.9), (60, 20, 1.5, 0), (30, 20, 1.0, 0.5), (90, 50, 1, 0)],
)
def test_jackknife_intervals_cover_at_their_rate(angle, topics, noise, shared):
    grams = compute_grams(*plant(angle, topics, noise, shared, repetitions=600))
    low, high = widen(jackknife_cosine(grams), 0.95)
    truth = np.cos(np.deg2rad(angle))
    assert 0.9 <= ((low <= truth) & (truth <= high)).mean() <= 0.98


@pytest.mark.parametrize(("topics", "most"), [(8, 1.0), (20, 0.98)])
def test_intervals_cover_where_nothing_turned(topics, most):
    grams = compute_grams(*plant(0, topics, 0.5, repetitions=600))
    low, high = widen(jackknife_cosine(grams), 0.95)
    assert 0.93 <= ((low <= 1) & (high >= 1)).mean() <= most


def test_a_vector_that_is_noise_has_no_corrected_cosine_and_no_p_value():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((8, 200, HIDDEN))
    signal = plant(0, 8, 0.1, repetitions=200)[1]
    grams = compute_grams(noise, signal)
    undefined = np.isnan(correct_cosine(grams, whole(8))[0])
    assert undefined.mean() > 0.5
    p = assess_turning(grams, draw_flips(8, 200, rng)).p
    np.testing.assert_array_equal(np.isnan(p), undefined)


@pytest.mark.parametrize("length", [0.4, 1.0, 2.5])
def test_lengths_are_compared_free_of_noise_and_intervals_cover(length):
    grams = compute_grams(*plant(30, 14, (1.5, 0.5), 0.2, length, repetitions=600))
    found = jackknife_length(grams)
    assert np.nanmean(found.value) == pytest.approx(np.log(length), abs=0.02)
    low, high = widen(found, 0.95)
    assert 0.92 <= ((low <= np.log(length)) & (np.log(length) <= high)).mean() <= 0.985


def test_weights_refit():
    ours, theirs = plant(30, 10, 0.5, repetitions=3)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 4, (5, 10)).astype(float)
    grams = compute_grams(ours, theirs)
    a, b = (np.einsum("dt,tex->dex", weights, v) for v in (ours, theirs))
    lengths = [np.linalg.norm(v, axis=-1) for v in (a, b)]
    np.testing.assert_allclose(
        estimate_cosine(grams, weights), (a * b).sum(-1) / (lengths[0] * lengths[1])
    )


NULLS = {
    "little noise": (0.5, 0.0),
    "much noise": (2.0, 0.0),
    "unequal noise": ((2.0, 0.5), 0.0),
    "shared noise": (1.0, 0.95),
    "shared and unequal": ((3.0, 1.0), 0.5),
}


@pytest.mark.parametrize("kind", NULLS)
def test_p_values_are_uniform_where_nothing_turned(kind):
    rng = np.random.default_rng(1)
    noise, shared = NULLS[kind]
    grams = compute_grams(*plant(0, 25, noise, shared, length=2, repetitions=800))
    p = assess_turning(grams, draw_flips(25, 499, rng)).p
    assert kstest(p - rng.random(len(p)) / 500, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() < 0.075


def test_with_few_topics_the_error_rate_holds_too():
    rng = np.random.default_rng(1)
    grams = compute_grams(*plant(0, 8, (1.5, 0.7), 0.5, repetitions=1500))
    p = assess_turning(grams, draw_flips(8, 999, rng)).p
    assert p.min() >= 1 / 128
    assert (p <= 0.05).mean() < 0.065


def test_a_turn_is_found_and_a_change_of_length_is_none():
    rng = np.random.default_rng(0)
    flips = draw_flips(20, 199, rng)
    turned = assess_turning(compute_grams(*plant(20, 20, 0.7)), flips).p
    longer = assess_turning(compute_grams(*plant(0, 20, 0.7, length=4)), flips).p
    assert (turned <= 0.05).mean() > 0.95 and (longer <= 0.05).mean() < 0.1


def test_a_checkpoint_does_not_turn_from_itself():
    ours, _ = plant(0, 8, 0.5, repetitions=4)
    grams = compute_grams(ours, 2 * ours)
    np.testing.assert_allclose(assess_turning(grams, draw_flips(8, 200, None)).p, 1)
    np.testing.assert_allclose(correct_cosine(grams, whole(8)), 1)


def test_flips_are_all_patterns_where_these_are_few():
    flips = draw_flips(5, 100, None)
    assert flips.shape == (16, 5) and len(np.unique(flips, axis=0)) == 16
    assert (flips[0] == 1).all() and (flips[:, 0] == 1).all()
    many = draw_flips(40, 100, np.random.default_rng(0))
    assert many.shape == (101, 40) and (many[0] == 1).all() and set(np.unique(many)) == {-1, 1}


def measure(ours, theirs):
    grams = compute_grams(ours, theirs)
    flips = draw_flips(10, 999, None)
    turning = assess_turning(grams, flips)
    return [*jackknife_cosine(grams)[:2], turning.p]


def test_a_change_of_basis_the_order_of_topics_and_lengths_do_not_matter():
    ours, theirs = plant(25, 10, 0.8, repetitions=6)
    expected = measure(ours, theirs)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((HIDDEN, HIDDEN)))[0]
    order = rng.permutation(10)
    for changed in ((ours @ basis, theirs @ basis), (ours[order], theirs[order])):
        for found, value in zip(measure(*changed), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-6)
    for found, value in zip(measure(7 * ours, 0.2 * theirs), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-6)


def test_a_topic_that_lacks_a_concept_does_not_count_for_it():
    ours, theirs = plant(25, 11, 0.5, repetitions=3)
    ours[4, 1] = np.nan
    kept = np.delete(np.arange(11), 4)
    expected = measure(ours[kept], theirs[kept])
    grams = compute_grams(ours, theirs)
    found = [*jackknife_cosine(grams)[:2], assess_turning(grams, draw_flips(11, 5000, None)).p]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one[1], other[1], rtol=1e-9)
    assert np.isfinite(np.stack(found)).all()


def estimate(angle, topics, seed, noise=0.5, repetitions=600):
    return jackknife_cosine(
        compute_grams(*plant(angle, topics, noise, repetitions=repetitions, seed=seed))
    )


def compare(concept, controls):
    """p-values of repetitions, each with controls of its own."""
    return np.concatenate(
        [
            exceed_controls(
                Jackknife(*(v[[i]] for v in concept)),
                [Jackknife(*(v[[i]] for v in control)) for control in controls],
            )
            for i in range(len(concept.value))
        ]
    )


def test_p_values_against_controls_are_uniform_where_all_turned_alike():
    controls = [estimate(40, 20, seed) for seed in (1, 2, 3)]
    p = compare(estimate(40, 20, 4), controls)
    assert kstest(p, "uniform").pvalue > 0.01 and (p <= 0.05).mean() < 0.075


def test_against_controls_nothing_is_found_where_nothing_turned_and_a_larger_turn_is():
    still = [estimate(0, 8, seed, repetitions=300) for seed in (1, 2, 3)]
    assert (compare(estimate(0, 8, 4, repetitions=300), still) <= 0.05).mean() < 0.05
    less = [estimate(20, 8, seed, repetitions=300) for seed in (1, 2, 3)]
    assert (compare(estimate(45, 8, 4, repetitions=300), less) <= 0.05).mean() > 0.9
    assert np.isnan(exceed_controls(estimate(0, 8, 1, repetitions=5), [])).all()
