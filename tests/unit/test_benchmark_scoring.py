"""Detectors are scored run by run, with thresholds from other seeds, and their lead is censored."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from benchmarks import real_model
from benchmarks.warning import INDEX, PAGE, TABLES, answer, fill_page, list_equal, list_first
from emodrift.benchmark.comparison import (
    ComparisonInputs,
    ComparisonParams,
    compare_seeds,
    list_thresholds,
)
from emodrift.benchmark.detectors import (
    AGAINST_SOUND,
    OWN_LINE,
    SAMPLED,
    WITH_EVALS,
    list_detectors,
    score_study,
)
from emodrift.benchmark.monitor import NAME, describe_profile, score_monitor
from emodrift.benchmark.rivals import (
    measure_cka,
    measure_kl,
    measure_loss,
    measure_shift,
    measure_weights,
)
from emodrift.benchmark.scoring import (
    SOUND,
    compare_detectors,
    count_practical,
    count_verdicts,
    cross_detectors,
    estimate_lead_curve,
    find_practical_change,
    measure_leads,
    race_detectors,
    set_thresholds,
    summarise_leads,
    trace_rocs,
)
from emodrift.benchmark.signals import list_crossings
from emodrift.benchmark.tables import Tables
from emodrift.drift.table import read_table, write_table
from emodrift.show.figure import draw_figure
from emodrift.show.figures import list_figures
from validation.parts import MARKED

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
        for run, change in (("fine", 0.02), ("fine too", 0.01)):
            rows.append((run, step, "refusal", "ood", 0.9 - change, True))
            rows.append((run, step, "over_refusal", "ood", 0.1 + change, True))
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


def make_probabilities(behaviour):
    """Draws whose errors are .01."""
    rng = np.random.default_rng(3)
    found = {}
    for (metric, split), rows in behaviour.groupby(["metric", "split"]):
        noise = rng.normal(0, 0.01, (len(rows), 50))
        draws = rows["probability"].to_numpy()[:, None] + np.insert(noise, 0, 0.0, axis=1)
        found |= {(metric, "all"): draws, (metric, split): draws}
    return found


def test_evals_are_held_against_sound_runs_of_the_same_step():
    tables = make_tables()
    for name in (AGAINST_SOUND, f"{AGAINST_SOUND}, by split"):
        score = list_detectors()[name].score(tables)
        assert "base" not in score.index.get_level_values("run")
        assert score["fine", 40] < 0.5 < score["bad", 10] < score["bad", 20]
    drifting = {
        key: draws + 0.01 * tables.places["step"].to_numpy()[:, None] * (key[0] == "refusal")
        for key, draws in tables.probabilities.items()
    }
    detector = list_detectors()[AGAINST_SOUND]
    moved = detector.score(tables._replace(probabilities=drifting))
    assert moved["fine", 40] == pytest.approx(detector.score(tables)["fine", 40])


def test_evals_have_a_line_of_their_own_by_the_null_of_emodrifts_parts():
    level = np.exp(-list_detectors()[OWN_LINE].score(make_tables()))
    assert level["bad", 40] < 0.1 < level["fine", 40] <= 1
    assert level["bad", 40] <= level["bad", 20] <= level["bad", 10]


def test_sampled_evals_see_less_of_a_change_the_fewer_replies_there_are():
    scores = {}
    for n in SAMPLED:
        detector = list_detectors()[f"evals, {n} sampled, against sound runs"]
        drawn = [detector.score(make_tables()._replace(seed=s)) for s in range(12)]
        scores[n] = np.mean([score["bad", 20] - score["fine", 20] for score in drawn])
    assert 0 < scores[20] < scores[200]


def test_deviations_of_vectors_and_of_evals_add_up():
    tables = make_tables()
    of = {name: list_detectors()[name].score(tables) for name in (WITH_EVALS, AGAINST_SOUND)}
    cvdi = list_detectors()["emodrift, cvdi alone"].score(tables)
    for run in ("bad", "fine"):
        together = np.maximum.accumulate(cvdi[run]) + np.maximum.accumulate(of[AGAINST_SOUND][run])
        np.testing.assert_allclose(of[WITH_EVALS][run].loc[[10, 20, 40]], together)


def make_tables():
    behaviour = make_behaviour([0.8, 0.5, 0.1])
    places = behaviour[["run", "step"]].drop_duplicates()
    bad = (places["run"] == "bad").to_numpy()
    share = places["step"].to_numpy() / 40 * bad
    level = np.where(bad, 0.001, 0.6)
    indicators = pd.concat(
        [
            places.assign(indicator=name, level=level, deviation=5.0 * share)
            for name in ("cvdi", "ebci", "lock_in", "eagerness_coupling")
        ]
    )
    kinds = dict.fromkeys(("policy_collapse", "safety_regression"), 0.0)
    course = places.assign(**kinds, lock_in=2 * share, alarmed=share >= 0.5)
    course = course.assign(refusal_seen=0.0, refusal_unseen=-0.5 * share, refusal_benign=0.0)
    names = ("drift", "least cosine", "cka", "kl", "pca", "weights", "loss")
    signals = pd.concat([places.assign(signal=name, value=0.3 * share) for name in names])
    rng = np.random.default_rng(0)
    projections = pd.concat(
        [
            places.assign(concept=c, suite="s", split="ood").assign(
                projection=share + 0.01 * rng.standard_normal(len(places))
            )
            for c in ("calm", "sad")
        ]
    )
    return Tables(
        indicators,
        course,
        behaviour,
        projections,
        make_probabilities(behaviour),
        places.assign(stage="later").reset_index(drop=True),
        signals,
        ("base", 0),
        ("fine", "fine too"),
        0,
    )


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
        drawn = [score.score(make_tables()._replace(seed=s))[("fine", 40)] for s in range(12)]
        errors[n] = np.mean(drawn)
    assert errors[20] > errors[50] > errors[200]
    exact = list_detectors()["evals, exact"].score(make_tables())
    assert exact[("bad", 40)] == pytest.approx(0.8)


def test_activations_that_are_turned_or_scaled_are_aligned_and_shuffled_ones_are_not():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((200, 6)) * np.arange(1, 7)
    turned = hidden @ np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert measure_cka(3 * turned + 1, hidden) == pytest.approx(1)
    assert measure_cka(rng.permutation(hidden), hidden) < 0.2


def test_a_shift_counts_in_standard_deviations_of_the_reference():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((500, 3)) * [10, 1, 0.1]
    assert measure_shift(hidden, hidden) == 0
    one = measure_shift(hidden + np.array([10, 0, 0]), hidden)
    assert one == pytest.approx(1 / np.sqrt(3), rel=0.1)
    assert measure_shift(hidden + np.array([0, 0, 0.1]), hidden) == pytest.approx(one, rel=0.1)


def test_divergence_is_that_of_the_distributions_over_classes():
    now, then = np.log([[0.9, 0.1]]) + 3, np.log([[0.5, 0.5]])
    wanted = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)
    assert measure_kl(now, then) == pytest.approx(wanted)
    assert measure_kl(then + 1, then) == pytest.approx(0)


def test_weights_and_loss_are_read_off_the_checkpoint_folder(tmp_path):
    for name, value in (("a", 1.0), ("b", 1.5)):
        (tmp_path / name).mkdir()
        save_file({"w": np.full(4, value, np.float32)}, tmp_path / name / "model.safetensors")
    assert measure_weights(tmp_path / "b", tmp_path / "a") == pytest.approx(0.5)
    log = [{"loss": 2.0, "step": 10}, {"loss": 1.5, "step": 20}, {"train_loss": 9.0}]
    (tmp_path / "a/trainer_state.json").write_text(json.dumps({"log_history": log}))
    (tmp_path / "b/trainer_state.json").write_text(json.dumps({"log_history": []}))
    assert measure_loss(tmp_path / "a") == pytest.approx(0.5)
    assert np.isnan(measure_loss(tmp_path / "b"))


def make_profiles(seeds):
    """Runs of two failures that share a direction, and of sound ones that go another way."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in seeds:
        for run, regime in enumerate([SOUND, SOUND, "lock-in", "collapse"]):
            along = {SOUND: (0, 1), "lock-in": (1, 0.3), "collapse": (1, -0.3)}[regime]
            for step in STEPS:
                for feature, rise in zip("ab", along, strict=True):
                    value = rise * step / 40 + 0.1 * rng.standard_normal()
                    rows.append((seed, regime, f"r{run}", step, feature, value))
    columns = ["seed", "regime", "run", "step", "feature", "value"]
    return pd.DataFrame(rows, columns=columns)


