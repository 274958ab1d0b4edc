"""Planted vectors are recovered, and noise known as noise."""

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
from emodrift.vectors.confounds import find_confounds
from emodrift.vectors.estimators import average_cells, label_texts, subtract_emotion_mean
from emodrift.vectors.fitting import (
    Recipe,
    Texts,
    average_halves,
    clean_texts,
    describe_layer,
    fit_texts,
    measure_reliability,
)
from emodrift.vectors.lock import choose_layer, judge_layers
from emodrift.vectors.nulls import (
    draw_controls,
    draw_isotropic,
    draw_matched,
    draw_shuffled,
    draw_slopes,
)
from emodrift.vectors.quality import score_heldout, score_pairs

EMOTIONS = ["afraid", "calm", "eager", "sad"]
HIDDEN, TOPICS = 24, 12


def plant(seed=0, signal=8.0, topic_strength=5.0, per_topic=3):
    """Stories whose activation is emotion direction + topic offset + noise."""
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
    coords = {
        "label": ("prompt", np.array(labels, dtype=object)),
        "topic": ("prompt", np.array(topics, dtype=object)),
    }
    return xr.DataArray(np.array(rows), dims=("prompt", "hidden"), coords=coords), truth


def fit(stories):
    return subtract_emotion_mean(label_texts(stories))


def drop(stories, emotion, topic):
    return stories[~((stories["label"] == emotion) & (stories["topic"] == topic)).values]


def test_cells_are_means_of_each_label_in_each_topic_and_empty_ones_are_undefined():
    stories, _ = plant()
    texts = label_texts(drop(stories, "sad", "topic-03"))
    means = average_cells(texts)
    for t, topic in enumerate(texts.topics):
        for e, label in enumerate(texts.labels):
            own = (stories["label"] == label) & (stories["topic"] == topic)
            if (label, topic) == ("sad", "topic-03"):
                assert np.isnan(means[t, e]).all()
            else:
                np.testing.assert_allclose(means[t, e], stories[own.values].values.mean(0))


def test_a_topic_that_lacks_an_emotion_is_left_out_of_that_emotion_alone():
    vectors = fit(drop(plant()[0], "sad", "topic-00"))
    sad = EMOTIONS.index("sad")
    assert np.isnan(vectors[0, sad]).all()
    assert np.isfinite(np.delete(vectors, sad, axis=1)).all()


def test_reliability_is_high_for_signal_and_near_zero_for_noise():
    stories, _ = plant()
    floor, reliability = measure_reliability(fit(stories), 20, np.random.default_rng(0))
    assert reliability.min() > 0.9
    np.testing.assert_allclose(reliability, 2 * floor / (1 + floor))
    noise = fit(stories.copy(data=np.random.default_rng(1).standard_normal(stories.shape)))
    assert measure_reliability(noise, 20, np.random.default_rng(0))[1].mean() < 0.4


def test_split_half_cosines_are_those_of_the_averaged_halves():
    vectors = fit(drop(plant(signal=1)[0], "calm", "topic-05"))
    weights = split_halves(TOPICS, 6, np.random.default_rng(3))
    pairs = [average_halves(vectors, pair) for pair in weights]
    expected = np.mean([compute_cosine(a, b) for a, b in pairs], axis=0)
    floor, _ = measure_reliability(vectors, 6, np.random.default_rng(3))
    np.testing.assert_allclose(floor, expected, rtol=1e-5)


def test_heldout_auroc_tells_signal_from_noise():
    stories, _ = plant(topic_strength=0.5)
    vectors = np.nanmean(fit(stories), axis=0)
    rng = np.random.default_rng(5)
    fresh = stories.copy(data=stories.values + 0.1 * rng.standard_normal(stories.shape))
    assert score_heldout(fresh, vectors, EMOTIONS).min() > 0.85
    noise = fresh.copy(data=rng.standard_normal(fresh.shape))
    assert abs(score_heldout(noise, vectors, EMOTIONS).mean() - 0.5) < 0.06


def plant_pairs(effect, shared, pairs=30):
    """Pairs that share a scenario's offset; the first member leans to a, the second to b."""
    rng = np.random.default_rng(0)
    vector = rng.standard_normal((2, HIDDEN))
    base = shared * rng.standard_normal((pairs, HIDDEN))
    values = np.concatenate([base + effect * vector[0], base + effect * vector[1]])
    stories = xr.DataArray(
        values,
        dims=("prompt", "hidden"),
        coords={
            "label": ("prompt", np.array(["a"] * pairs + ["b"] * pairs, dtype=object)),
            "pair": ("prompt", np.array([f"p{i}" for i in range(pairs)] * 2, dtype=object)),
        },
    )
    return stories, vector


