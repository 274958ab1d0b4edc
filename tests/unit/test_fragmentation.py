"""A fragmented emotion is told from a whole one, at a known rate of false findings."""

import numpy as np
import pytest
from scipy.stats import kstest

from emodrift.drift.fragmentation import count_directions, measure_rank

HIDDEN, TOPICS, EACH = 20, 16, 4
NAMES = [f"t{i}" for i in np.repeat(np.arange(TOPICS), EACH)]


def plant(parts, seed, noise=0.5):
    """Stories of an emotion with as many sub-directions, which belong to topics."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((HIDDEN, parts)))[0].T
    belongs = np.repeat(np.arange(TOPICS) % parts, EACH)
    return basis[belongs] * np.sqrt(2) + noise * rng.standard_normal((TOPICS * EACH, HIDDEN))


@pytest.mark.parametrize("parts", [2, 3])
def test_planted_sub_directions_raise_the_rank_and_are_counted(parts):
    rng = np.random.default_rng(0)
    stories = plant(parts, parts)
    rank = measure_rank(stories, NAMES, 300, 0.95, rng)
    assert rank.p < 0.01
    assert rank.value == pytest.approx(parts, abs=0.6)
    assert rank.low < parts < rank.high
    assert rank.null < rank.value - 0.4
    assert count_directions(stories, NAMES, rng) == parts


def test_a_whole_emotion_has_one_direction_and_a_uniform_p_value():
    found = [
        measure_rank(plant(1, seed), NAMES, 99, 0.95, np.random.default_rng(seed))
        for seed in range(200)
    ]
    assert kstest([rank.p for rank in found], "uniform").pvalue > 0.01
    counts = [count_directions(plant(1, s), NAMES, np.random.default_rng(s)) for s in range(5)]
    assert counts == [1] * 5


def test_topics_of_one_story_say_nothing():
    stories = plant(2, 0)[::EACH]
    rng = np.random.default_rng(0)
    assert np.isnan(measure_rank(stories, NAMES[::EACH], 99, 0.95, rng)).all()
    assert np.isnan(count_directions(stories, NAMES[::EACH], rng))