def test_the_monitor_tells_a_failure_that_it_was_never_shown_on_a_seed_that_it_never_saw():
    found = score_monitor(make_profiles(range(6)), [0, 1, 2])
    assert set(found["seed"]) == set(range(6)) and set(found["detector"]) == {NAME}
    last = found[(found["step"] == 40) & (found["seed"] > 2)]
    broken = last["regime"] != SOUND
    assert last.loc[broken, "score"].min() > last.loc[~broken, "score"].max()


def test_a_monitor_that_has_one_kind_of_failure_alone_learns_nothing():
    profiles = make_profiles(range(4))
    assert score_monitor(profiles[profiles["regime"] != "collapse"], [0, 1]).empty


def test_a_profile_is_the_change_of_projections_by_concept_and_suite():
    projections = make_tables().projections
    found = describe_profile(projections, ("base", 0))
    last = found[(found["run"] == "bad") & (found["step"] == 40)]
    assert set(last["feature"]) == {"calm on s", "sad on s"} and "base" not in set(found["run"])
    np.testing.assert_allclose(last["value"], 1, atol=0.1)


def test_a_fixed_line_stays_whatever_sound_runs_do():
    scores = score_study(make_tables()).assign(seed=0)
    scores["regime"] = np.where(scores["run"] == "bad", "lock-in", SOUND)
    found = list_thresholds(scores, 0.1).set_index("detector")
    assert found.at["cosine below .95", "threshold"] == pytest.approx(0.05)
    assert found.at["emodrift", "threshold"] == pytest.approx(-np.log(0.1))
    assert found["fixed"].sum() == 5
    assert found.at["emodrift, calibrated", "threshold"] == pytest.approx(-np.log(0.6))


