"""Detectors are scored run by run, with thresholds from other seeds, and their lead is censored."""

import numpy as np
import pandas as pd
import pytest

from emodrift.warning.benchmark import (
    SOUND,
    compare_detectors,
    count_verdicts,
    estimate_lead_curve,
    find_practical_change,
    measure_leads,
    set_thresholds,
)
from emodrift.warning.detectors import SAMPLED, Tables, list_detectors, score_study

STEPS = (10, 20, 40)


def make_scores(seeds, shift=3.0, sound=4, start=0):
    """A detector `good` that rises by `shift` in broken runs, and one, `blind`, that is noise."""
    rng = np.random.default_rng(start)
    rows = []
    for seed in seeds:
        for i, regime in enumerate([*[SOUND] * sound, "lock-in", "collapse"]):
            rise = 0 if regime == SOUND else shift
            for detector, gain in (("good", rise), ("blind", 0.0)):
                noise = np.maximum.accumulate(rng.random(len(STEPS)))
                for step, share, extra in zip(STEPS, (0, 0.5, 1), noise, strict=True):
                    rows.append((seed, regime, f"r{i}", step, detector, gain * share + extra))
    return pd.DataFrame(rows, columns=["seed", "regime", "run", "step", "detector", "score"])


def test_a_detector_that_sees_and_one_that_does_not_are_told_apart_on_fresh_seeds():
    thresholds = set_thresholds(make_scores(range(10)), 0.1)
    table = compare_detectors(make_scores(range(20, 30), start=1), thresholds, 0.95, 0)
    found = table.set_index(["detector", "figure"])
    assert found.loc[("good", "auroc"), "value"] == 1
    assert found.loc[("good", "fnr"), "value"] == 0
    assert found.loc[("good", "recall, lock-in"), "value"] == 1
    assert 0.3 < found.loc[("blind", "auroc"), "value"] < 0.7
    assert found.loc[("blind", "fnr"), "value"] > 0.7
    assert found.loc[("good", "fpr"), "value"] < 0.3
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_with_too_few_sound_runs_the_threshold_is_their_largest():
    scores = make_scores([0], sound=3)
    thresholds = set_thresholds(scores, 0.05)
    last = scores[(scores["regime"] == SOUND) & (scores["step"] == 40)]
    assert thresholds["good"] == last.loc[last["detector"] == "good", "score"].max()


def make_behaviour(refusal):
    rows = [("base", 0, "refusal", "ood", 0.9, True), ("base", 0, "over_refusal", "ood", 0.1, True)]
    for step, value in zip(STEPS, refusal, strict=True):
        rows.append(("bad", step, "refusal", "ood", value, True))
        rows.append(("bad", step, "over_refusal", "ood", 0.1, True))
        rows.append(("fine", step, "refusal", "ood", 0.88, True))
        rows.append(("fine", step, "over_refusal", "ood", 0.12, True))
    columns = ["run", "step", "metric", "split", "probability", "safety"]
    return pd.DataFrame(rows, columns=columns)


def test_a_practical_change_is_the_first_eval_that_moved_by_a_fifth():
    found = find_practical_change(make_behaviour([0.85, 0.69, 0.2]), ("base", 0))
    assert found["bad"] == 20 and np.isnan(found["fine"])


def test_a_lead_counts_steps_before_the_practical_change_and_no_alarm_is_a_censored_lag():
    scores = make_scores([0], shift=4.0)
    broken = scores[scores["run"] == "r4"]
    practical = pd.Series({(0, "r4"): 40.0})
    leads = measure_leads(broken, pd.Series({"good": 1.5, "blind": 9.0}), practical)
    found = leads.set_index("detector")
    assert found.at["good", "lead"] == 20 and not found.at["good", "censored"]
    assert found.at["blind", "lead"] == 0 and found.at["blind", "censored"]


def test_the_lead_curve_is_the_share_told_so_early_and_counts_censored_runs():
    leads = pd.DataFrame(
        {"lead": [30.0, 20.0, 0.0, -10.0], "censored": [False, False, False, True]}
    )
    curve = estimate_lead_curve(leads, [40, 30, 20, 0, -20])
    np.testing.assert_allclose(curve, [0, 0.25, 0.5, 0.75, 0.75])


def test_verdicts_are_counted_by_regime():
    runs = pd.DataFrame(
        {"regime": [SOUND, SOUND, "lock-in"], "verdict": ["sound", "lock-in", "lock-in"]}
    )
    assert count_verdicts(runs).loc[SOUND, "lock-in"] == 1


def make_tables():
    behaviour = make_behaviour([0.8, 0.5, 0.1])
    places = behaviour[["run", "step"]].drop_duplicates()
    bad = (places["run"] == "bad").to_numpy()
    share = places["step"].to_numpy() / 40 * bad
    level = np.where(bad, 0.001, 0.6)
    indicators = places.assign(indicator="cvdi", level=level)
    drift = places.assign(kind="emotion", concept="calm", cosine=1 - 0.3 * share)
    rng = np.random.default_rng(0)
    projections = pd.concat(
        [
            places.assign(concept=c, suite="s", split="ood").assign(
                projection=share + 0.01 * rng.standard_normal(len(places))
            )
            for c in ("calm", "sad")
        ]
    )
    return Tables(indicators, behaviour, drift, projections, ("base", 0), ("fine",), 0)


def test_every_detector_scores_the_broken_run_above_the_sound_one_and_never_falls():
    scores = score_study(make_tables())
    assert set(scores["detector"]) == set(list_detectors())
    assert "base" not in set(scores["run"])
    last = scores[scores["step"] == 40].pivot(index="detector", columns="run", values="score")
    assert (last["bad"] > last["fine"]).all(), last
    for _, run in scores.groupby(["detector", "run"]):
        assert run["score"].is_monotonic_increasing


def test_fewer_sampled_replies_are_noisier():
    errors = {}
    for n in SAMPLED:
        score = list_detectors()[f"evals, {n} sampled"]
        drawn = [score(make_tables()._replace(seed=s))[("fine", 40)] for s in range(12)]
        errors[n] = np.mean(drawn)
    assert errors[20] > errors[50] > errors[200]
    exact = list_detectors()["evals, exact"](make_tables())
    assert exact[("bad", 40)] == pytest.approx(0.8)
