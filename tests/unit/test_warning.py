"""Runs are held against sound ones, or against tolerances; alarms, gates and verdicts follow."""

import json
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from emodrift.config.warning import IndicatorName
from emodrift.drift.paired import Component, GrowingPairs, Reading, draw_prompts, gather_nulls
from emodrift.stats.settings import Statistics
from emodrift.warning.audit import (
    IndicatorsInputs,
    IndicatorsParams,
    measure_indicators,
    tell_unjudged,
)
from emodrift.warning.behaviour import list_eval_changes
from emodrift.warning.course import find_onset
from emodrift.warning.evidence import (
    Followed,
    Judged,
    Question,
    follow_parts,
    judge_runs,
    list_judged,
)
from emodrift.warning.gates import Evidence, judge_part
from emodrift.warning.indicators import ALL, INDICATORS, TITLES
from emodrift.warning.indicators.indicator import measure_part
from emodrift.warning.measured import Measured, join_measured, read_measured
from emodrift.warning.sound import (
    Curves,
    compare_run,
    match_sound,
    predict_sound,
    rank_run,
    set_threshold,
)
from emodrift.warning.specificity import judge_specificity
from emodrift.warning.tolerance import accumulate, bet, measure_families
from emodrift.warning.verdicts import (
    CHANGED,
    COLLAPSE,
    EVALS_ALONE,
    KINDS,
    LOCK_IN,
    REGRESSION,
    SOUND,
    Verdict,
    judge_kind,
)
from validation.alarms import (
    LOCK_IN as LOSSES,
)
from validation.alarms import (
    METRICS,
    SETTING,
    SPLITS,
    Amounts,
    Run,
    count_false_alarms,
    judge_planted,
    plant_runs,
    plant_study,
)
from validation.sound_runs import FAILING, Seed, judge_run, tabulate_alarms

BY_NAME = {indicator.name: indicator for indicator in ALL}


def save_paired(readings, components, prompts, kinds, out):
    with GrowingPairs(components, prompts, kinds, out) as paired:
        for reading in readings:
            paired.add(reading)


def list_parts(name):
    return {part.name: part for part in BY_NAME[name].list_parts(SETTING)}


def plant(**runs):
    return plant_study(plant_runs(2, **runs), Amounts(), 0)


def test_indicators_have_names_titles_and_docs_of_their_own():
    assert len(set(INDICATORS)) == len(ALL) == len(set(TITLES.values()))
    for indicator in ALL:
        assert len(indicator.docs) > 40 and indicator.tolerance > 0
        parts = indicator.list_parts(SETTING)
        assert len({part.name for part in parts}) == len(parts)
    assert get_args(IndicatorName) == INDICATORS


def test_every_part_is_zero_at_the_reference_in_all_draws():
    measured, _ = plant()
    for indicator in ALL:
        for part in indicator.list_parts(SETTING):
            np.testing.assert_allclose(measure_part(part, measured)[0], 0, atol=1e-12)


def test_a_part_is_a_share_of_what_the_reference_has():
    measured, _ = plant()
    rise = measured.draws["rise/caution/all"]
    halved = np.stack([rise[0], rise[0] / 2])
    changed = Measured(**{**vars(measured), "draws": {"rise/caution/all": halved}})
    part = list_parts("cvdi")["evocation"]
    assert measure_part(part, changed)[1, 0] == pytest.approx(-0.5)


def test_decoupling_is_the_root_mean_square_and_collapse_counts_losses_alone():
    parts = {"evocation": np.array([-0.3]), "effect": np.array([0.4])}
    assert BY_NAME["cvdi"].combine(parts)[0] == pytest.approx(np.sqrt(0.125))
    parts = {"rank": np.array([0.5]), "similarity": np.array([-0.2]), "size": np.array([0.25])}
    assert BY_NAME["ebci"].combine(parts)[0] == pytest.approx(0.75)


def test_the_gap_opens_where_unseen_kinds_of_prompts_lose_what_seen_ones_keep():
    measured, places = plant(bad=Run(loss=LOSSES))
    gap = measure_part(list_parts("lock_in")["gap"], measured)[:, 0]
    bad = gap[places["run"] == "bad"]
    np.testing.assert_allclose(bad, list(LOSSES.values()), rtol=0.35)
    assert np.abs(gap[places["run"] == "sound-0"]).max() < 0.12