def test_a_failure_is_named_once_an_alarm_was_raised_and_its_definition_is_met():
    scores = score_study(make_tables())
    lines = list_thresholds(scores.assign(seed=0, regime=SOUND), 0.1).set_index("detector")
    told = scores[scores["score"] > scores["detector"].map(lines["threshold"])]
    first = told[told["run"] == "bad"].groupby("detector")["step"].min()
    assert first["emodrift, failure named"] == 20 and first["refusal's signature"] == 20
    early = make_tables()
    early = early._replace(course=early.course.assign(alarmed=early.course["step"] > 20))
    scores = score_study(early)
    named = (scores["detector"] == "emodrift, failure named") & (scores["run"] == "bad")
    assert list(scores.loc[named, "score"]) == [0, 0, 2]


def test_a_roc_curve_runs_through_the_corner_of_a_detector_that_sees_all():
    curves = trace_rocs(make_scores(range(10))).set_index("detector")
    good, blind = curves.loc["good"], curves.loc["blind"]
    assert ((good["false_alarms"] == 0) & (good["recall"] == 1)).any()
    assert not ((blind["false_alarms"] == 0) & (blind["recall"] == 1)).any()


def test_races_and_leads_say_who_was_first():
    scores = make_scores([0, 1], shift=4.0)
    late = scores[scores["detector"] == "good"].assign(detector="late")
    late["score"] = late["score"] - 2
    lines = pd.Series({"good": 1.5, "late": 1.5, "blind": 9.0})
    race = race_detectors(pd.concat([scores, late]), lines, "late").set_index("detector")
    assert race.loc["good"].tolist() == [4, 0, 0] and race.loc["blind"].tolist() == [0, 0, 4]
    practical = pd.Series({(s, f"r{i}"): 40.0 for s in (0, 1) for i in (4, 5)})
    leads = measure_leads(scores[scores["regime"] != SOUND], lines, practical)
    found = summarise_leads(leads, 0.95, 0).set_index(["detector", "figure"])["value"]
    assert found["good", "ahead"] == 1 and found["good", "median lead"] == 20
    assert found["blind", "in time"] == 0 and found["blind", "median lead"] == -np.inf


def test_runs_that_one_of_two_detectors_tells_are_counted_by_regime():
    scores = make_scores([0, 1], shift=4.0)
    lines = pd.Series({"good": 1.5, "blind": 9.0})
    found = cross_detectors(scores, lines, "good", "blind").set_index("regime")
    assert found.loc["lock-in"].tolist() == [2, 0, 2, 0, 0]
    assert found.loc[SOUND].tolist() == [8, 0, 0, 0, 8]


