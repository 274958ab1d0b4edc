"""Confounds: exactly the wanted share of variance goes, and nothing jumps on the way."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import subspace_angles

from emodrift.drift.direction import compute_grams, jackknife_cosine
from emodrift.stats.measures import compute_cosine, normalise
from emodrift.vectors.confounds import (
    LACKING,
    combine_confounds,
    divide_removal,
    find_confounds,
    project_out,
)

HIDDEN = 24


def draw_texts(number=200, seed=0, decay=1.0, hidden=HIDDEN):
    """Neutral texts (prompt, hidden) whose variance falls along rotated axes."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, hidden + 1.0) ** -decay
    turned = np.linalg.qr(rng.standard_normal((hidden, hidden)))[0]
    return wrap(rng.standard_normal((number, hidden)) * scale @ turned + 3)


def wrap(values):
    return xr.DataArray(values, dims=("prompt", "hidden"))


def plant(variances, angle=0.0):
    """Neutral texts with exactly these variances along the axes, the first two turned (degrees)."""
    number = len(variances)
    turned = np.eye(number)
    turned[:2, :2] = rotate(angle)
    root = np.sqrt(np.asarray(variances, float))[:, None] * turned
    return wrap(np.concatenate([root, -root]))


def rotate(angle):
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return np.array([[cos, sin], [-sin, cos]])


def drop_whole_components(neutral, share):
    """What was done before: the fewest whole components that explain the share."""
    centred = neutral.values - neutral.values.mean(0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    explained = np.cumsum(singular**2) / (singular**2).sum()
    return axes[: int(np.searchsorted(explained, share)) + 1]


def count_variance(values):
    return ((values - values.mean(0)) ** 2).sum()


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.503, 0.9, 0.999])
@pytest.mark.parametrize("number", [9, 200])
def test_exactly_the_wanted_share_of_variance_is_removed(share, number):
    neutral = draw_texts(number)
    left = project_out(neutral.values, find_confounds(neutral, share))
    assert count_variance(left) / count_variance(neutral.values) == pytest.approx(
        1 - share, abs=1e-9
    )


def test_leading_components_go_whole_and_the_last_by_the_part_that_is_wanted():
    neutral = plant([5.0, 3.0, 1.5, 0.5])
    confounds = find_confounds(neutral, 0.65)
    assert confounds.shape == (2, 4)
    left = project_out(np.eye(4), confounds)
    np.testing.assert_allclose(np.diag(left), [0, np.sqrt(0.5), 1, 1], atol=1e-7)
    np.testing.assert_allclose(left, np.diag(np.diag(left)), atol=1e-9)


def test_a_share_of_nothing_removes_nothing_and_of_everything_all_that_texts_span():
    neutral = draw_texts(7)
    assert find_confounds(neutral, 0) is None
    assert find_confounds(None, 0.5) is None
    assert find_confounds(xr.zeros_like(neutral), 0.5) is None
    confounds = find_confounds(neutral, 1.0)
    assert confounds.shape == (6, HIDDEN)
    centred = neutral.values - neutral.values.mean(0)
    assert np.abs(project_out(centred, confounds)).max() < 1e-5
    beside = np.linalg.svd(centred)[2][6:]
    np.testing.assert_allclose(project_out(beside, confounds), beside, atol=1e-9)


def test_more_texts_of_the_same_kind_and_copies_of_texts_change_nothing():
    neutral = draw_texts(30)
    twice = wrap(np.concatenate([neutral.values] * 2))
    once, again = (find_confounds(n, 0.4) for n in (neutral, twice))
    np.testing.assert_allclose(once.T @ once, again.T @ again, atol=1e-9)


def jump(find, neutrals, share):
    """Largest change of what is left of probing vectors, from one set of texts to the next."""
    probes = normalise(np.random.default_rng(1).standard_normal((50, neutrals[0].shape[1])))
    left = [project_out(probes, find(neutral, share)) for neutral in neutrals]
    steps = [np.linalg.norm(a - b, axis=1).max() for a, b in pairwise(left)]
    return max(steps)


def test_the_number_of_components_flips_without_a_jump():
    explained = np.linspace(0.499, 0.501, 201)
    neutrals = [plant([e, 0.3, 0.15, 0.85 - 0.3 - e]) for e in explained]
    numbers = {len(drop_whole_components(n, 0.5)) for n in neutrals}
    assert numbers == {1, 2}
    assert jump(drop_whole_components, neutrals, 0.5) > 0.7
    assert jump(find_confounds, neutrals, 0.5) < 0.02