def test_paired_draws_tell_small_differences_that_unpaired_ones_hide():
    measured, _ = plant()
    now, then = measured.draws["rise/caution/all"][[3, 0], 1:]
    assert (now - then).std() < 0.4 * np.hypot(now.std(), then.std())


def plant_prompts():
    rows = [(f"{s}{f}{p}", s, "ood", f"f{f}") for s in "ab" for f in range(3) for p in range(2)]
    names = ("id", "suite", "split", "family")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    coords = {name: ("prompt", np.array(values, "O")) for name, values in columns}
    return xr.DataArray(np.arange(12.0), dims="prompt", coords=coords)


def test_all_checkpoints_draw_the_same_families(tmp_path):
    prompts = plant_prompts()
    one, two = (draw_prompts(prompts, 50, 3) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)
    whole = one.weights.reshape(51, 6, 2)
    np.testing.assert_array_equal(whole[..., 0], whole[..., 1])
    component = Component("x/all", "x", "all", "a", "b")
    draw = one.draw(component, prompts.values)
    assert draw[0] == pytest.approx(prompts.values[:6].mean() - prompts.values[6:].mean())
    assert draw[0] == pytest.approx(one.contrast(component) @ prompts.values)
    reading = Reading({"x": prompts.values}, {"x/all": draw}, {"x/all": np.arange(4.0)})
    save_paired([reading] * 2, [component], one, np.array(["matched"] * 4, "O"), tmp_path)
    read = read_measured([tmp_path], 1)
    np.testing.assert_allclose(read.draws["x/all"], np.stack([draw, draw]), rtol=1e-6)
    assert read.components["x/all"] == component and read.reference == 1


def test_null_counterparts_of_a_bundle_are_groups_of_one_kind():
    locked = xr.Dataset(
        {"null_direction": (("null", "hidden"), np.repeat([[1.0], [2.0]], 300, 0))},
        coords={"null_kind": ("null", np.array(["matched"] * 300 + ["shuffled"] * 300, "O"))},
    )
    nulls = gather_nulls(locked, 3, 0)
    assert nulls.values.shape == (400, 3, 1)
    assert (nulls.values[nulls.kinds == "matched"] == 1).all()
    assert (nulls.values[nulls.kinds == "shuffled"] == 2).all()


def make_curves(value, steps=(1.0, 2.0), error=0.1, seed=0):
    rng = np.random.default_rng(seed)
    value = np.broadcast_to(np.asarray(value, float), (len(steps),))
    draws = value[:, None, None] + error * rng.standard_normal((len(steps), 1, 400))
    draws[..., 0] = value[:, None]
    return Curves(np.array(steps), draws)


def test_runs_are_compared_at_the_same_step_by_interpolation():
    curves = make_curves([1.0, 3.0], steps=(10.0, 30.0))
    np.testing.assert_allclose(curves.interpolate(np.array([5, 15, 40]))[:, 0, 0], [1, 1.5, 3])


def test_the_scale_of_one_more_sound_run_adds_seeds_to_prompts():
    near = [make_curves(0.03 * (-1) ** i, seed=i) for i in range(4)]
    alike = predict_sound(near, np.array([1.0]))
    apart = predict_sound([make_curves(0.5 * i) for i in range(4)], np.array([1.0]))
    assert alike.mean[0, 0] == pytest.approx(0) and apart.mean[0, 0] == 0.75
    assert 0.09 < alike.scale[0, 0] < 0.3
    assert apart.scale[0, 0] > 0.4
    assert predict_sound([make_curves(0.0)], np.array([1.0])).freedom < alike.freedom


def test_a_part_warns_in_its_own_direction_or_never():
    sound = [make_curves(0.03 * (i - 1), seed=i) for i in range(3)]
    falling = make_curves(-2.0)
    rise, fall, never = (compare_run(falling, sound, np.array([s]), 0) for s in (1, -1, 0))
    assert rise.deviation.max() < 0 < 5 < fall.deviation.min()
    assert fall.level[-1] < 0.02 < 0.5 < rise.level[-1]
    assert never.deviation.min() > 5 and (never.level == 1).all()


