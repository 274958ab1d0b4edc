"""A rotation of the whole space is told from a turn of one concept, and nulls are nulls."""

import numpy as np
import pytest
from scipy.linalg import expm

from emodrift.drift.alignment import Background, align_vectors, fit_alignment, gather_background
from emodrift.drift.subspaces import (
    compare_halves,
    compare_shuffled,
    compare_spans,
    count_dimensions,
    shuffle_labels,
    span,
)
from emodrift.stats.measures import compute_cosine, normalise
from emodrift.vectors.estimators import ESTIMATORS
from tests.unit.test_estimators import plant as plant_texts
from tests.unit.test_vectors import make_texts

HIDDEN, TEXTS = 40, 240


def turn(angle, hidden=HIDDEN, seed=5):
    """A random rotation whose planes turn by up to an angle in degrees."""
    skew = np.random.default_rng(seed).standard_normal((hidden, hidden))
    skew = skew - skew.T
    return expm(np.deg2rad(angle) * skew / np.abs(np.linalg.eigvals(skew)).max())


def make_background(hidden=HIDDEN, texts=TEXTS, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((texts, hidden)) * np.linspace(3, 0.3, hidden)
    return Background(values - values.mean(0), np.arange(texts) % 12)


def blur(background, rotation, noise=0.05, seed=1):
    rng = np.random.default_rng(seed)
    values = background.values @ rotation
    return background._replace(values=values + noise * rng.standard_normal(values.shape))


@pytest.mark.parametrize("angle", [10, 40, 80])
def test_a_rotation_of_the_whole_space_is_undone(angle):
    fixed = make_background()
    rotation = turn(angle)
    vectors = np.random.default_rng(2).standard_normal((6, HIDDEN))
    turned = vectors @ rotation
    alignment = fit_alignment(blur(fixed, rotation), fixed)
    assert compute_cosine(turned, vectors).max() < np.cos(np.deg2rad(angle / 3))
    assert compute_cosine(align_vectors(turned, alignment), vectors).min() > 0.99
    assert alignment.after > max(alignment.before, 0.99)


def test_a_turn_of_one_concept_stays():
    fixed = make_background()
    rotation = turn(40)
    rng = np.random.default_rng(2)
    vectors = normalise(rng.standard_normal((2, HIDDEN)))
    other = normalise(rng.standard_normal(HIDDEN))
    other = normalise(other - (other @ vectors[0]) * vectors[0])
    changed = vectors.copy()
    changed[0] = np.cos(np.pi / 6) * vectors[0] + np.sin(np.pi / 6) * other
    aligned = align_vectors(changed @ rotation, fit_alignment(blur(fixed, rotation), fixed))
    cosine = compute_cosine(aligned, vectors)
    assert cosine[0] == pytest.approx(np.cos(np.pi / 6), abs=0.02) and cosine[1] > 0.99


def test_lengths_and_angles_are_kept_and_scale_does_not_matter():
    fixed = make_background()
    moving = blur(fixed, turn(30))
    alignment = fit_alignment(moving, fixed)
    vectors = np.random.default_rng(2).standard_normal((5, HIDDEN))
    aligned = align_vectors(vectors, alignment)
    np.testing.assert_allclose(aligned @ aligned.T, vectors @ vectors.T, atol=1e-9)
    louder = fit_alignment(moving._replace(values=9 * moving.values), fixed)
    np.testing.assert_allclose(align_vectors(vectors, louder), aligned, atol=1e-6)


def test_where_texts_are_fewer_than_dimensions_the_rest_of_the_space_stays():
    hidden, texts = 300, 48
    rng = np.random.default_rng(0)
    loud = np.linalg.qr(rng.standard_normal((hidden, 5)))[0].T
    values = 5 * rng.standard_normal((texts, 5)) @ loud
    values += 0.1 * rng.standard_normal((texts, hidden))
    fixed = Background(values - values.mean(0), np.arange(texts) % 12)
    inside = loud.T @ turn(30, 5) @ loud + np.eye(hidden) - loud.T @ loud
    alignment = fit_alignment(blur(fixed, inside, noise=0.1), fixed)
    vector = rng.standard_normal((3, 5)) @ loud
    aligned = align_vectors(vector @ inside, alignment)
    assert (
        compute_cosine(aligned, vector).min() > 0.97 > compute_cosine(vector @ inside, vector).max()
    )
    away = rng.standard_normal(hidden)
    away -= (away @ alignment.basis.T) @ alignment.basis
    np.testing.assert_allclose(align_vectors(away, alignment), away, atol=1e-9)


def test_nothing_is_turned_where_texts_are_only_noise_to_each_other():
    fixed = make_background(hidden=200, texts=60)
    moving = fixed._replace(values=np.random.default_rng(8).standard_normal(fixed.values.shape))
    mixed = fixed._replace(values=fixed.values + 2 * moving.values)
    alignment = fit_alignment(mixed, fixed)
    vectors = np.random.default_rng(2).standard_normal((6, 200))
    assert compute_cosine(align_vectors(vectors, alignment), vectors).min() > 0.95


def test_a_checkpoint_is_aligned_to_itself_by_the_identity():
    background = make_background()
    alignment = fit_alignment(background, background)
    np.testing.assert_allclose(alignment.rotation, np.eye(len(alignment.rotation)), atol=1e-9)


def test_the_background_is_controls_and_neutral_texts_and_no_stories():
    texts, _ = make_texts()
    background = gather_background(texts)
    assert len(background.values) == texts.controls.sizes["prompt"] + texts.neutral.sizes["prompt"]
    np.testing.assert_allclose(background.values.mean(0), 0, atol=1e-9)
    assert gather_background(texts._replace(controls=None, neutral=None)) is None


@pytest.mark.parametrize("angle", [0, 20, 70])
def test_the_principal_angle_of_a_planted_plane_is_read(angle):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((HIDDEN, 3)))[0].T
    radians = np.deg2rad(angle)
    tilted = np.stack([basis[0], np.cos(radians) * basis[1] + np.sin(radians) * basis[2]])
    mix = rng.standard_normal((8, 2))
    mix -= mix.mean(0)
    ours, theirs = (span(mix @ plane, 2) for plane in (tilted, basis[:2]))
    overlap = compare_spans(ours, theirs)
    assert overlap.angle == pytest.approx(angle, abs=1e-4)
    assert overlap.share == pytest.approx((1 + np.cos(radians) ** 2) / 2)
    assert count_dimensions(mix @ basis[:2]) <= 2