def test_practical_changes_are_counted_by_regime():
    runs = pd.DataFrame({"regime": [SOUND, "a", "a"], "practical_step": [np.nan, 20, np.nan]})
    found = count_practical(runs).set_index("regime")
    assert found.loc["a"].tolist() == [2, 1, 20] and found.at[SOUND, "changed"] == 0


def write_signals(folder, seed):
    folder.mkdir()
    tables = make_tables()._replace(seed=seed)
    runs = pd.DataFrame({"run": ["bad", "fine"], "verdict": ["lock-in", "sound"]})
    runs["regime"], runs["practical_step"] = ["lock-in", SOUND], [20.0, np.nan]
    runs["alarm_step"] = pd.array([10, pd.NA], "Int64")
    write_table(score_study(tables), folder, "scores")
    write_table(describe_profile(tables.projections, tables.reference), folder, "profiles")
    write_table(runs, folder, "runs")
    crossings = pd.DataFrame({"run": ["bad"], "component": ["gap"], "step": [10]})
    write_table(crossings, folder, "crossings")
    costs = pd.DataFrame({"measurement": ["gradients"], "seconds": [2.0]})
    write_table(costs, folder, "costs")
    return folder


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Entry of a comparison of one calibration and two scoring seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    entries = [write_signals(folder / str(seed), seed) for seed in (201, 101, 102)]
    params = ComparisonParams([201, 101, 102], [201], 0.1, 0.95, 0)
    compare_seeds(params, ComparisonInputs(entries), folder)
    return folder


def test_seeds_are_compared_from_their_signals_alone(compared):
    found = read_table(compared, "detectors").set_index(["detector", "figure"])["value"]
    assert found["emodrift", "auroc"] == 1 and found["emodrift", "recall, lock-in"] == 1
    assert found["CKA", "fpr"] == 0
    leads = read_table(compared, "lead_figures").set_index(["detector", "figure"])
    assert leads.at[("emodrift", "median lead"), "value"] == 10
    assert read_table(compared, "confusion")["runs"].sum() == 4
    runs = read_table(compared, "runs")
    assert set(runs.loc[runs["scored"], "seed"]) == {101, 102}


FIGURES = [name for name, figure in list_figures().items() if "comparison" in figure.reads]


@pytest.mark.parametrize("name", FIGURES)
def test_a_benchmarks_figure_is_drawn_from_the_comparison(name, compared, tmp_path):
    scene = {"reference": {"run": "base", "stage": "sft", "step": 0}}
    draw_figure(name, name, scene, {"comparison": compared}, tmp_path)
    told = json.loads((tmp_path / "figure.json").read_text())["caption"]
    assert "nan" not in told and any(character.isdigit() for character in told)
    assert len(pd.read_csv(tmp_path / "figure.csv"))


def read_tables(compared):
    return {name: read_table(compared, name) for name in TABLES}


def test_detectors_are_compared_where_they_tell_as_many_sound_runs():
    sound = [{"seed": 1, "run": f"s{i}", "regime": SOUND} for i in range(10)]
    failing = [{"seed": 1, "run": r, "regime": "bad"} for r in "ab"]
    runs = pd.DataFrame([*sound, *failing]).assign(scored=True, practical_step=20.0)
    scores = pd.DataFrame(
        [
            {"seed": 1, "run": run, "step": step, "detector": "d", "score": score, "regime": ""}
            for run, step, score in (
                *((f"s{i}", 10, float(i)) for i in range(10)),
                *(("a", 10, 9.5), ("b", 10, 8.5), ("b", 20, 99.0)),
            )
        ]
    )
    (row,) = pd.read_csv(StringIO(list_equal(scores, runs)), sep="|").iloc[1:].to_dict("records")
    told = {k.strip(): v.strip() for k, v in row.items() if "at most" in k}
    assert told == {"at most 2%": "0.50", "at most 5%": "0.50"} | dict.fromkeys(
        ("at most 10%", "at most 20%"), "1.00"
    )