def test_the_level_never_recovers_and_looks_at_no_later_step():
    sound = [make_curves(0.03 * (i - 1), seed=i) for i in range(3)]
    gone = compare_run(make_curves([2.0, 0.0]), sound, np.array([1]), 0)
    assert gone.level[0] == gone.level[1]
    stays = compare_run(make_curves([2.0, 5.0]), sound, np.array([1]), 0)
    np.testing.assert_allclose(stays.deviation[0], gone.deviation[0])


def test_only_healthy_runs_of_the_same_stage_are_sound_runs():
    runs = dict.fromkeys(("a", "b", "c", "d"))
    roles = {"a": "healthy", "b": "healthy", "c": "observed", "d": "healthy"}
    stages = {"a": "more", "b": "more", "c": "more", "d": "other"}
    assert match_sound("c", stages, roles, runs) == ["a", "b"]
    assert match_sound("a", stages, roles, runs) == ["b"]


def test_ranks_decide_where_sound_runs_are_enough_and_say_what_they_can_attain():
    few, many = set_threshold([0.5] * 4, 0.1), set_threshold(np.arange(1, 20) / 20, 0.1)
    assert few.level == 0.1 and few.attainable == 0.2 and "Student" in few.basis
    assert many.level == pytest.approx(0.1) and many.attainable == 0.05 and "rank" in many.basis
    assert rank_run(0.001, [0.5] * 4) == 0.2 and rank_run(0.9, [0.5] * 4) == 1


@pytest.mark.parametrize(("sound", "steps"), [(2, 3), (4, 12)])
def test_false_alarms_of_planted_sound_runs_keep_their_rate(sound, steps):
    places = np.linspace(20, 160, steps)
    hits, number = count_false_alarms(sound, places, 15, start=10_000, draws=100)
    assert hits <= 4, (hits, number)


def test_runs_are_judged_against_some_sound_runs_by_their_first_checkpoints():
    late = {160: LOSSES[160]}
    measured, places = plant_study(plant_runs(5, bad=Run(loss=late)), Amounts(), 3)
    tolerances = {indicator.name: indicator.tolerance for indicator in ALL}
    question = Question(places, {}, 0.1, 0.95, 3, tolerances)
    followed, _ = follow_parts(ALL, SETTING, measured, 0.95, None)
    sound = [f"sound-{i}" for i in range(5)]
    seed = Seed(followed, measured, question, sound, 3)
    assert judge_run(seed, "bad", sound[:2], 3) and not judge_run(seed, "bad", sound[:2], 2)
    assert not judge_run(seed, sound[0], sound[1:4], 3)


def test_false_alarms_are_counted_apart_from_lock_ins_that_were_told():
    rows = [(2, 3, 301, run, run != "sound-2") for run in ("sound-1", "sound-2", FAILING)]
    judged = pd.DataFrame(rows, columns=["sound runs", "checkpoints", "seed", "run", "alarm"])
    (row,) = tabulate_alarms(judged).splitlines()[2:]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "2", "3", "1 of 2", "0.01 to 0.99", "1 of 1",
    ]  # fmt: skip


@pytest.mark.parametrize("sound", [2, 4])
def test_a_planted_lock_in_is_told_at_step_40(sound):
    first = [
        judge_planted(plant_runs(sound, bad=Run(loss=LOSSES)), Amounts(), seed)
        .set_index("run")
        .at["bad", "first"]
        for seed in range(20_000, 20_006)
    ]
    assert sum(step == 40 for step in first) >= 4 and None not in first


def test_without_sound_runs_a_lock_in_beyond_the_tolerance_is_told_and_sound_runs_are_not():
    amounts = Amounts(families=25)
    runs = {"new": Run(), "bad": Run(loss={40: 0.5, 80: 1.3, 160: 1.6})}
    found = [judge_planted(runs, amounts, seed).set_index("run") for seed in range(6)]
    assert not any(table.at["new", "alarm"] for table in found)
    assert sum(table.at["bad", "alarm"] for table in found) >= 5


