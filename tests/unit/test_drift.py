"""Planted changes of direction, use and effect are read at their true size."""

import numpy as np
import xarray as xr

from emodrift.drift.evocation import contrast_groups, correlate, project_prompts


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
