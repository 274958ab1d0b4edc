"""Maps of the emotions show the clusters and axes that are planted."""

import numpy as np
import pytest

from emodrift.drift.maps import (
    cluster_emotions,
    compare_clusters,
    correlate_plane,
    count_clusters,
    find_axes,
    find_cluster_floor,
    map_cosines,
    place_emotions,
    rate_components,
    stack_ratings,
)
from emodrift.stats.bootstrap import draw_weights
from emodrift.stats.measures import normalise

HIDDEN, TOPICS = 30, 10


def plant_clusters(groups=3, each=5, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.standard_normal((HIDDEN, groups)))[0].T
    vectors = np.repeat(centres, each, axis=0)
    return vectors + spread * rng.standard_normal(vectors.shape) / np.sqrt(HIDDEN)


def test_planted_clusters_are_counted_and_found_whatever_the_order():
    vectors = plant_clusters()
    assert count_clusters(vectors) == 3
    clusters = cluster_emotions(vectors, 3)
    groups = np.repeat([0, 1, 2], 5)
    assert len({(a, b) for a, b in zip(groups, clusters.label, strict=True)}) == 3
    assert len(set(np.abs(np.diff(groups[clusters.order])).nonzero()[0])) == 2
    order = np.random.default_rng(1).permutation(15)
    assert compare_clusters(vectors[order], plant_clusters(seed=0)[order], 3) == 1
    np.testing.assert_allclose(map_cosines(vectors)[order][:, order], map_cosines(vectors[order]))


def test_cluster_agreement_is_one_for_the_same_and_near_zero_for_unrelated_vectors():
    rng = np.random.default_rng(0)
    vectors = plant_clusters()
    assert compare_clusters(vectors, plant_clusters(spread=0.2), 3) == 1
    unrelated = [compare_clusters(vectors, rng.permutation(vectors), 3) for _ in range(30)]
    assert abs(np.mean(unrelated)) < 0.1


def test_the_cluster_floor_falls_with_noise():
    rng = np.random.default_rng(0)
    vectors = plant_clusters()
    quiet, loud = (
        vectors + size * rng.standard_normal((TOPICS, *vectors.shape)) for size in (0.05, 1.5)
    )
    assert find_cluster_floor(quiet, 3, 10, 0) == 1
    assert find_cluster_floor(loud, 3, 10, 0) < 0.5


def plant_ratings(noise=0.3, emotions=16, seed=0):
    """Vectors whose first axis is valence and second arousal, with a third that is neither."""
    rng = np.random.default_rng(seed)
    ratings = rng.uniform(-1, 1, (3, emotions))
    axes = np.linalg.qr(rng.standard_normal((HIDDEN, 3)))[0].T
    vectors = (ratings * [[4], [2.5], [1]]).T @ axes
    topics = vectors + noise * rng.standard_normal((TOPICS, *vectors.shape))
    return topics, ratings[:2]


def rate(topics, ratings, draws=200):
    names = [f"t{i}" for i in range(len(topics))]
    weights = draw_weights(names, draws, np.random.default_rng(0))
    return rate_components(topics, ratings, weights, 0.95, 0)


def test_components_are_correlated_with_the_ratings_that_made_them():
    topics, ratings = plant_ratings()
    found = rate(topics, ratings)
    size = np.abs(found.correlation)
    assert size[0, 0] > 0.9 and size[1, 1] > 0.9 and size[0, 2] < 0.5
    assert found.p[0, 0] < 0.01 and found.p[1, 1] < 0.01 and found.p[0, 2] > 0.05
    assert (found.correlation_interval.low <= found.correlation + 0.02).all()
    assert (found.correlation_interval.high >= found.correlation - 0.02).all()
    assert (np.diff(found.share) < 0).all() and 0.9 < found.share.sum() <= 1


def test_p_values_of_correlations_are_uniform_where_ratings_mean_nothing():
    topics, _ = plant_ratings()
    rng = np.random.default_rng(3)
    found = rate(topics, rng.standard_normal((300, 16)), draws=2)
    p = found.p[:, 0]
    assert abs((p <= 0.05).mean() - 0.05) < 0.03 and abs(p.mean() - 0.5) < 0.06


def test_emotions_without_a_rating_are_left_out_and_too_few_say_nothing():
    topics, ratings = plant_ratings()
    some = ratings.copy()
    some[0, 10:] = np.nan
    kept = rate(topics[:, :10], ratings[:, :10])
    assert abs(rate(topics, some).correlation[0, 0]) > 0.85
    assert np.isfinite(kept.correlation).all()
    some[1, 2:] = np.nan
    found = rate(topics, some)
    assert np.isnan(found.correlation[1]).all() and np.isnan(found.p[1]).all()
    assert np.isnan(correlate_plane(topics.mean(0), some)[1])
    named = stack_ratings(["b", "x"], {"b": {"valence": 0.5, "arousal": -1.0}})
    np.testing.assert_array_equal(named, [[0.5, np.nan], [-1, np.nan]])


def test_the_plane_holds_a_rating_however_the_components_are_mixed():
    topics, ratings = plant_ratings(noise=0.01)
    mixed = ratings[0] + ratings[1]
    plane = correlate_plane(topics.mean(0), np.vstack([ratings, mixed]))
    assert plane.min() > 0.97
    assert np.isnan(correlate_plane(np.zeros((5, 4)), ratings[:, :5])).all()


def test_paths_lie_in_the_references_frame_in_residual_norms():
    topics, _ = plant_ratings(noise=0)
    vectors = topics.mean(0)
    axes = find_axes(vectors)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    scores = place_emotions(vectors, axes, 2.0)
    np.testing.assert_allclose(2 * scores @ axes, vectors - vectors.mean(0), atol=1e-9)
    turned = normalise(np.random.default_rng(0).standard_normal((16, HIDDEN)))
    assert np.abs(place_emotions(turned, axes, 2.0)).max() < 0.5


@pytest.mark.parametrize("emotions", [2, 3, 4])
def test_few_emotions_are_mapped_too(emotions):
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((TOPICS, emotions, HIDDEN))
    topics -= topics.mean(1, keepdims=True)
    vectors = topics.mean(0)
    clusters = cluster_emotions(vectors, count_clusters(vectors))
    assert sorted(clusters.order) == list(range(emotions))
    found = rate(topics, rng.uniform(-1, 1, (2, emotions)))
    assert found.share.shape == found.p.shape[1:]
    assert len(find_axes(vectors)) == len(found.share)