def test_a_bet_on_a_tolerable_change_wins_one_at_most_on_average():
    rng = np.random.default_rng(0)
    at_the_line = [bet(rng.uniform(-0.4, 0.9, 30), 0.25) for _ in range(4000)]
    assert np.mean(at_the_line) < 1.1
    assert np.mean(np.array(at_the_line) >= 10) <= 0.1
    beyond = [bet(rng.uniform(0.2, 1, 30), 0.25) for _ in range(20)]
    assert np.median(beyond) > 100


def test_e_values_of_several_checkpoints_are_averaged_and_never_multiplied():
    proof = accumulate(np.full((3, 2), 5.0), planned=3)
    np.testing.assert_allclose(proof, [5 / 3, 10 / 3, 5])


def test_families_of_two_suites_bet_in_pairs_and_their_mean_is_the_change():
    measured, places = plant(bad=Run(loss=LOSSES))
    last = int(places.index[places["run"] == "bad"][-1])
    part = list_parts("lock_in")["gap"]
    groups = measure_families(part, measured, last, 0)
    assert len(groups) == Amounts().families
    assert groups.mean() == pytest.approx(measure_part(part, measured)[last, 0], abs=1e-6)


def test_a_change_that_random_directions_share_is_not_specific():
    rng = np.random.default_rng(0)
    null = rng.standard_normal(200)
    kinds = np.tile(["matched", "shuffled", "control"], 67)[:200]
    assert judge_specificity(-5.0, null, kinds, 0).specific
    assert judge_specificity(-5.0, null, kinds, -1).specific
    assert not judge_specificity(0.5, null, kinds, 0).specific
    assert not judge_specificity(-5.0, null, kinds, 1).specific
    wide = np.where(kinds == "matched", 50 * null, null)
    found = judge_specificity(5.0, wide, kinds, 1)
    assert found.p["shuffled"] < 0.05 < found.p["matched"] and not found.specific
    likewise = np.where(kinds == "control", 5.0, null)
    assert not judge_specificity(5.0, likewise, kinds, 1).specific


def judge(measured, part, agreement=None):
    return judge_part(part, Evidence(measured, SETTING, 0.95, agreement))


def replace(measured, **draws):
    return Measured(**{**vars(measured), "draws": {**measured.draws, **draws}})


def test_a_bundle_that_no_prompt_evokes_is_not_applicable():
    measured, _ = plant()
    part = list_parts("lock_in")["gap"]
    assert judge(measured, part).applies
    rng = np.random.default_rng(0)
    blind = {
        f"auroc/caution/{split}": 0.51 + 0.05 * rng.standard_normal((7, 201)) for split in SPLITS
    }
    verdict = judge(replace(measured, **blind), part)
    assert not verdict.applies and "AUROC of caution" in verdict.reason and verdict.remedy


def test_an_effect_that_matched_directions_reach_is_not_applicable():
    measured, _ = plant()
    part = list_parts("cvdi")["effect"]
    assert judge(measured, part).applies
    slopes = [f"slope/caution/refusal/{split}" for split in SPLITS]
    small = {name: 0.001 * measured.draws[name] for name in slopes}
    verdict = judge(replace(measured, **small), part)
    assert not verdict.applies and "matched directions" in verdict.reason


def test_a_component_without_error_or_of_one_family_is_not_applicable():
    measured, _ = plant()
    part = list_parts("cvdi")["evocation"]
    constant = {"rise/caution/all": np.full((7, 201), 2.0)}
    assert "no sampling error" in judge(replace(measured, **constant), part).reason
    alone = measured.labels | {"family": np.full(len(measured.labels["id"]), "f0")}
    assert "1 prompt family" in judge(Measured(**{**vars(measured), "labels": alone}), part).reason


def test_a_readout_that_the_judge_contradicts_is_not_applicable():
    measured, _ = plant()
    part = list_parts("cvdi")["effect"]
    table = pd.DataFrame([dict(checkpoint=0, auroc=0.58, auroc_low=0.5, auroc_high=0.7)])
    assert "is 0.58 (0.50 to 0.70)" in judge(measured, part, table).reason
    assert judge(measured, part, table.assign(auroc_low=0.51)).applies
    assert judge(measured, part, table.assign(checkpoint=1)).applies
    alike = table.assign(auroc=np.nan, auroc_low=np.nan, auroc_high=np.nan)
    assert "all judged to be of one class" in judge(measured, part, alike).reason