def test_the_index_and_evals_are_compared_by_which_told_a_run_first():
    sound = [{"seed": 1, "run": f"s{i}", "regime": SOUND} for i in range(10)]
    failing = [{"seed": 1, "run": run, "regime": "bad"} for run in "abcd"]
    runs = pd.DataFrame([*sound, *failing]).assign(scored=True, practical_step=20.0)
    firsts = {INDEX: {"a": 10, "b": 20, "c": 20}, AGAINST_SOUND: {"a": 20, "b": 10, "c": 20}}
    rows = [
        {"seed": 1, "run": run["run"], "step": step, "detector": name, "regime": ""}
        | {"score": float(run["run"] in first and step >= first[run["run"]])}
        for name, first in firsts.items()
        for run in (*sound, *failing)
        for step in (10, 20)
    ]
    (row,) = pd.read_csv(StringIO(list_first(pd.DataFrame(rows), runs)), sep="|").iloc[1:].values
    assert [int(cell) for cell in row[2:-1]] == [1, 1, 1, 1]


def test_parts_that_crossed_are_placed_by_run_and_first_step():
    places = [{"run": r, "step": s} for r, s in (("base", 0), ("bad", 5), ("bad", 10), ("bad", 20))]
    components = pd.DataFrame(
        {"checkpoint": [1, 2, 3, 3], "component": ["gap", "gap", "gap", "rank"]}
    ).assign(crossed=[False, True, True, True])
    found = list_crossings(components, places).set_index("component")
    assert found["step"].to_dict() == {"gap": 10, "rank": 20}
    assert set(found["run"]) == {"bad"}
    assert list_crossings(components.assign(crossed=False), places).empty


def test_the_page_says_plainly_whether_a_rival_is_better(compared):
    tables = read_tables(compared)
    assert "no rival has a larger one" in answer(tables)
    detectors = tables["detectors"]
    own = (detectors["detector"] == "emodrift") & (detectors["figure"] == "auroc")
    worse = detectors.assign(value=detectors["value"].mask(own, 0.6))
    assert "have a larger AUROC" in answer(tables | {"detectors": worse})
    races = tables["races"]
    for earlier, later, told in (
        (22, 16, "neither leads"),
        (22, 6, "it leads"),
        (6, 22, "they lead"),
        (0, 0, "neither leads"),
    ):
        raced = races.assign(earlier=earlier, later=later)
        assert told in answer(tables | {"races": raced})


def test_every_part_of_the_page_is_filled_and_the_rest_stays(compared):
    page = PAGE.read_text(encoding="utf-8")
    filled = fill_page(page, read_tables(compared), "planted")
    empty = {m["name"] for m in MARKED.finditer(filled) if "Not yet run" in m[0]}
    assert "the study `planted`" in filled and empty <= {"real"}
    assert MARKED.sub("", filled) == MARKED.sub("", page)
    assert "few seeds settle no order" in filled


def test_on_a_single_series_the_largest_score_of_a_sound_run_is_the_line():
    rows = [("a", 24, 0.1), ("b", 24, 0.2), ("c", 8, 0.15), ("c", 24, 0.3), ("d", 24, 0.05)]
    scores = pd.DataFrame(rows, columns=["run", "step", "score"]).assign(detector="ours")
    silent = scores.assign(detector="silent", score=0.0)
    table = real_model.list_detectors(pd.concat([scores, silent]), ["a", "b"], "start")
    *_, ours, none = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()
    )
    assert ours == ["ours", "0.50", "24", "–"]
    assert none == ["silent", "not applicable", "", ""]


def test_the_distance_of_adapters_is_that_of_what_they_add(tmp_path):
    rng = np.random.default_rng(0)
    down, up = rng.normal(size=(2, 6)), rng.normal(size=(5, 2))
    made = {"reference": (down, up), "same": (2 * down, up / 2), "doubled": (down, 2 * up)}
    for name, (a, b) in made.items():
        (tmp_path / name).mkdir()
        adapter = {"layer.lora_A.weight": a, "layer.lora_B.weight": b}
        save_file(adapter, tmp_path / name / real_model.ADAPTER)
    reference = tmp_path / "reference"
    assert real_model.measure_adapter(tmp_path / "same", reference) == pytest.approx(0)
    assert real_model.measure_adapter(tmp_path / "doubled", reference) == pytest.approx(1)
