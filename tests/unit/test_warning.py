"""Indicators rise for what they are named for, and alarms compare with healthy training."""

import numpy as np
import pandas as pd
import pytest

from emodrift.warning.alarms import (
    expect_healthy,
    measure_spread,
    raise_alarms,
    set_threshold,
    sum_up,
)
from emodrift.warning.audit import list_alarms, summarise_runs
from emodrift.warning.indicators import INDICATORS, Tables, compute_indicators

SECTION = {
    "caution": "caution",
    "refusal": "refusal",
    "benign": "over_refusal",
    "eagerness": "eagerness",
    "eager_metrics": ["boundary_pushing"],
    "seen_split": "train_like",
    "unseen_splits": ["ood", "adversarial"],
}
METRICS = {
    "refusal": {"suite": "harmful", "toward": "refuse", "desired": "more"},
    "over_refusal": {"suite": "benign", "toward": "refuse", "desired": "less"},
}
ALARMS = {"false_alarm_rate": 0.1, "consecutive": 2, "slack": 0.5}
REFERENCE = {"run": "base", "stage": "sft", "step": 0}


def make_tables(**changed):
    """Two checkpoints: 0 is the reference, 1 carries the changed values."""
    sound = {
        "rise": 2.0,
        "log_odds": 3.0,
        "eager": 1.0,
        "rank": 4.0,
        "similarity": 0.1,
        "size": 0.2,
        "seen": 2.0,
        "unseen": 1.0,
        "corrected": 1.0,
        "refusal": 0.9,
        "over_refusal": 0.1,
    }
    evocation, coupling, knobs, drift, behaviour = [], [], [], [], []
    for number, v in enumerate((sound, sound | changed)):
        for split in ("all", "train_like", "ood", "adversarial"):
            rise = v["rise"]
            if split != "all":
                rise = v["unseen" if split in ("ood", "adversarial") else "seen"]
            evocation.append(
                dict(checkpoint=number, concept="caution", split=split, rise=rise, rise_se=0.1)
            )
        for concept, metric, value in (
            ("caution", "refusal", v["log_odds"]),
            ("eagerness", "boundary_pushing", v["eager"]),
        ):
            coupling.append(
                dict(checkpoint=number, concept=concept, metric=metric, split="all")
                | dict(log_odds=value, log_odds_se=0.2)
            )
        knobs.append(
            dict(checkpoint=number)
            | {k: v[k] for k in ("rank", "similarity", "size")}
            | dict(rank_se=0.1, similarity_se=0.05, size_se=0.01)
        )
        drift.append(dict(checkpoint=number, kind="emotion", corrected=v["corrected"]))
        for metric in METRICS:
            for split in ("train_like", "ood"):
                behaviour.append(
                    dict(checkpoint=number, metric=metric, split=split, safety=True)
                    | dict(probability=v[metric], low=v[metric], high=v[metric])
                )
    return Tables(*(pd.DataFrame(t) for t in (drift, evocation, coupling, knobs, behaviour)))


def indicate(**changed):
    values, _ = compute_indicators(make_tables(**changed), SECTION, METRICS, 0)
    wide = values.pivot(index="indicator", columns="checkpoint", values="value")
    return wide[0], wide[1]


def test_every_indicator_is_zero_at_the_reference_and_where_nothing_changed():
    reference, later = indicate()
    assert set(reference.index) == set(INDICATORS)
    np.testing.assert_allclose(reference, 0, atol=1e-12)
    np.testing.assert_allclose(later, 0, atol=1e-12)


@pytest.mark.parametrize(("rise", "log_odds"), [(1.0, 3.0), (3.0, 3.0), (2.0, 0), (2.0, 6)])
def test_decoupling_rises_when_evocation_or_effect_changes_either_way(rise, log_odds):
    _, later = indicate(rise=rise, log_odds=log_odds)
    z = [(rise - 2) / 0.1, (log_odds - 3) / 0.2]
    assert later["cvdi"] == pytest.approx(np.sqrt(np.mean(np.square(z))))
    assert later["ebci"] == pytest.approx(0)


def test_collapse_adds_lost_rank_gained_similarity_and_lost_size():
    _, later = indicate(rank=1.0, similarity=0.9, size=0.05)
    assert later["ebci"] == pytest.approx(0.75 + 0.8 + 0.75)
    assert later["cvdi"] == pytest.approx(0)
    assert indicate(rank=8.0, similarity=-0.5, size=0.9)[1]["ebci"] == 0


def test_lock_in_rises_with_the_gap_and_with_drift_that_bought_nothing():
    assert indicate(unseen=0.4)[1]["lock_in"] == pytest.approx(0.6)
    assert indicate(seen=1.0, unseen=0.5)[1]["lock_in"] == pytest.approx(0)
    assert indicate(corrected=0.7)[1]["lock_in"] == pytest.approx(0.3)
    paid = indicate(corrected=0.7, refusal=1.0, over_refusal=0.0)[1]["lock_in"]
    assert paid == pytest.approx(0.3 - 0.1)


def test_eagerness_coupling_is_the_rise_of_its_effect():
    assert indicate(eager=2.5)[1]["eagerness_coupling"] == pytest.approx(1.5)


def make_values(**runs):
    """One indicator; runs by name, step 0 of `base` is the reference."""
    rows = [dict(run="base", step=0, stage="sft", value=0.0)]
    for name, values in runs.items():
        for i, value in enumerate(values):
            rows.append(dict(run=name, step=10 * (i + 1), stage="more", value=value))
    frame = pd.DataFrame(rows).assign(indicator="cvdi", se=1.0)
    return frame.rename_axis("checkpoint").reset_index()