def test_minimal_pairs_are_told_apart_when_the_emotion_is_there():
    stories, vector = plant_pairs(effect=1, shared=0.5)
    assert score_pairs(stories, vector, ["a", "b"]) == (1, 1)
    assert score_pairs(stories, vector[::-1], ["a", "b"]) == (0, 0)
    assert np.isnan(score_pairs(stories.drop_vars("pair"), vector, ["a", "b"])).all()


def test_scenarios_louder_than_the_emotion_blur_the_auroc_of_pairs_and_not_their_accuracy():
    stories, vector = plant_pairs(effect=0.3, shared=8)
    accuracy, auroc = score_pairs(stories, vector, ["a", "b"])
    assert accuracy == 1 and 0.4 < auroc < 0.75


def test_texts_of_the_same_words_are_at_chance():
    stories, vector = plant_pairs(effect=0, shared=1)
    assert score_pairs(stories, vector, ["a", "b"]) == (0.5, 0.5)


def make_texts(seed=0, signal=8.0):
    """Stories of 12 topics, 4 of them held out, with neutral texts and one control set."""
    stories, truth = plant(seed, signal, topic_strength=0.5)
    rng = np.random.default_rng(seed + 1)
    held = [f"topic-{t:02d}" for t in range(2, TOPICS, 3)]

    def finish(texts, name):
        split = np.where(np.isin(texts["topic"].values, held), "heldout", "fit").astype(object)
        sets = np.array([name] * texts.sizes["prompt"], dtype=object)
        return texts.assign_coords(split=("prompt", split), set=("prompt", sets))

    control = stories[np.isin(stories["label"].values, EMOTIONS[:2])]
    neutral = stories.copy(data=rng.standard_normal(stories.shape))
    return Texts(
        finish(stories, "emotion"), finish(neutral, "neutral"), finish(control, "x")
    ), truth


def test_a_layer_is_described_by_vectors_of_the_fit_topics_and_scores_of_the_others():
    texts, truth = make_texts()
    layer = describe_layer(texts, Recipe("difference_of_means", 0.0, 20, 0))
    assert list(layer["emotion"].values) == EMOTIONS and list(layer["control"].values) == ["x"]
    assert compute_cosine(layer["vector"].values, truth - truth.mean(0)).min() > 0.95
    assert layer["auroc"].values.min() > 0.9 and np.isnan(layer["pair_accuracy"])
    fitted = texts.stories[texts.stories["split"].values == "fit"]
    assert float(layer["residual_norm"]) == pytest.approx(
        np.linalg.norm(fitted.values, axis=1).mean()
    )
    half = layer["half_vector"].values
    np.testing.assert_allclose(half.mean(0), layer["vector"].values, atol=1e-6)
    expected = truth[0] - truth[1]
    assert compute_cosine(layer["control_vector"].values[0], expected) > 0.9


def test_heldout_texts_and_labels_do_not_enter_the_fit():
    texts, _ = make_texts()
    confounds = find_confounds(texts.neutral, 0.5)
    fitted = fit_texts(clean_texts(texts, confounds), "difference_of_means").emotions
    held = texts.stories["split"].values == "heldout"
    assert not set(fitted.topics) & set(texts.stories["topic"].values[held])
    louder = texts.stories.copy(data=np.where(held[:, None], 100.0, texts.stories.values))
    louder = clean_texts(texts._replace(stories=louder), confounds)
    again = fit_texts(louder, "difference_of_means")
    np.testing.assert_array_equal(fitted.values, again.emotions.values)


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
    loud = stories.values.copy()
    loud[:, 0] *= 10
    drawn = draw_matched(loud, stories["label"].values, 3000, np.random.default_rng(0))
    energy = (drawn**2).mean(0)
    assert energy[0] > 5 * energy[1:].max()
    assert energy.sum() == pytest.approx(1)


def test_control_directions_stay_in_the_span_of_the_contrasts_and_count_each_alike():
    rng = np.random.default_rng(0)
    controls = rng.standard_normal((2, HIDDEN)) * [[50.0], [1.0]]
    drawn = draw_controls(controls, 2000, rng)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1)
    assert np.linalg.matrix_rank(drawn) == 2
    near = np.abs(drawn @ normalise(controls).T).mean(0)
    assert near[0] == pytest.approx(near[1], abs=0.03)
    alone = draw_controls(controls[:1], 100, rng) @ normalise(controls[0])
    assert set(np.round(alone, 6)) == {-1.0, 1.0}


def test_shuffled_directions_know_topics_but_no_emotion():
    stories, _ = plant()
    values, labels = stories.values, stories["label"].values
    drawn = draw_shuffled(values, labels, stories["topic"].values, 2000, np.random.default_rng(0))
    fitted = normalise(np.nanmean(fit(stories), axis=0))
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