def test_what_is_not_measured_is_not_applicable_and_says_so():
    measured, _ = plant()
    draws = {k: v for k, v in measured.draws.items() if k != "rise/caution/ood"}
    verdict = judge(Measured(**{**vars(measured), "draws": draws}), list_parts("lock_in")["gap"])
    assert not verdict.applies and "rise/caution/ood" in verdict.reason


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (LOCK_IN, dict(gap=0.6, refusal_seen=0.0, refusal_unseen=-0.5)),
        (COLLAPSE, dict(refusal_benign=0.9, size=0.7, named_effects=0.7)),
        (REGRESSION, dict(refusal_seen=-0.9, refusal_unseen=-0.9, effect=-0.4)),
        (REGRESSION, dict(refusal_seen=-0.9, refusal_unseen=-0.9, named_effects=0.9, size=0.9)),
        (CHANGED, dict(evocation=0.3, gap=0.05)),
    ],
)
def test_a_signature_is_told_by_its_definition(kind, sizes):
    verdict = judge_kind(sizes, True, 0.0)
    assert verdict.kind == kind and verdict.margin > 0 and verdict.evidence
    assert judge_kind(sizes, False, 0.4).kind == SOUND


def write_study(tmp_path, runs, families=10):
    """Entries of evocation and coupling with planted draws."""
    measured, places = plant_study(runs, Amounts(families=families), 0)
    checkpoints = len(places)
    parts = {"evocation": [], "coupling": []}
    for name, component in measured.components.items():
        of = "evocation" if name.startswith(("rise", "auroc")) else "coupling"
        parts[of].append(component)
    prompts = draw_prompts(
        xr.DataArray(
            np.zeros(len(measured.labels["id"])),
            dims="prompt",
            coords={n: ("prompt", v.astype(object)) for n, v in measured.labels.items()},
        ),
        200,
        0,
    )
    folders = {}
    for of, components in parts.items():
        folders[of] = tmp_path / of
        folders[of].mkdir()
        quantities = {c.quantity for c in components if c.quantity}
        readings = [
            Reading(
                {q: measured.values[q][i] for q in sorted(quantities)},
                {c.name: measured.draws[c.name][i] for c in components},
                {c.name: measured.nulls[c.name][i] for c in components},
            )
            for i in range(checkpoints)
        ]
        kinds = measured.null_kinds.astype(object)
        save_paired(readings, components, prompts, kinds, folders[of])
    rows = [
        dict(checkpoint=c, id=i, suite="harmful", split="ood", projection=0.0, log_odds=o)
        for c in range(checkpoints)
        for i, o in (("still", 1.0), ("moved", 5.0 - c))
    ]
    pd.DataFrame(rows).to_parquet(folders["evocation"] / "prompts.parquet")
    rows = [
        dict(checkpoint=c, metric=m, split="ood", probability=0.9, low=0.8, high=1.0)
        for c in range(checkpoints)
        for m in METRICS
    ]
    pd.DataFrame(rows).to_parquet(folders["coupling"] / "behaviour.parquet")
    return folders, places


def write_audit(tmp_path, runs):
    folders, places = write_study(tmp_path, runs)
    section = {
        "caution": SETTING.caution,
        "refusal": SETTING.refusal,
        "benign": SETTING.benign,
        "eagerness": SETTING.eagerness,
        "eager_metrics": SETTING.eager_metrics,
        "seen_split": SETTING.seen,
        "unseen_splits": SETTING.unseen,
    }
    params = IndicatorsParams(
        checkpoints=places.assign(tokens=None).to_dict("records"),
        reference=0,
        seed=0,
        statistics=Statistics(draws=100, level=0.95),
        indicators=section,
        metrics=METRICS,
        roles={"base": "healthy"} | {n: r.role for n, r in runs.items()},
        alarms={"false_alarm_rate": 0.1},
    )
    measure_indicators(params, IndicatorsInputs(**folders), tmp_path)
    return json.loads((tmp_path / "audit.json").read_text())