def test_the_cumulative_sum_is_causal_and_forgives():
    np.testing.assert_allclose(sum_up([1, 1, -5, 2], 0.5), [0.5, 1.0, 0, 1.5])
    np.testing.assert_allclose(sum_up([1, 1], 0.5), sum_up([1, 1, 9], 0.5)[:2])


def test_the_healthy_value_is_the_other_healthy_runs_at_that_step():
    values = make_values(a=[1, 3], b=[2, 6], odd=[9, 9]).assign(before=False)
    roles = {"base": "observed", "a": "healthy", "b": "healthy", "odd": "observed"}
    expected = expect_healthy(values, roles)
    assert expected[values["run"] == "odd"].tolist() == [1.5, 4.5]
    assert expected[values["run"] == "a"].tolist() == [2, 6]
    assert expected[values["run"] == "base"].tolist() == [0]


def test_an_alarm_is_raised_for_the_run_that_leaves_and_not_for_its_healthy_twin():
    values = make_values(a=[1, 2, 3, 4], twin=[1.2, 2.1, 2.8, 4.3], odd=[2, 8, 12, 20])
    roles = {"base": "observed", "a": "healthy", "twin": "observed", "odd": "observed"}
    judged = raise_alarms(values, roles, REFERENCE, ALARMS, 0)
    first = judged[judged["alarm"]].groupby("run")["step"].min()
    assert first.to_dict() == {"odd": 40}
    assert not judged.loc[judged["run"] == "base", "alarm"].any()


def test_the_spread_between_healthy_runs_counts_as_noise():
    values = make_values(a=[0, 2, 4], b=[2, 6, 0], odd=[5, 5, 5])
    roles = {"base": "observed", "a": "healthy", "b": "healthy", "odd": "observed"}
    values["before"] = values["run"] == "base"
    assert measure_spread(values, roles) == pytest.approx((2 + 8 + 8) / 3)
    assert measure_spread(values, roles | {"b": "observed"}) == 0
    judged = raise_alarms(values.drop(columns="before"), roles, REFERENCE, ALARMS, 0)
    first = judged[(judged["run"] == "odd") & (judged["step"] == 10)].iloc[0]
    assert first["deviation"] == pytest.approx((5 - 1) / np.sqrt(2 + 6))


def test_consecutive_crossings_are_asked_for():
    values = make_values(a=[0] * 4, odd=[0, 30, -99, 0])
    roles = {"base": "observed", "a": "healthy", "odd": "observed"}
    judged = raise_alarms(values, roles, REFERENCE, ALARMS, 0)
    assert not judged["alarm"].any()
    judged = raise_alarms(values, roles, REFERENCE, ALARMS | {"consecutive": 1}, 0)
    assert judged.loc[judged["alarm"], "step"].tolist() == [20]


def test_with_enough_healthy_checkpoints_the_threshold_is_split_conformal():
    sums = np.arange(1.0, 20.0)
    table = pd.DataFrame({"run": "a", "cusum": sums, "before": False})
    threshold = set_threshold(table, {"a": "healthy"}, ALARMS, 0)
    assert threshold.value == 18
    assert threshold.basis.startswith("split-conformal over 19")


def test_without_healthy_runs_the_simulated_threshold_keeps_the_false_alarm_rate():
    rng = np.random.default_rng(1)
    length, alarms = 6, ALARMS | {"consecutive": 1}
    table = pd.DataFrame({"run": ["a"] * length, "cusum": 0.0, "before": False})
    threshold = set_threshold(table, {"a": "observed"}, alarms, 0)
    runs = rng.standard_normal((2000, length))
    raised = np.mean([sum_up(run, 0.5).max() > threshold.value for run in runs])
    assert raised == pytest.approx(0.1, abs=0.025)


def test_a_study_of_the_reference_alone_raises_nothing():
    values = make_values().assign(run="base")
    judged = raise_alarms(values, {"base": "observed"}, REFERENCE, ALARMS, 0)
    assert not judged["alarm"].any()


def test_an_alarm_names_evidence_prompts_and_behaviour():
    tables = make_tables(rise=0.0)
    _, components = compute_indicators(tables, SECTION, METRICS, 0)
    values = make_values(odd=[9.0, 9.0]).iloc[:2]
    judged = raise_alarms(
        values, {"base": "observed", "odd": "observed"}, REFERENCE, ALARMS | {"consecutive": 1}, 0
    )
    prompts = pd.DataFrame(
        [
            dict(checkpoint=c, id=i, suite="harmful", split="ood", projection=0.0, log_odds=o)
            for c in (0, 1)
            for i, o in (("still", 1.0), ("moved", 5.0 - 7 * c))
        ]
    )
    (alarm,) = list_alarms(judged, components, tables.behaviour, prompts, 0)
    assert (alarm["run"], alarm["step"]) == ("odd", 10)
    evidence = {e["component"]: (e["value"], e["reference"]) for e in alarm["evidence"]}
    assert evidence["evocation"] == (0.0, 2.0)
    assert alarm["prompts_that_changed_most"][0]["id"] == "moved"
    assert {b["metric"] for b in alarm["behaviour"]} == set(METRICS)
    summary = summarise_runs(judged, {"base": "observed", "odd": "observed"})
    assert summary[1]["first_alarm"] == {"cvdi": 10}
