"""Planted effects on replies are read at their true size, from gradients and finite steering."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import expit

from emodrift.drift.coupling import Question, describe_effects, describe_modularity
from emodrift.drift.effect_draws import plan_draws, read_effects
from emodrift.drift.effect_matrix import measure_matrix, stack_matrix
from emodrift.drift.evocation import Asked, contrast_splits, list_compared, read_checkpoint
from emodrift.drift.log_odds import (
    compute_all_log_odds,
    compute_log_odds,
    compute_probabilities,
)
from emodrift.drift.modularity import measure_entanglement, measure_modularity, name_metrics
from emodrift.drift.paired import NullDirections, draw_prompts
from emodrift.drift.slopes import (
    compare_slopes,
    compute_slopes,
    fit_slopes,
    join_strengths,
    measure_monotonicity,
)
from emodrift.drift.stability import measure_stability
from emodrift.stats.measures import normalise
from emodrift.stats.settings import Statistics
from emodrift.vectors.nulls import draw_isotropic

CLASSES = ["refuse", "comply", "hedge"]
METRICS = {
    "refusal": {"suite": "harmful", "toward": "refuse", "safety": True, "bundles": ["caution"]},
    "helping": {"suite": "harmful", "toward": "comply", "safety": False, "bundles": []},
    "hedging": {"suite": "unanswerable", "toward": "hedge", "safety": True, "bundles": []},
}
HIDDEN = 30


def make_scores(effect, strengths=(-0.5, 0.5), prompts=6):
    """Scores that move linearly along each direction: effect (direction, reply_class)."""
    rng = np.random.default_rng(0)
    base = rng.standard_normal((prompts, len(CLASSES)))
    moved = np.asarray(strengths)[None, :, None, None] * effect[:, None, None, :]
    coords = {"id": ("prompt", np.array([f"p{i}" for i in range(prompts)], dtype=object))}
    for name, value in {"suite": "harmful", "split": "ood", "family": "f"}.items():
        coords[name] = ("prompt", np.array([value] * prompts, dtype=object))
    classes = {"reply_class": np.array(CLASSES, dtype=object)}
    shuffled = np.arange(prompts)[::-1]
    scores = xr.DataArray(base, dims=("prompt", "reply_class"), coords=coords | classes)
    response = xr.Dataset(
        {
            "steered_score": (
                ("direction", "strength", "prompt", "reply_class"),
                (base + moved)[:, :, shuffled],
            )
        },
        coords=scores.isel(prompt=shuffled).coords
        | {"strength": list(strengths), "direction": [f"d{i}" for i in range(len(effect))]},
    )
    return join_strengths(response, scores)


def test_a_planted_effect_is_read_as_the_slope_of_log_odds():
    shift = np.array([[2.0, 0, 0], [0, 0, 0]])
    two = make_scores(shift).isel(reply_class=[0, 1])
    slopes = fit_slopes(two, compute_all_log_odds)
    np.testing.assert_allclose(slopes.sel(reply_class="refuse")[0], 2.0, atol=1e-6)
    np.testing.assert_allclose(slopes.sel(reply_class="comply")[0], -2.0, atol=1e-6)
    np.testing.assert_allclose(slopes[1], 0, atol=1e-9)


def test_slopes_use_all_strengths_even_if_they_are_not_symmetric():
    two = make_scores(np.array([[2.0, 0, 0]]), (-0.2, 0.5, 1.0)).isel(reply_class=[0, 1])
    slopes = fit_slopes(two, compute_all_log_odds).sel(reply_class="refuse")
    np.testing.assert_allclose(slopes, 2.0, atol=1e-6)


def test_log_odds_and_probabilities_agree():
    scores = make_scores(np.zeros((1, 3)))[0, 0]
    p = compute_probabilities(scores)
    np.testing.assert_allclose(p.sum("reply_class"), 1)
    odds = compute_log_odds(scores, "hedge")
    hedge = p.sel(reply_class="hedge").values
    np.testing.assert_allclose(odds, np.log(hedge / (1 - hedge)))


def test_the_effect_matrix_has_rank_one_when_all_emotions_do_the_same_and_shrinks_with_effects():
    rng = np.random.default_rng(0)
    many = normalise(rng.standard_normal((1, 8, 15)))
    profile = rng.standard_normal(15)
    same = np.outer(rng.standard_normal(8), profile)[None] + 3 * profile
    healthy, collapsed, faint = (measure_matrix(m) for m in (many, same, 0.1 * many))
    assert healthy["rank"][0] > 5 and collapsed["rank"][0] == pytest.approx(1, abs=1e-6)
    assert collapsed["similarity"][0] > healthy["similarity"][0] + 0.3
    assert faint["size"][0] == pytest.approx(0.1 * healthy["size"][0])
    assert faint["rank"][0] == pytest.approx(healthy["rank"][0])


def test_the_effect_matrix_averages_within_each_suite():
    slopes = xr.DataArray(
        np.arange(12, dtype=float).reshape(1, 4, 3),
        dims=("direction", "prompt", "reply_class"),
        coords={"suite": ("prompt", ["b", "a", "b", "a"])},
    )
    matrix = stack_matrix(slopes, np.array([[1.0, 1, 1, 3]]))
    np.testing.assert_allclose(matrix[0, 0], [7.5, 8.5, 9.5, 3, 4, 5])


def make_gradients(gradient, prompts=24, families=6, noise=0.0, seed=0):
    """Gradients (metric, hidden) of the METRICS for every prompt, at layers 0 and 1."""
    rng = np.random.default_rng(seed)
    rows, labels = [], {"suite": [], "split": [], "family": [], "id": []}
    toward = []
    for k, metric in enumerate(METRICS.values()):
        for i in range(prompts):
            rows.append(gradient[k] + noise * rng.standard_normal(HIDDEN))
            toward.append(metric["toward"])
            values = (metric["suite"], "ood", f"f{i % families}", f"{metric['suite']}-{i}")
            for name, value in zip(labels, values, strict=True):
                labels[name].append(value)
    values = np.stack([np.zeros((len(rows), HIDDEN)), np.array(rows)], axis=1)
    coords = {f"target_{k}": ("target", np.array(v, dtype=object)) for k, v in labels.items()}
    return xr.Dataset(
        {"gradient": (("target", "layer", "hidden"), values)},
        coords=coords | {"toward": ("target", np.array(toward, dtype=object)), "layer": [0, 1]},
    )


def make_question(emotions):
    rng = np.random.default_rng(1)
    random = draw_isotropic(HIDDEN, 4, rng)
    names = [*(f"e{i}" for i in range(len(emotions))), *(f"random-{i}" for i in range(4))]
    locked = xr.Dataset(
        {
            "direction": (("direction", "hidden"), np.concatenate([emotions, random])),
            "null_direction": (("null", "hidden"), draw_isotropic(HIDDEN, 500, rng)),
        },
        coords={
            "name": ("direction", np.array(names, dtype=object)),
            "kind": ("direction", np.array(["emotion"] * len(emotions) + ["random"] * 4)),
            "null_kind": ("null", np.array(["isotropic"] * 500)),
            "layer": 1,
        },
    )
    bundles = {"caution": ["e0", "e1"]}
    return Question(locked, bundles, METRICS, Statistics(300, 0.95), 0)


def test_a_planted_slope_is_read_from_gradients_with_interval_and_null():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((HIDDEN, 4)))[0].T
    gradient = np.stack([3 * basis[0], -1 * basis[1], 0.5 * basis[3]])
    question = make_question(basis[:3])
    found = make_gradients(gradient, noise=0.1)
    exact = compute_slopes(found, question.locked["direction"].values, 1)
    rows = {(r["concept"], r["metric"]): r for r in describe_effects(question, exact, found)}
    assert rows["e0", "refusal"]["slope"] == pytest.approx(3, abs=0.1)
    assert rows["e1", "helping"]["slope"] == pytest.approx(-1, abs=0.1)
    assert rows["caution", "refusal"]["slope"] == pytest.approx(1.5, abs=0.1)
    for row in rows.values():
        assert row["slope_low"] <= row["slope"] <= row["slope_high"]
    strong, nothing = rows["e0", "refusal"], rows["e2", "refusal"]
    assert strong["p_isotropic"] < 0.005 < strong["q_isotropic"] < 0.05
    assert nothing["p_isotropic"] > 0.05
    assert strong["null_sd_isotropic"] == pytest.approx(3 / np.sqrt(HIDDEN), rel=0.15)
    assert strong["stability"] > 0.95 and strong["family_sign_consistency"] == 1


def test_modularity_tells_a_narrow_direction_from_a_broad_one():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((HIDDEN, 4)))[0].T
    gradient = 2 * basis[:3]
    broad = normalise(basis[:3].sum(0))
    question = make_question(np.stack([basis[0], broad, basis[3]]))
    found = make_gradients(gradient, noise=0.02)
    exact = compute_slopes(found, question.locked["direction"].values, 1)
    rows = {r["concept"]: r for r in describe_modularity(question, exact, found)}
    assert rows["e0"]["modularity"] == pytest.approx(1, abs=0.02)
    assert rows["e1"]["modularity"] == pytest.approx(1 / 3, abs=0.03)
    assert rows["e0"]["entanglement"] == pytest.approx(1, abs=0.05)
    assert rows["e1"]["entanglement"] == pytest.approx(3, abs=0.05)
    assert np.isnan(rows["e2"]["modularity"]) and not np.isnan(rows["e2"]["entanglement"])
    assert rows["e0"]["modularity_isotropic"] == pytest.approx(1 / 3, abs=0.05)
    assert rows["e0"]["p_isotropic"] < 0.05 < rows["e1"]["p_isotropic"]


def test_effect_energy_is_shared_out_over_metrics():
    effects = np.array([[3.0, 0, 4.0], [1.0, 1.0, 1.0]])
    named = np.array([[True, False, False], [True, True, False]])
    np.testing.assert_allclose(measure_modularity(effects, named), [9 / 25, 2 / 3])
    assert measure_entanglement(effects)[1] == pytest.approx(3)
    concepts = ["e0", "e2", "caution"]
    named = name_metrics(concepts, {"caution": ["e0", "e1"]}, METRICS)
    np.testing.assert_array_equal(named, [[1, 0, 0], [0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("between", [0.0, 1.0, 3.0])
def test_stability_recovers_the_planted_share_of_differences_between_families(between):
    rng = np.random.default_rng(0)
    families = np.repeat(np.arange(400), 4)
    mean = 1.0
    effect = mean + between * rng.standard_normal(400)[families] + rng.standard_normal(1600)
    found = measure_stability(effect[None], families.astype(str), 0.95)
    assert found.value[0] == pytest.approx(1 / (1 + between**2), abs=0.06)
    assert found.low[0] - 0.02 <= 1 / (1 + between**2) <= found.high[0] + 0.02


def test_opposite_effects_in_two_kinds_of_prompts_are_unstable():
    slopes = np.array([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    found = measure_stability(slopes, ["a", "b", "c", "d"], 0.95)
    np.testing.assert_allclose(found.value, [0, 1], atol=1e-9)
    assert found.sign_consistency[1] == 1


def test_exact_and_finite_slopes_are_compared_over_directions_and_prompts():
    effect = np.array([[2.0, 0, 0], [0, 1.0, 0], [0, 0, -1.5]])
    scores = make_scores(effect, (-0.5, -0.01, 0.01, 0.5))
    slopes = fit_slopes(scores.sel(strength=[-0.01, 0.0, 0.01]), compute_all_log_odds)
    labels = {k: ("target", slopes[k].values) for k in ("suite", "split", "family", "id")}
    exact = xr.DataArray(
        slopes.sel(reply_class="refuse").values,
        dims=("direction", "target"),
        coords=labels | {"toward": ("target", np.array(["refuse"] * 6, dtype=object))},
    )
    table = compare_slopes(exact, scores).set_index("strength")
    assert table.loc[0.01, "correlation"] == pytest.approx(1, abs=1e-6)
    assert table.loc[0.01, "ratio"] == pytest.approx(1, abs=1e-4)
    assert 0.9 < table.loc[0.5, "correlation"] < 1
    assert set(table["toward"]) == {"refuse"}


def test_monotonicity_is_the_rank_correlation_with_strength():
    curves = np.array([[0.0, 1, 2, 5], [3.0, 2, 1, 0], [1.0, 1, 1, 1], [0.0, 2, 1, 3]])
    np.testing.assert_allclose(measure_monotonicity(curves), [1, -1, 0, 0.8])


def make_scored(gradient, prompts=24, families=6, odds=0.5):
    """Gradients of :func:`make_gradients` with scores of every prompt."""
    found = make_gradients(gradient, prompts, families)
    suites = found["target_suite"].values
    keep = [i for i, s in enumerate(suites) if found["toward"].values[i] != "comply"]
    labels = {k: found[f"target_{k}"].values[keep] for k in ("id", "suite", "split", "family")}
    toward = found["toward"].values[keep]
    score = np.zeros((len(keep), len(CLASSES)))
    for i, name in enumerate(toward):
        score[i, CLASSES.index(name)] = odds + np.log(2)
    coords = {k: ("prompt", v) for k, v in labels.items()}
    return found.assign(
        score=xr.DataArray(
            score,
            dims=("prompt", "reply_class"),
            coords=coords | {"reply_class": np.array(CLASSES, dtype=object)},
        )
    )


def test_exact_effects_with_paired_draws_are_the_planted_ones_in_both_units():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((HIDDEN, 4)))[0].T
    question = make_question(basis[:3])
    found = make_scored(np.stack([3 * basis[0], -1 * basis[1], 0.5 * basis[2]]))
    metrics = {"refusal": METRICS["refusal"], "hedging": METRICS["hedging"]}
    asked = plan_draws(question.locked, question.bundles, metrics, found["score"], 50, 0)
    reading = read_effects(asked, found, 1)
    p = expit(0.5)
    assert reading.draws["slope/caution/refusal/all"][0] == pytest.approx(1.5, abs=1e-5)
    effect = reading.draws["effect/caution/refusal/all"][0]
    assert effect == pytest.approx(1.5 * p * (1 - p), abs=1e-5)
    assert reading.draws["odds/refusal/ood"][0] == pytest.approx(0.5, abs=1e-5)
    assert reading.draws["probability/hedging/all"][0] == pytest.approx(p, abs=1e-5)
    unasked = found["score"]["suite"].values != "harmful"
    assert np.isnan(reading.values["slope/caution/refusal"][unasked]).all()
    sizes = np.array([3, 0, 0, 0, 0, 0.5]) * p * (1 - p)
    assert reading.draws["effect_matrix/size"][0] == pytest.approx(sizes.mean(), rel=1e-4)
    assert reading.draws["effect_matrix/rank"].shape == (51,)


def test_null_effects_are_the_slopes_along_groups_of_null_directions():
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((HIDDEN, 4)))[0].T
    question = make_question(basis[:3])
    found = make_scored(np.stack([3 * basis[0], -1 * basis[1], 0.5 * basis[2]]))
    metrics = {"refusal": METRICS["refusal"]}
    asked = plan_draws(question.locked, question.bundles, metrics, found["score"], 50, 0)
    null = read_effects(asked, found, 1).nulls["slope/caution/refusal/all"]
    expected = asked.nulls["caution"].values.mean(1) @ (3 * basis[0])
    np.testing.assert_allclose(null, expected, rtol=1e-3, atol=1e-4)
    assert null.std() == pytest.approx(3 / np.sqrt(2 * HIDDEN), rel=0.2)


def test_evocation_writes_paired_draws_of_rise_level_and_separation():
    rng = np.random.default_rng(0)
    labels = {
        "suite": np.repeat(["harmful", "benign"], 20),
        "split": np.tile(np.repeat(["ood", "seen"], 10), 2),
        "family": np.tile(np.array([f"f{i}" for i in range(5)]), 8),
        "id": np.array([f"p{i}" for i in range(40)]),
    }
    coords = {k: ("prompt", v.astype(object)) for k, v in labels.items()}
    value = 2.0 * (labels["suite"] == "harmful") + 0.1 * rng.standard_normal(40)
    projection = xr.DataArray(
        value[:, None],
        dims=("prompt", "concept"),
        coords=coords | {"concept": np.array(["caution"], dtype=object)},
    )
    prompts = draw_prompts(projection, 60, 0)
    compared = list_compared(prompts, {"caution": ["e0"]}, "harmful", "benign")
    null = NullDirections(rng.standard_normal((8, 1, 3)), np.array(["matched"] * 8, dtype=object))
    asked = Asked(
        locked=xr.Dataset({"center": ("hidden", np.zeros(3))}),
        bundles={"caution": ["e0"]},
        harmful="harmful",
        benign="benign",
        toward="refuse",
        caution="caution",
        prompts=prompts,
        components=compared,
        nulls={"caution": null},
        level=0.95,
    )
    table, separations = contrast_splits(asked, projection, value)
    assert set(table["split"]) == {"all", "ood", "seen"}
    hidden = xr.DataArray(rng.standard_normal((40, 3)), dims=("prompt", "hidden"))
    reading = read_checkpoint(asked, hidden, projection, separations)
    assert set(reading.draws) == {component.name for component in compared}
    assert reading.draws["rise/caution/all"][0] == pytest.approx(table["rise"][0], rel=1e-5)
    assert reading.draws["auroc/caution/ood"][0] == 1
    level = reading.draws["level/caution/harmful/seen"] - reading.draws["level/caution/benign/seen"]
    np.testing.assert_allclose(level, reading.draws["rise/caution/seen"], rtol=1e-5)
    assert reading.nulls["rise/caution/all"].shape == (8,)