def test_the_audit_says_when_what_which_prompts_and_what_to_do(tmp_path):
    audit = write_audit(tmp_path, plant_runs(3, new=Run(), bad=Run(loss=LOSSES)))
    runs = {run["run"]: run for run in audit["runs"]}
    assert runs["new"]["verdict"] == SOUND and runs["new"]["alarm_step"] is None
    bad = runs["bad"]
    assert bad["alarm_step"] == 40 and bad["first_alarm"]["lock_in"] in (40, 80)
    assert bad["attainable"] == 0.25 and "could not be below 0.25" in bad["sentence"]
    assert bad["prompts"][0]["id"] == "moved" and bad["next_steps"]
    assert {b["metric"] for b in bad["behaviour"]} == set(METRICS)
    assert any(
        "harm evokes caution less on prompts unlike" in sentence for sentence in bad["evidence"]
    )
    (alarm, *_) = [a for a in audit["alarms"] if a["indicator"] == "lock_in"]
    assert alarm["run"] == "bad" and alarm["specific"] is True
    assert alarm["deviation"] > alarm["threshold"] and "Student" in alarm["threshold_basis"]
    values = pd.read_parquet(tmp_path / "indicators.parquet")
    assert set(values["indicator"]) == set(INDICATORS)
    shown = values[values["run"] != "base"]
    assert (shown["low"] <= shown["high"]).all() and shown["se"].notna().all()
    parts = pd.read_parquet(tmp_path / "components.parquet")
    judged = parts[(parts["run"] != "base") & parts["applicable"]]
    without = judged["threshold"].isna()
    assert set(judged.loc[without, "component"]) == {
        "effect",
        "size",
        "named_effects",
        "eager_slope",
    }
    assert not judged.loc[without, "crossed"].any()


def test_the_verdict_is_told_at_every_checkpoint_and_the_last_is_the_runs(tmp_path):
    audit = write_audit(tmp_path, plant_runs(3, new=Run(), bad=Run(loss=LOSSES)))
    course = pd.read_parquet(tmp_path / "course.parquet")
    last = course.groupby("run")["verdict"].last()
    for run in audit["runs"]:
        assert run["verdict"] in (last.get(run["run"]), "not judged")
        steps = course.loc[course["run"] == run["run"]].set_index("step")
        if run["alarm_step"] is not None:
            assert (steps["alarmed"] == (steps.index >= run["alarm_step"])).all()
        if run["verdict_step"] is not None:
            named = steps.loc[run["verdict_step"] :, "verdict"]
            assert set(named) == {run["verdict"]} <= set(KINDS)
        else:
            assert run["verdict"] not in KINDS


def plant_refusal(refusal, sound):
    """Measured probability of refusal by run, three checkpoints each, errors .01; and places."""
    rng = np.random.default_rng(0)
    runs = {"base": [0.8]} | refusal
    places = pd.DataFrame(
        [
            {"run": run, "stage": "more" if run in refusal else "sft", "step": 10 * i}
            for run, values in runs.items()
            for i in range(len(values))
        ]
    )
    values = np.concatenate(list(runs.values()))
    draws = values[:, None] + np.insert(rng.normal(0, 0.01, (len(values), 40)), 0, 0.0, axis=1)
    names = [f"probability/refusal/{split}" for split in ("all", "ood")]
    components = {n: Component(n, "probability/refusal", n.rpartition("/")[2]) for n in names}
    of_split = dict(zip(names, (draws, draws - 0.1), strict=True))
    measured = Measured(of_split, {}, np.array([]), {}, components, {}, 0)
    roles = {run: "healthy" if run in sound else "observed" for run in runs}
    return measured, places, roles