def test_halves_of_different_checkpoints_overlap_as_much_as_those_of_one_when_nothing_changed():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((6, 3)) @ rng.standard_normal((3, HIDDEN))
    ours, theirs, third = (truth + 2 * rng.standard_normal((12, 6, HIDDEN)) for _ in range(3))
    between = compare_halves(ours, theirs, 3, 20, 0).share
    floor = compare_halves(third, third, 3, 20, 0).share
    assert between == pytest.approx(floor, abs=0.05) and between < 0.97
    turned = compare_halves(ours @ turn(80), theirs, 3, 20, 0).share
    assert turned < between - 0.1


def test_shuffled_labels_keep_topics_and_counts_and_lose_the_emotion():
    texts, _ = plant_texts(each=20)
    drawn = shuffle_labels(texts, "difference_of_means", 0)
    assert drawn.shape[0] * drawn.shape[1] >= 100
    fitted = ESTIMATORS["difference_of_means"](texts).mean(0)
    assert np.linalg.norm(drawn, axis=-1).mean() < 0.2 * np.linalg.norm(fitted, axis=-1).mean()
    loud, _ = plant_texts(each=20, loud_topics=50)
    again = shuffle_labels(loud, "difference_of_means", 0)
    np.testing.assert_allclose(again, drawn, atol=1e-9)


@pytest.mark.parametrize("name", ["difference_of_means", "whitened_difference"])
def test_the_same_shuffle_is_matched_between_checkpoints_and_different_ones_are_not(name):
    texts, _ = plant_texts(each=12, signal=0.5)
    basis = turn(20, texts.values.shape[1])
    moved = texts._replace(values=texts.values @ basis, neutral=texts.neutral @ basis)
    ours, theirs = (shuffle_labels(t, name, 3)[:4] for t in (moved, texts))
    same, different = compare_shuffled(ours, theirs)
    assert np.median(same) > 0.85
    assert abs(np.median(different)) < 0.2
