"""Every estimator recovers what is planted, and its topic vectors stand for refits."""

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression

from emodrift.stats.bootstrap import split_halves
from emodrift.stats.measures import compute_auroc, compute_cosine, normalise
from emodrift.vectors.estimators import (
    CONTROL_ESTIMATORS,
    ESTIMATORS,
    Labelled,
    label_texts,
    subtract_emotion_mean,
    train_probe,
    whiten_difference,
)
from emodrift.vectors.fitting import average_halves, measure_reliability

LABELS, TOPICS, HIDDEN, EACH = 4, 10, 20, 6
LINEAR = ("difference_of_means", "whitened_difference")


def plant(seed=0, loud_topics=3.0, noise=None, signal=2.0, labels=LABELS, each=EACH):
    """Texts of emotion direction + topic offset + noise; noise scales each axis."""
    rng = np.random.default_rng(seed)
    truth = normalise(np.random.default_rng(99).standard_normal((labels, HIDDEN)))
    topic, label = (a.ravel() for a in np.indices((TOPICS, labels, each))[:2])
    offsets = loud_topics * rng.standard_normal((TOPICS, HIDDEN))
    scale = np.ones(HIDDEN) if noise is None else noise
    values = signal * truth[label] + offsets[topic]
    values += scale * rng.standard_normal(values.shape)
    names = [f"emotion-{i}" for i in range(labels)], [f"topic-{i}" for i in range(TOPICS)]
    return Labelled(values, label, topic, *names, neutral=offsets), truth