def test_evals_that_left_sound_runs_by_what_matters_are_told():
    refusal = {"a": [0.8, 0.82, 0.84], "b": [0.8, 0.81, 0.82], "bad": [0.8, 0.7, 0.4]}
    measured, places, roles = plant_refusal(refusal, ("a", "b"))
    found = list_eval_changes(measured, METRICS, places, roles, list_judged(places, 0))
    assert [len(changes) for changes in found["bad"]] == [0, 0, 1]
    assert not any(found["a"]) and not any(found["b"])
    (change,) = found["bad"][-1]
    assert change.describe() == "refusal is 0.40, where sound runs show 0.83"
    measured, places, roles = plant_refusal({"bad": [0.8, 0.5]}, ())
    alone = list_eval_changes(measured, METRICS, places, roles, list_judged(places, 0))
    (change,) = alone["bad"][-1]
    assert change.describe() == "refusal is 0.50, where the reference has 0.80"


def test_a_run_without_an_alarm_whose_evals_changed_is_not_sound():
    told = ["refusal is 0.40, where sound runs show 0.83"]
    assert judge_kind({}, False, 0.4, told).kind == EVALS_ALONE
    assert told[0] in judge_kind({}, False, 0.4, told).evidence
    assert judge_kind({}, True, 0.4, told).kind == CHANGED


def test_the_onset_of_a_verdict_is_where_it_stands_for_good():
    def of(*kinds):
        return find_onset([Verdict(kind, 1.0, {}, []) for kind in kinds])

    assert of(SOUND, LOCK_IN, LOCK_IN) == 1 and of(LOCK_IN) == 0
    assert of(LOCK_IN, COLLAPSE, LOCK_IN) == 2
    assert of(LOCK_IN, CHANGED) is None and of(SOUND) is None


def test_a_study_of_the_reference_alone_raises_nothing(tmp_path):
    audit = write_audit(tmp_path, {})
    assert [run["verdict"] for run in audit["runs"]] == ["not judged"] and audit["alarms"] == []


def test_alarms_do_not_depend_on_the_order_of_runs():
    runs = plant_runs(3, bad=Run(loss=LOSSES))
    measured, places = plant_study(runs, Amounts(), 0)
    roles = {"base": "observed"} | {n: r.role for n, r in runs.items()}
    question = Question(places, roles, 0.1, 0.95, 0, {i.name: i.tolerance for i in ALL})
    followed, _ = follow_parts(ALL, SETTING, measured, 0.95, None)
    found = judge_runs(followed, measured, question)
    order = np.concatenate([[0], np.arange(len(places))[:0:-1]])
    turned = Measured(
        **{
            **vars(measured),
            "draws": {k: v[order] for k, v in measured.draws.items()},
            "nulls": {k: v[order] for k, v in measured.nulls.items()},
            "values": {k: v[order] for k, v in measured.values.items()},
        }
    )
    question = Question(
        places.iloc[order].reset_index(drop=True), roles, 0.1, 0.95, 0, question.tolerances
    )
    again, _ = follow_parts(ALL, SETTING, turned, 0.95, None)
    other = judge_runs(again, turned, question)
    for run, evidence in found.items():
        np.testing.assert_allclose(other[run].deviation, evidence.deviation)
        np.testing.assert_array_equal(other[run].crossed, evidence.crossed)


def test_entries_that_were_asked_different_prompts_are_not_joined(tmp_path):
    folders, _ = write_study(tmp_path, {})
    one = xr.open_zarr(folders["evocation"] / "paired.zarr", consolidated=False).load()
    other = one.assign_coords(id=("prompt", one["id"].values[::-1]))
    with pytest.raises(Exception, match="different prompts"):
        join_measured([one, other], 0)


def test_a_quiet_run_is_not_called_sound_where_nothing_of_caution_can_be_followed():
    def judge_by(part, crossed):
        followed = [Followed(None, part, np.zeros((2, 3)), np.zeros((2, 3)))]
        run = SimpleNamespace(crossed=np.array([[False], [crossed]]))
        return tell_unjudged("run", Judged(followed, [], {"run": run}))

    rank, (evocation, effect) = list_parts("ebci")["rank"], list_parts("cvdi").values()
    assert "no part that follows caution" in judge_by(rank, crossed=False)
    assert judge_by(rank, crossed=True) is None
    assert judge_by(evocation, crossed=False) is None
    assert "no part that raises alarms" in judge_by(effect, crossed=False)
