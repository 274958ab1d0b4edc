"""Planted vectors are recovered, confounds removed, and noise known as noise."""

import numpy as np
import pytest
import xarray as xr

from emodrift.stats.bootstrap import draw_weights, split_halves, summarise_draws
from emodrift.stats.measures import (
    compute_auroc,
    compute_cosine,
    compute_effective_rank,
    normalise,
)
from emodrift.vectors.fitting import (
    average_topics,
    find_confounds,
    measure_reliability,
    project_out,
    score_heldout,
    score_pairs,
    subtract_emotion_mean,
    subtract_neutral,
)
from emodrift.vectors.lock import choose_layer, judge_layers
from emodrift.vectors.nulls import draw_isotropic, draw_matched, draw_shuffled, draw_slopes

EMOTIONS = ["afraid", "calm", "eager", "sad"]
HIDDEN, TOPICS = 24, 12


def plant(seed=0, signal=8.0, topic_strength=5.0, per_topic=3):
    """Stories whose activation is emotion direction + topic offset + noise, at 2 layers."""
    rng = np.random.default_rng(seed)
    truth = normalise(rng.standard_normal((len(EMOTIONS), HIDDEN)))
    offsets = topic_strength * rng.standard_normal((TOPICS, HIDDEN))
    rows, labels, topics = [], [], []
    for t in range(TOPICS):
        for e, name in enumerate(EMOTIONS):
            for _ in range(per_topic + (t + e) % 2):
                rows.append(signal * truth[e] + offsets[t] + rng.standard_normal(HIDDEN))
                labels.append(name)
                topics.append(f"topic-{t:02d}")
    values = np.stack([rng.standard_normal((len(rows), HIDDEN)), np.array(rows)], axis=1)
    coords = {
        "label": ("prompt", np.array(labels, dtype=object)),
        "topic": ("prompt", np.array(topics, dtype=object)),
        "layer": [0, 1],
    }
    return xr.DataArray(values, dims=("prompt", "layer", "hidden"), coords=coords), truth


def test_a_planted_vector_is_recovered_although_topics_are_loud_and_unequal():
    stories, truth = plant()
    fitted = np.nanmean(subtract_emotion_mean(average_topics(stories), None), axis=0)[:, 1]
    expected = truth - truth.mean(0)
    assert compute_cosine(fitted, expected).min() > 0.95


def test_a_topic_that_lacks_an_emotion_is_left_out_of_that_emotion_alone():
    stories, _ = plant()
    missing = (stories["label"] == "sad") & (stories["topic"] == "topic-00")
    means = average_topics(stories[~missing.values])
    vectors = subtract_emotion_mean(means, None)
    sad = means.labels.index("sad")
    assert np.isnan(vectors[0, sad]).all()
    assert np.isfinite(np.delete(vectors, sad, axis=1)).all()


def test_neutral_difference_subtracts_the_same_topic():
    stories, truth = plant(topic_strength=50, per_topic=20)
    rng = np.random.default_rng(1)
    means = average_topics(stories)
    topic_offset = means.values.mean(1) - 8 * truth.mean(0)
    neutral = xr.DataArray(
        topic_offset + 0.1 * rng.standard_normal(topic_offset.shape),
        dims=("prompt", "layer", "hidden"),
        coords={"topic": ("prompt", np.array(means.topics, dtype=object)), "layer": [0, 1]},
    )
    fitted = subtract_neutral(means, neutral).mean(0)[:, 1]
    assert compute_cosine(fitted, truth).min() > 0.95


def test_confounds_are_the_loud_directions_of_neutral_texts_and_leave_the_rest():
    rng = np.random.default_rng(0)
    loud = normalise(rng.standard_normal(HIDDEN))
    neutral = rng.standard_normal((200, 1, HIDDEN)) + 20 * rng.standard_normal((200, 1, 1)) * loud
    neutral = xr.DataArray(neutral, dims=("prompt", "layer", "hidden"))
    confounds = find_confounds(neutral, 0.5)
    assert confounds[0].shape == (1, HIDDEN)
    vector = rng.standard_normal((1, HIDDEN))
    cleaned = project_out(vector + 7 * loud, confounds)
    assert abs(cleaned[0] @ confounds[0][0]) < 1e-9
    kept = vector - (vector @ confounds[0].T) @ confounds[0]
    np.testing.assert_allclose(cleaned, kept, atol=1)
    assert find_confounds(neutral, 0) is None


