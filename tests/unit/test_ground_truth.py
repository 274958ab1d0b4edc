"""What is planted is found, at the rate that intervals and p-values promise.

A smaller run of `make validation`; its full numbers are in docs/validation.md.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from emodrift.drift.checkpoint import Settings, share_confounds
from emodrift.drift.comparison import describe_direction
from emodrift.drift.coupling import describe_effects, describe_matrix, describe_modularity
from emodrift.drift.fragmentation import center_stories, measure_rank
from emodrift.drift.log_odds import compute_probabilities
from emodrift.drift.slopes import compute_slopes, fit_slopes
from emodrift.stats.settings import Statistics
from emodrift.vectors.fitting import Recipe
from emodrift.vectors.nulls import draw_isotropic
from validation import calibration, coverage, decoder, power
from validation.effects import Amounts, ask, draw_axes, draw_behaviour, plant_effects
from validation.figures import save_figures
from validation.page import fill_page
from validation.repeating import repeat
from validation.texts import (
    Setting,
    clean_stories,
    draw_rotation,
    measure_texts,
    plant_pairs,
    read_planted,
    rotate_texts,
)

REPETITIONS = 200
COVERED = (0.90, 0.98)
SMALL = Setting(controls=0)


def cover(experiment, repetitions=REPETITIONS):
    """Coverage of the quantities that estimate what is planted."""
    rows = repeat(experiment, repetitions).assign(experiment="one")
    table = coverage.count_covered(rows[rows["low"].notna()])
    return table[table["promised"]]


def check(table, least=COVERED[0], most=COVERED[1]):
    """Every coverage is in range, give or take one repetition in a hundred."""
    outside = table[~table["coverage"].between(least - 0.01, most + 0.01)]
    assert outside.empty, outside.to_string()


@pytest.mark.parametrize("planted", ["turns", "lengths", "mergers"])
def test_turned_scaled_and_merged_directions_are_inside_their_intervals(planted):
    experiment = {
        "turns": partial(coverage.turn_directions, SMALL),
        "lengths": partial(coverage.scale_lengths, SMALL),
        "mergers": partial(coverage.merge_directions, SMALL),
    }[planted]
    table = cover(experiment)
    check(table)
    assert table["bias"].abs().max() < 0.02


def test_the_plain_cosine_takes_noise_for_a_turn():
    rows = repeat(partial(coverage.turn_directions, SMALL), 20).assign(experiment="one")
    table = coverage.count_covered(rows[rows["planted"] == 0]).set_index("quantity")
    assert table.at["plain cosine", "coverage"] == 0
    assert table.at["corrected cosine", "coverage"] > 0.8


def test_the_rank_of_a_fragmented_emotion_is_inside_its_interval():
    setting = Setting(stories=4, story_noise=0.4)
    table = cover(partial(coverage.fragment_directions, setting), 100)
    check(table, most=1.0)
    assert table["bias"].abs().max() < 0.1


def test_what_prompts_evoke_is_inside_its_intervals():
    check(cover(partial(coverage.evoke, Amounts(families=8)), 2 * REPETITIONS))


def test_effects_of_a_scaled_read_out_are_inside_their_intervals():
    rows = repeat(partial(coverage.steer, Amounts(families=5)), 3 * 14).assign(experiment="one")
    pooled = coverage.count_covered(rows.assign(planted=0.0))
    check(pooled, least=0.88, most=1.0)
    slopes = rows[rows["quantity"] == "slope"].groupby("planted")["estimate"].mean()
    np.testing.assert_allclose(slopes, slopes.index, atol=0.12)


NULLS = {
    "turning": (partial(calibration.turn_nothing, SMALL, "difference_of_means"), 170),
    "controls": (partial(calibration.turn_like_controls, Setting(), calibration.TURNED), 100),
    "effects": (partial(calibration.move_by_chance, Amounts(families=2, prompts=2)), 40),
    "fragments": (partial(calibration.fragment_nothing, Setting(topic_noise=0.0, controls=0)), 500),
    "layers": (partial(calibration.steer_by_chance, Amounts()), 500),
    "ratings": (partial(calibration.rate_nothing, SMALL), 200),
}


@pytest.mark.parametrize("kind", NULLS)
def test_p_values_are_uniform_where_nothing_is_planted(kind):
    experiment, repetitions = NULLS[kind]
    rows = calibration.spread_steps(repeat(experiment, repetitions), np.random.default_rng(0))
    table = calibration.judge_uniformity(rows)
    assert (table["ks_p"] > 0.01 / len(table)).all(), table.to_string()


def test_more_topics_find_smaller_turns():
    found = []
    for topics in (6, 20):
        setting = Setting(topics=topics, own=0.3, controls=0)
        rows = repeat(partial(power.find_turns, setting), 20)
        found.append(rows.assign(checkpoints="near", topics=topics, stories=2))
    curves = power.count_found(pd.concat(found))
    smallest = power.find_smallest(curves)["smallest_turn"].to_numpy()
    assert 5 < smallest[1] < 0.7 * smallest[0] < 25
    assert (curves.loc[curves["turn"] == 0, "power"] <= 0.2).all()


def test_turns_and_mergers_in_the_weights_of_a_model_are_inside_their_intervals():
    table = pd.concat([cover(decoder.turn_directions, 12), cover(decoder.merge_directions, 12)])
    covered = (table["coverage"] * table["repetitions"]).sum() / table["repetitions"].sum()
    assert 0.9 <= covered <= 0.985 and table["coverage"].min() >= 0.6
    assert table["bias"].abs().max() < 0.03


def test_a_rotation_of_a_model_s_whole_space_is_undone():
    rows = pd.DataFrame(decoder.turn_directions(0))
    aligned = rows[rows["quantity"] == "model: space rotated, aligned"]
    np.testing.assert_allclose(aligned["estimate"], 1, atol=1e-3)


def test_a_scaled_read_out_in_the_weights_scales_slopes_and_steering_agrees():
    rows = pd.DataFrame(decoder.scale_readout(0)).set_index(["quantity", "planted"])
    for scale in decoder.SCALES:
        found = rows.loc[("model: scaled slope", scale)]
        assert found["estimate"] == pytest.approx(found["truth"], rel=1e-3)
        finite = rows.loc[("model: finite over exact slope", scale)]
        assert finite["estimate"] == pytest.approx(1, abs=0.02) and finite["correlation"] > 0.999

    unread = rows.loc[("model: unread direction", 1.0)]
    assert unread["low"] <= 0 <= unread["high"]


def plant_two():
    rng = np.random.default_rng(3)
    return read_planted(plant_pairs([0.0, 20.0, 60.0], 48, rng), Setting(), rng)


def describe(base, now, order=None):
    """Drift and fragmentation of planted texts, by emotion; prompts in another order."""
    recipe = Recipe("difference_of_means", 0.5, 9, 0)
    settings = Settings(Statistics(draws=99, level=0.95), 0, recipe, np.empty((0, 0)))
    if order is not None:
        base, now = (t._replace(stories=t.stories[order]) for t in (base, now))
    ours, theirs = map(measure_texts, (now, base))
    table, _ = describe_direction(ours, theirs, None, settings)
    table = table[table["kind"] == "emotion"].set_index("concept").sort_index()
    centred = center_stories(clean_stories(now)).sortby(["label", "topic", "text_number"])
    ranks = [
        measure_rank(own.values, own["topic"].values, 99, 0.95, np.random.default_rng(0))
        for _, own in centred.groupby("label")
    ]
    numbers = table.drop(columns=["kind"]).select_dtypes("number")
    return np.column_stack([numbers.to_numpy(), np.array(ranks)])


def number_texts(texts):
    stories = texts.stories.assign_coords(text_number=("prompt", np.arange(len(texts.stories))))
    return texts._replace(stories=stories)


def rename_backwards(texts):
    names = sorted(set(texts.stories["label"].values))
    backwards = dict(zip(names, names[::-1], strict=True))
    labels = np.array([backwards[v] for v in texts.stories["label"].values], dtype=object)
    return texts._replace(stories=texts.stories.assign_coords(label=("prompt", labels)))


def test_drift_and_fragmentation_do_not_depend_on_basis_or_order():
    base, now = map(number_texts, plant_two())
    expected = describe(base, now)
    rng = np.random.default_rng(0)
    rotation = draw_rotation(48, rng)
    turned = describe(*(rotate_texts(t, rotation) for t in (base, now)))
    np.testing.assert_allclose(turned, expected, rtol=1e-6, atol=1e-9)
    order = rng.permutation(len(base.stories))
    shuffled = describe(base, now, order)
    np.testing.assert_allclose(shuffled, expected, rtol=1e-6, atol=1e-9)
    renamed = describe(rename_backwards(base), rename_backwards(now))
    np.testing.assert_allclose(renamed[::-1], expected, rtol=1e-6, atol=1e-9)


def ask_all(question, behaviour):
    """Effects, modularity and the effect matrix, by concept."""
    directions = question.locked["direction"].values
    exact = compute_slopes(behaviour.gradients, directions, 0)
    slopes = fit_slopes(behaviour.scores, compute_probabilities)
    effects = pd.DataFrame(describe_effects(question, exact, behaviour.gradients))
    narrow = pd.DataFrame(describe_modularity(question, exact, behaviour.gradients))
    return (
        effects.set_index(["concept", "metric"]).sort_index().select_dtypes("number"),
        narrow.set_index("concept").sort_index().select_dtypes("number"),
        pd.DataFrame([describe_matrix(question, slopes)]),
    )


@pytest.mark.parametrize("change", ["basis", "prompts", "emotions"])
def test_effects_modularity_and_the_effect_matrix_do_not_depend_on_basis_or_order(change):
    rng = np.random.default_rng(1)
    amounts = Amounts(families=3, prompts=2)
    axes = draw_axes(6, amounts.hidden, rng)
    nulls = {"isotropic": draw_isotropic(amounts.hidden, 99, rng)}
    question = ask(axes, nulls, {"caution": ["e00", "e01"]}, 99, 1)
    directions = question.locked["direction"].values
    behaviour = draw_behaviour(plant_effects(6, rng), directions, amounts, rng)
    expected = ask_all(question, behaviour)
    if change == "basis":
        rotation = draw_rotation(amounts.hidden, rng)
        locked = question.locked.assign(
            {
                name: (question.locked[name].dims, question.locked[name].values @ rotation)
                for name in ("direction", "null_direction")
            }
        )
        gradient = behaviour.gradients["gradient"]
        turned = gradient.copy(data=gradient.values @ rotation)
        behaviour = behaviour._replace(gradients=behaviour.gradients.assign(gradient=turned))
    elif change == "prompts":
        locked, order = question.locked, rng.permutation(len(behaviour.gradients["target"]))
        behaviour = behaviour._replace(
            gradients=behaviour.gradients.isel(target=order),
            scores=behaviour.scores.isel(prompt=order),
        )
    else:
        order = np.concatenate([rng.permutation(6), np.arange(6, len(directions))])
        locked = question.locked.isel(direction=order)
        behaviour = behaviour._replace(scores=behaviour.scores.isel(direction=order))
    found = ask_all(replace(question, locked=locked, drawn={}), behaviour)
    for one, other in zip(found, expected, strict=True):
        pd.testing.assert_frame_equal(one, other, rtol=1e-5, atol=1e-7)


def test_checkpoints_without_confounds_are_compared_as_they_are():
    base, now = (measure_texts(t)._replace(confounds=None) for t in plant_two())
    assert share_confounds(now, base) == (now, base)


def test_the_page_and_its_figures_are_written_from_the_tables(tmp_path, monkeypatch):
    from validation import __main__ as run

    small = {"coverage": 2, "effects": 3, "calibration": 2, "power": 2}
    monkeypatch.setattr(run, "REPETITIONS", small | dict.fromkeys(decoder.EXPERIMENTS, 1))
    few = {names: e for names, e in power.EXPERIMENTS.items() if names[1:] in ((6, 2), (14, 2))}
    monkeypatch.setattr(power, "EXPERIMENTS", few)
    tables = run.run_experiments(workers=0)
    save_figures(tables, tmp_path)
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- power: begin -->\nold\n<!-- power: end -->\nb\n")
    fill_page(tables, page)
    text = page.read_text()
    assert "old" not in text and "| 14 |" in text and text.endswith("-->\nb\n")
    assert len(list(tmp_path.glob("*.svg"))) == 4
