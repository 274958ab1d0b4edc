"""Planted changes of direction, use and effect are read at their true size."""

import numpy as np
import pytest
import xarray as xr

from emodrift.drift.coupling import fit_slopes, measure_knobs, stack_matrix
from emodrift.drift.evocation import contrast_groups, correlate, project_prompts
from emodrift.drift.responding import (
    compute_all_log_odds,
    compute_log_odds,
    compute_probabilities,
)
from emodrift.stats.measures import normalise

CLASSES = ["refuse", "comply", "hedge"]


def test_a_planted_difference_of_two_groups_of_prompts_is_read():
    rng = np.random.default_rng(0)
    positive = np.arange(4000) % 2 == 0
    values = rng.standard_normal((4000, 2)) + np.outer(positive, [1.5, 0.0])
    contrast = contrast_groups(3 * values, positive, np.ones((1, 4000)))
    np.testing.assert_allclose(contrast.rise[0], [4.5, 0], atol=0.25)
    np.testing.assert_allclose(contrast.difference[0], [1.5, 0], atol=0.08)
    np.testing.assert_allclose(contrast.auroc[0], [0.856, 0.5], atol=0.02)


def test_weights_count_prompts_as_repetition_does():
    rng = np.random.default_rng(0)
    values, outcome = rng.standard_normal((30, 2)), rng.standard_normal(30)
    positive = np.arange(30) < 12
    times = rng.integers(0, 4, 30)
    again = np.repeat(np.arange(30), times)
    weighted = contrast_groups(values, positive, times[None].astype(float))
    repeated = contrast_groups(values[again], positive[again], np.ones((1, len(again))))
    np.testing.assert_allclose(weighted, repeated)
    np.testing.assert_allclose(
        correlate(values, outcome, times[None].astype(float))[0],
        [np.corrcoef(values[again, i], outcome[again])[0, 1] for i in range(2)],
    )


def test_projections_are_in_residual_norms_and_bundles_are_means():
    locked = xr.Dataset(
        {
            "direction": (("direction", "hidden"), np.eye(3, 4)),
            "center": ("hidden", np.ones(4)),
        },
        coords={
            "name": ("direction", np.array(["afraid", "sad", "random-0"], dtype=object)),
            "kind": ("direction", np.array(["emotion", "emotion", "random"], dtype=object)),
        },
    )
    hidden = xr.DataArray(
        [[3.0, 0, 0, 4], [0, 5, 0, 0]],
        dims=("prompt", "hidden"),
        coords={
            n: ("prompt", np.array(["x", "y"], dtype=object))
            for n in ("id", "suite", "split", "family")
        },
    )
    projection = project_prompts(hidden, locked, {"caution": ["afraid", "sad"]})
    assert list(projection["concept"].values) == ["afraid", "sad", "caution"]
    np.testing.assert_allclose(projection.values, [[0.4, -0.2, 0.1], [-0.2, 0.8, 0.3]])


def make_responses(effect, strengths=(-0.5, 0.5), prompts=6):
    """Scores that move linearly along each direction: effect (direction, reply_class)."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((prompts, len(CLASSES)))
    moved = np.asarray(strengths)[None, :, None, None] * effect[:, None, None, :]
    ids = np.array([f"p{i}" for i in range(prompts)], dtype=object)
    labels = {"suite": "harmful", "split": "ood", "family": "f"}
    coords = {"id": ("prompt", ids), "steered_id": ("steered_prompt", ids)}
    for name, value in labels.items():
        column = np.array([value] * prompts, dtype=object)
        coords |= {name: ("prompt", column), f"steered_{name}": ("steered_prompt", column)}
    return xr.Dataset(
        {
            "score": (("prompt", "reply_class"), base),
            "steered_score": (
                ("direction", "strength", "steered_prompt", "reply_class"),
                base + moved,
            ),
        },
        coords=coords
        | {
            "strength": list(strengths),
            "direction": [f"d{i}" for i in range(len(effect))],
            "reply_class": np.array(CLASSES, dtype=object),
        },
    )


def test_a_planted_effect_is_read_as_the_slope_of_log_odds():
    shift = np.array([[2.0, 0, 0], [0, 0, 0]])
    two = make_responses(shift).isel(reply_class=[0, 1])
    slopes = fit_slopes(two, compute_all_log_odds)
    np.testing.assert_allclose(slopes.sel(reply_class="refuse")[0], 2.0, atol=1e-6)
    np.testing.assert_allclose(slopes.sel(reply_class="comply")[0], -2.0, atol=1e-6)
    np.testing.assert_allclose(slopes[1], 0, atol=1e-9)


def test_slopes_use_all_strengths_even_if_they_are_not_symmetric():
    two = make_responses(np.array([[2.0, 0, 0]]), (-0.2, 0.5, 1.0)).isel(reply_class=[0, 1])
    slopes = fit_slopes(two, compute_all_log_odds).sel(reply_class="refuse")
    np.testing.assert_allclose(slopes, 2.0, atol=1e-6)


def test_log_odds_and_probabilities_agree():
    scores = make_responses(np.zeros((1, 3)))["score"]
    p = compute_probabilities(scores)
    np.testing.assert_allclose(p.sum("reply_class"), 1)
    odds = compute_log_odds(scores, "hedge")
    hedge = p.sel(reply_class="hedge").values
    np.testing.assert_allclose(odds, np.log(hedge / (1 - hedge)))


def test_knobs_fall_to_one_when_all_emotions_do_the_same_and_shrink_when_they_do_little():
    rng = np.random.default_rng(0)
    many = normalise(rng.standard_normal((1, 8, 15)))
    profile = rng.standard_normal(15)
    same = np.outer(rng.standard_normal(8), profile)[None] + 3 * profile
    healthy, collapsed, faint = (measure_knobs(m) for m in (many, same, 0.1 * many))
    assert healthy["rank"][0] > 5 and collapsed["rank"][0] == pytest.approx(1, abs=1e-6)
    assert collapsed["similarity"][0] > healthy["similarity"][0] + 0.3
    assert faint["size"][0] == pytest.approx(0.1 * healthy["size"][0])
    assert faint["rank"][0] == pytest.approx(healthy["rank"][0])


def test_the_effect_matrix_averages_within_each_suite():
    slopes = xr.DataArray(
        np.arange(12, dtype=float).reshape(1, 4, 3),
        dims=("direction", "steered_prompt", "reply_class"),
        coords={"suite": ("steered_prompt", ["b", "a", "b", "a"])},
    )
    matrix = stack_matrix(slopes, np.array([[1.0, 1, 1, 3]]))
    np.testing.assert_allclose(matrix[0, 0], [7.5, 8.5, 9.5, 3, 4, 5])