def test_reliability_is_high_for_signal_and_near_zero_for_noise():
    stories, _ = plant()
    vectors = subtract_emotion_mean(average_topics(stories), None)
    floor, reliability = measure_reliability(vectors, 20, np.random.default_rng(0))
    assert reliability[:, 1].min() > 0.9
    assert reliability[:, 0].mean() < 0.4
    np.testing.assert_allclose(reliability[:, 1], 2 * floor[:, 1] / (1 + floor[:, 1]))


def test_heldout_auroc_tells_the_layer_with_signal_from_the_one_without():
    stories, _ = plant(topic_strength=0.5)
    vectors = np.nanmean(subtract_emotion_mean(average_topics(stories), None), axis=0)
    fresh, _ = plant(topic_strength=0.5)
    rng = np.random.default_rng(5)
    fresh = fresh.copy(data=fresh.values + 0.1 * rng.standard_normal(fresh.shape))
    auroc = score_heldout(fresh.isel(layer=[1, 1]), vectors[:, [1, 1]], EMOTIONS)
    assert auroc.min() > 0.85
    noise = score_heldout(fresh.copy(data=rng.standard_normal(fresh.shape)), vectors, EMOTIONS)
    assert abs(noise.mean() - 0.5) < 0.06


def test_minimal_pairs_are_told_apart_when_the_emotion_is_there():
    rng = np.random.default_rng(0)
    vector = rng.standard_normal((2, 1, HIDDEN))
    base = rng.standard_normal((30, 1, HIDDEN))
    values = np.concatenate([base + vector[0], base + vector[1]])
    stories = xr.DataArray(
        values,
        dims=("prompt", "layer", "hidden"),
        coords={
            "label": ("prompt", np.array(["a"] * 30 + ["b"] * 30, dtype=object)),
            "pair": ("prompt", np.array([f"p{i}" for i in range(30)] * 2, dtype=object)),
        },
    )
    assert score_pairs(stories, vector, ["a", "b"])[0] == 1
    assert score_pairs(stories, vector[::-1], ["a", "b"])[0] == 0
    assert np.isnan(score_pairs(stories.drop_vars("pair"), vector, ["a", "b"])[0])


@pytest.mark.parametrize(
    ("pairs", "p", "layer"),
    [
        ([0.5, 0.7, 0.9, 0.8, 1.0], [0.01] * 5, 2),
        ([0.5, 0.6, 0.998, 1.0, 1.0], [0.01] * 5, 3),
        ([np.nan] * 5, [0.01] * 5, 1),
        ([0.5, 0.7, 0.9, 0.8, 1.0], [0.01, 0.01, 0.4, 0.01, 0.01], 3),
        ([0.5, 0.7, 0.9, 0.8, 1.0], [0.4] * 5, 2),
    ],
)
def test_the_locked_layer_is_the_best_one_where_steering_beats_chance(pairs, p, layer):
    judged = xr.Dataset(
        {
            "pair_accuracy": ("layer", pairs),
            "auroc": ("layer", [0.5, 0.95, 0.8, 0.7, 0.99]),
            "p": ("layer", p),
        },
        coords={"layer": range(5)},
    )
    assert choose_layer(judged) == layer


def test_a_layer_whose_vectors_move_the_metrics_is_told_from_one_whose_do_not():
    rng = np.random.default_rng(0)
    vector = rng.standard_normal((4, 2, HIDDEN))
    gradient = rng.standard_normal((3, 2, HIDDEN))
    gradient[:, 1] = vector[:3, 1] + 0.5 * gradient[:, 1]
    ones = ("layer", [1.0, 1.0])
    fitted = xr.Dataset(
        {
            "vector": (("emotion", "layer", "hidden"), vector),
            "auroc": (("emotion", "layer"), np.ones((4, 2))),
            "pair_accuracy": ones,
        },
        coords={"layer": [0, 1]},
    )
    gradients = xr.DataArray(gradient, dims=("metric", "layer", "hidden"))
    judged = judge_layers(fitted, gradients, 500, rng)
    assert judged["p"][0] > 0.05 and judged["p"][1] < 0.01
    size = np.linalg.norm(gradient[:, 0], axis=1) / np.sqrt(HIDDEN)
    assert float(judged["null_effect"][0]) == pytest.approx(np.sqrt((size**2).mean()), rel=0.05)