def test_two_components_change_places_without_a_jump():
    larger = np.linspace(0.38, 0.42, 201)
    neutrals = [plant([e, 0.8 - e, 0.15, 0.05]) for e in larger]
    assert jump(drop_whole_components, neutrals, 0.3) > 0.9
    assert jump(find_confounds, neutrals, 0.3) < 0.01
    np.testing.assert_allclose(divide_removal(np.array([0.4, 0.4, 0.2]), 0.3), [0.375, 0.375, 0])


def test_the_share_may_be_moved_without_a_jump():
    neutral = draw_texts()
    shares = np.linspace(0.3, 0.9, 2001)
    probes = np.eye(HIDDEN)
    left = np.stack([project_out(probes, find_confounds(neutral, s)) for s in shares])
    assert np.abs(np.diff(left, axis=0)).max() < 0.08
    energy = (left**2).sum((1, 2))
    assert (np.diff(energy) < 0).all() and np.abs(np.diff(energy)).max() < 0.02


def test_what_either_set_removes_is_removed_by_both_together():
    ours, theirs = (find_confounds(draw_texts(seed=s), 0.5) for s in (0, 1))
    both = combine_confounds([ours, theirs])
    inside = np.concatenate([ours, theirs])
    assert np.abs(project_out(inside, both)).max() < 1e-9
    outside = np.linalg.svd(inside)[2][len(inside) :]
    np.testing.assert_allclose(project_out(outside, both), outside, atol=1e-9)
    assert subspace_angles(both.T, inside.T).max() < 1e-6
    np.testing.assert_allclose(
        project_out(np.eye(HIDDEN), combine_confounds([theirs, ours])),
        project_out(np.eye(HIDDEN), both),
        atol=1e-9,
    )


def test_sets_are_combined_without_a_jump_as_a_component_enters_or_turns():
    entering = [np.diag([1.0, np.sqrt(g), 0])[:2] for g in np.linspace(0, 0.05, 501)]
    turning = [np.eye(3)[:1] @ np.pad(rotate(a), (0, 1)) for a in np.linspace(0, 30, 501)]
    for sets in (entering, turning):
        left = [project_out(np.eye(3), combine_confounds([sets[0], s])) for s in sets]
        assert np.abs(np.diff(left, axis=0)).max() < 0.03
        assert np.abs(project_out(sets[-1], combine_confounds([sets[0], sets[-1]]))).max() < 1e-9


def test_vectors_that_lack_different_confounds_are_the_same_without_those_of_both():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, HIDDEN))
    for noise in (0.01, 0.1, 1.0):
        first = draw_texts()
        second = wrap(first.values + noise * draw_texts(seed=5).values)
        sets = [find_confounds(neutral, 0.5) for neutral in (first, second)]
        lacking = [project_out(vectors, own) for own in sets]
        pure = [project_out(v, combine_confounds(sets)) for v in lacking]
        worst = 0.385 * np.sqrt(LACKING) * np.linalg.norm(vectors, axis=1) * 2
        assert (np.linalg.norm(pure[0] - pure[1], axis=1) < worst).all()
        assert compute_cosine(*pure).min() > 0.999


def fall(find, seed):
    """How far the mean corrected cosine of vectors that did not change is below 1, where the share
    asked for is just what the reference's leading components explain."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, 97.0) ** -rng.uniform(0.5, 1.1)
    axes = np.linalg.qr(rng.standard_normal((96, 96)))[0] * scale[:, None]
    axes /= np.linalg.norm(scale)

    def draw(number):
        return rng.standard_normal((number, 96)) @ axes

    neutral = 3 * draw(120)
    vectors = normalise(rng.standard_normal((6, 96))) + draw(6)
    topics = vectors + 0.5 * np.stack([draw(6) for _ in range(14)])
    energy = np.linalg.svd(neutral - neutral.mean(0), compute_uv=False) ** 2
    share = np.cumsum(energy)[rng.integers(4)] / energy.sum() - 0.001
    left = []
    for noise in (0, 0.08):
        near = [a + noise * a.std() * rng.standard_normal(a.shape) for a in (neutral, topics)]
        left.append(project_out(near[1], find(wrap(near[0]), share)))
    return 1 - jackknife_cosine(compute_grams(*left)).value.mean()


def test_vectors_that_did_not_change_stay_where_they_are_when_the_number_of_components_flips():
    whole, scaled = (
        [fall(find, seed) for seed in range(30)] for find in (drop_whole_components, find_confounds)
    )
    assert np.mean(whole) > 0.02
    assert np.mean(scaled) < 0.001 and max(scaled) < 0.003