def pick(texts, rows):
    kept = np.unique(texts.topic[rows])
    return texts._replace(
        values=texts.values[rows],
        label=texts.label[rows],
        topic=np.searchsorted(kept, texts.topic[rows]),
        topics=[texts.topics[t] for t in kept],
        neutral=texts.neutral[kept],
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_planted_vector_is_recovered_although_topics_are_loud(name):
    texts, truth = plant(each=20)
    vectors = np.nanmean(ESTIMATORS[name](texts), axis=0)
    expected = truth if name == "neutral_difference" else truth - truth.mean(0)
    assert compute_cosine(vectors, expected).min() > 0.93


@pytest.mark.parametrize("name", ESTIMATORS)
def test_topic_vectors_have_one_row_for_each_topic_and_a_length_in_units_of_the_texts(name):
    texts, truth = plant(each=20)
    vectors = ESTIMATORS[name](texts)
    assert vectors.shape == (TOPICS, LABELS, HIDDEN)
    expected = truth if name == "neutral_difference" else truth - truth.mean(0)
    length = np.linalg.norm(np.nanmean(vectors, axis=0), axis=-1)
    np.testing.assert_allclose(length, 2 * np.linalg.norm(expected, axis=-1), rtol=0.15)
    louder = ESTIMATORS[name](texts._replace(values=3 * texts.values, neutral=3 * texts.neutral))
    np.testing.assert_allclose(louder, 3 * vectors, atol=0.02 * np.abs(vectors).max())


def test_whitening_finds_the_direction_of_discriminant_analysis():
    noise = np.linspace(0.2, 4, HIDDEN)
    texts, truth = plant(noise=noise, each=80)
    fresh, _ = plant(seed=1, noise=noise, each=80, loud_topics=0)
    best = (truth - truth.mean(0)) / noise**2
    plain, whitened = (np.nanmean(ESTIMATORS[name](texts), axis=0) for name in LINEAR)
    assert compute_cosine(whitened, best).min() > 0.95 > compute_cosine(plain, best).max()

    def score(vectors):
        own = fresh.label[:, None] == np.arange(LABELS)
        return compute_auroc(fresh.values @ vectors.T, own).mean()

    assert score(whitened) > score(plain) + 0.1


def test_the_probe_agrees_with_scikit_learn_on_centred_texts():
    texts, _ = plant(loud_topics=0, each=20)
    vectors = train_probe(texts).mean(0)
    for penalty in (1e-3, 1e-2, 1e-1, 1):
        plain = LogisticRegression(C=penalty, max_iter=5000).fit(texts.values, texts.label)
        if compute_cosine(vectors, plain.coef_).min() > 0.99:
            return
    raise AssertionError("no penalty gives these vectors")


@pytest.mark.parametrize("name", [*LINEAR, "logistic_probe"])
def test_split_halves_of_topic_vectors_stand_for_refits_on_halves(name):
    texts, _ = plant(signal=0.7)
    vectors = ESTIMATORS[name](texts)
    weights = split_halves(TOPICS, 10, np.random.default_rng(0))
    floor, _ = measure_reliability(vectors, 10, np.random.default_rng(0))
    refitted = []
    for pair in weights:
        halves = [
            np.nanmean(ESTIMATORS[name](pick(texts, half[texts.topic] > 0)), axis=0)
            for half in pair
        ]
        refitted.append(compute_cosine(*halves))
    assert floor.mean() == pytest.approx(np.mean(refitted), abs=0.12)
    assert 0.2 < floor.mean() < 0.9


def test_halves_of_a_linear_estimator_are_its_refits():
    texts, _ = plant()
    (weights,) = split_halves(TOPICS, 1, np.random.default_rng(0))
    halves = average_halves(subtract_emotion_mean(texts), weights)
    for half, vectors in zip(weights, halves, strict=True):
        again = subtract_emotion_mean(pick(texts, half[texts.topic] > 0)).mean(0)
        np.testing.assert_allclose(vectors, again, atol=1e-6)


def test_jackknife_pseudo_values_tell_how_far_probes_of_fresh_texts_scatter():
    fitted = [train_probe(plant(seed, loud_topics=1, signal=1.0)[0]) for seed in range(12)]
    scatter = np.var([f.mean(0) for f in fitted], axis=0, ddof=1).sum(-1).mean()
    expected = np.mean([f.var(0, ddof=1).sum(-1).mean() / TOPICS for f in fitted])
    assert expected == pytest.approx(scatter, rel=0.5)


@pytest.mark.parametrize("name", CONTROL_ESTIMATORS)
def test_two_poles_have_opposite_vectors(name):
    texts, truth = plant(labels=2, each=20)
    first, second = np.nanmean(CONTROL_ESTIMATORS[name](texts), axis=0)
    np.testing.assert_allclose(first, -second, atol=1e-6)
    assert compute_cosine(first, truth[0] - truth[1]) > 0.9


@pytest.mark.parametrize("name", ESTIMATORS)
def test_texts_that_are_all_alike_have_no_vectors(name):
    texts, _ = plant()
    flat = np.ones_like(texts.values)
    alike = texts._replace(values=flat, neutral=np.ones_like(texts.neutral))
    assert not ESTIMATORS[name](alike).any()


@pytest.mark.parametrize("name", ["difference_of_means", "whitened_difference", "logistic_probe"])
def test_a_label_may_lack_a_topic(name):
    texts, truth = plant(each=20)
    texts = pick(texts, ~((texts.label == 1) & (texts.topic == 4)))
    vectors = np.nanmean(ESTIMATORS[name](texts), axis=0)
    assert compute_cosine(vectors, truth - truth.mean(0)).min() > 0.9


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_order_of_texts_does_not_matter_and_a_change_of_basis_carries_over(name):
    texts, _ = plant(each=4)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(texts.label))
    shuffled = texts._replace(
        values=texts.values[order], label=texts.label[order], topic=texts.topic[order]
    )
    vectors = ESTIMATORS[name](texts)
    tolerance = {"atol": 2e-3 * np.abs(vectors).max()}
    np.testing.assert_allclose(ESTIMATORS[name](shuffled), vectors, **tolerance)
    basis = np.linalg.qr(rng.standard_normal((HIDDEN, HIDDEN)))[0]
    turned = texts._replace(values=texts.values @ basis, neutral=texts.neutral @ basis)
    np.testing.assert_allclose(ESTIMATORS[name](turned), vectors @ basis, **tolerance)


def test_neutral_texts_are_those_of_the_same_topic_or_of_all():
    rng = np.random.default_rng(0)

    def texts(topics):
        names = np.array(topics, dtype=object)
        coords = {"topic": ("prompt", names), "label": ("prompt", names)}
        values = rng.standard_normal((len(topics), 3))
        return xr.DataArray(values, dims=("prompt", "hidden"), coords=coords)

    neutral = texts(["a", "a", "b"])
    base = label_texts(texts(["a", "b", "c"]), neutral).neutral
    np.testing.assert_allclose(base[0], neutral.values[:2].mean(0))
    np.testing.assert_allclose(base[2], neutral.values.mean(0))


def test_whitening_shrinks_where_texts_are_fewer_than_dimensions():
    texts, truth = plant(each=1)
    narrow = texts._replace(
        values=np.pad(texts.values, ((0, 0), (0, 200))),
    )
    vectors = np.nanmean(whiten_difference(narrow), axis=0)
    assert np.isfinite(vectors).all()
    assert compute_cosine(vectors[:, :HIDDEN], truth - truth.mean(0)).min() > 0.5