def test_random_directions_are_uniform_unit_vectors():
    drawn = draw_isotropic(HIDDEN, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    np.testing.assert_allclose(drawn.T @ drawn / 4000, np.eye(HIDDEN) / HIDDEN, atol=0.005)


@pytest.mark.parametrize("metrics", [3, HIDDEN + 5])
def test_slopes_drawn_in_the_gradients_span_equal_those_of_whole_directions(metrics):
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((metrics, HIDDEN))
    inside = draw_slopes(gradients, (20_000,), rng)
    whole = draw_isotropic(HIDDEN, 20_000, rng) @ gradients.T
    np.testing.assert_allclose(np.cov(inside.T), np.cov(whole.T), atol=0.05)
    np.testing.assert_allclose(
        np.quantile(inside[:, 0], [0.01, 0.5, 0.99]),
        np.quantile(whole[:, 0], [0.01, 0.5, 0.99]),
        atol=0.1,
    )


def test_matched_directions_have_the_covariance_within_emotions():
    stories, _ = plant(topic_strength=0.0)
    loud = stories.values[:, 1].copy()
    loud[:, 0] *= 10
    drawn = draw_matched(loud, stories["label"].values, 3000, np.random.default_rng(0))
    energy = (drawn**2).mean(0)
    assert energy[0] > 5 * energy[1:].max()
    assert energy.sum() == pytest.approx(1)


def test_shuffled_directions_know_topics_but_no_emotion():
    stories, _ = plant()
    values, labels = stories.values[:, 1], stories["label"].values
    drawn = draw_shuffled(values, labels, stories["topic"].values, 2000, np.random.default_rng(0))
    fitted = normalise(np.nanmean(subtract_emotion_mean(average_topics(stories), None), 0)[:, 1])
    along = np.abs(drawn @ fitted.T)
    assert along.mean() < 0.5
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    moved = draw_shuffled(
        values + 100 * (stories["topic"].values == "topic-03")[:, None],
        labels,
        stories["topic"].values,
        2000,
        np.random.default_rng(0),
    )
    np.testing.assert_allclose(moved, drawn, atol=1e-6)


def test_auroc_counts_ties_half_and_equals_the_pairwise_count():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 4, (50, 3)), rng.random(50) < 0.4
    a, b = scores[positive], scores[~positive]
    expected = ((a[:, None] > b) + 0.5 * (a[:, None] == b)).mean((0, 1))
    np.testing.assert_allclose(compute_auroc(scores, positive), expected)


def test_effective_rank_counts_equal_directions():
    assert compute_effective_rank(np.eye(5)) == pytest.approx(5)
    assert compute_effective_rank(np.ones((4, 6))) == pytest.approx(1)


def test_the_cluster_bootstrap_covers_a_mean_of_clustered_data_at_its_rate():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(30), 4)
    covered = 0
    for _ in range(300):
        data = rng.standard_normal(30)[clusters] + 0.3 * rng.standard_normal(120)
        weights = draw_weights(clusters.astype(str), 400, rng)
        means = weights @ data / weights.sum(1)
        interval = summarise_draws(means, 0.95)
        covered += interval.low <= 0 <= interval.high
    assert 0.89 <= covered / 300 <= 0.98


def test_clusters_are_drawn_whole_and_within_their_stratum():
    clusters, strata = list("aabbccdd"), list("xxxxyyyy")
    weights = draw_weights(clusters, 200, np.random.default_rng(0), strata)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, :4].sum(1) == 4).all() and (weights[:, 4:].sum(1) == 4).all()


def test_split_halves_are_disjoint_averages():
    weights = split_halves(9, 5, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    assert ((weights[:, 0] > 0) ^ (weights[:, 1] > 0)).all()
