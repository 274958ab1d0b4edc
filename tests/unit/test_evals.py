"""Evals of other tools find their checkpoints, and how indicators and they go together is told."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from emodrift.config.evals import Evals, EvalSource
from emodrift.drift.table import write_table
from emodrift.errors import EmodriftError
from emodrift.evals.columns import read_csv
from emodrift.evals.inspect_logs import read_inspect
from emodrift.evals.joining import Place, join_checkpoint
from emodrift.evals.measuring import gather_evals, measure_evals
from emodrift.evals.readers import keep_longest, read_every_eval_ever, read_lm_eval, read_trainer
from emodrift.evals.records import Reading, Told
from emodrift.evals.relations import (
    correlate,
    correlate_all,
    find_disagreements,
    find_leads,
    mark_worse,
    name_prompts,
)
from emodrift.evals.verdicts import compare_runs, tell_audit
from tests.conftest import ROOT
from tests.tables import make_audit
from tests.tables import make_tables as make_study_tables

RECORDED = ROOT / "tests" / "data" / "evals"
PLACES = [Place("sft", step, "sft", f"w{step}", f"runs/sft/checkpoint-{step}") for step in (0, 10)]
HUB = [Place("pythia", s, "base", f"p{s}", repo="org/pythia", commit=f"c{s}") for s in (0, 1000)]


# Readers


def test_lm_evals_results_are_read_with_errors_counts_direction_and_samples():
    (path,) = RECORDED.glob("lm-eval/*/results_*.json")
    (reading,) = read_lm_eval(path)
    scores = {s.metric: s for s in reading.scores}
    assert set(scores) == {"acc", "acc_norm"}
    assert scores["acc"].value == 0.5 and scores["acc"].se == pytest.approx(0.2236, abs=1e-4)
    assert (scores["acc"].n, scores["acc"].higher_is_better) == (6, True)
    assert reading.told.model == "runs/sft/checkpoint-0"
    of_acc = [a for a in reading.answers if a.metric == "acc"]
    assert len(of_acc) == 6 and np.mean([a.value for a in of_acc]) == 0.5
    assert of_acc[0].prompt == "May I open this door?"


def test_lm_evals_filters_and_subfolders_are_told_apart(tmp_path):
    path = tmp_path / "results_2026-01-01.json"
    results = {"exact_match,strict-match": 0.2, "exact_match_stderr,strict-match": "N/A"}
    path.write_text(
        json.dumps(
            {
                "results": {"gsm8k": {"alias": "gsm8k", **results}},
                "config": {"model_args": "pretrained=org/m,subfolder=a,revision=step5"},
            }
        )
    )
    (reading,) = read_lm_eval(path)
    assert reading.scores[0][:4] == ("gsm8k", "exact_match,strict-match", 0.2, None)
    assert reading.told == Told("org/m/a", "step5", None)


def test_inspects_logs_are_read_with_grades_as_numbers():
    (reading,) = read_inspect(RECORDED / "inspect.json")
    (score,) = reading.scores
    assert score[:5] == ("tiny_refusal", "includes/accuracy", 0.75, 0.25, 4)
    assert reading.told.model == "runs/sft/checkpoint-10"
    assert [a.value for a in reading.answers] == [1, 1, 0, 1]
    assert reading.answers[2].response == "yes"


def test_an_inspect_log_that_failed_or_was_never_scored_says_nothing(tmp_path, caplog):
    log = json.loads((RECORDED / "inspect.json").read_text())
    log["results"]["scores"][0]["metrics"]["accuracy"]["value"] = float("nan")
    (tmp_path / "nan.json").write_text(json.dumps(log))
    assert read_inspect(tmp_path / "nan.json")[0].scores == []
    (tmp_path / "failed.json").write_text(json.dumps(log | {"status": "error"}))
    assert read_inspect(tmp_path / "failed.json") == []
    assert "its status is error" in caplog.text


def test_a_record_that_every_eval_ever_made_says_what_lm_eval_said():
    (record,) = read_every_eval_ever(RECORDED / "every-eval-ever/tiny_refusal.json")
    (folder,) = (RECORDED / "lm-eval").iterdir()
    (original,) = read_lm_eval(next(folder.glob("results_*.json")))
    assert record.told.model == original.told.model == "runs/sft/checkpoint-0"
    for ours, theirs in zip(record.scores, original.scores, strict=True):
        assert ours._replace(se=None) == theirs._replace(se=None)
        assert ours.se == pytest.approx(theirs.se)
    assert len(record.answers) == len(original.answers) == 12
    kept = [{(a.task, a.metric, a.id, a.prompt): a.value for a in r.answers}
            for r in (record, original)]  # fmt: skip
    assert kept[0] == kept[1]


def test_records_of_every_eval_ever_tell_direction_and_error(tmp_path):
    path = tmp_path / "record.json"
    result = {
        "evaluation_name": "choice",
        "source_data": {"dataset_name": "xstest"},
        "metric_config": {"evaluation_description": "compliance", "lower_is_better": True},
        "score_details": {
            "score": 0.3,
            "uncertainty": {
                "confidence_interval": {"lower": 0.1, "upper": 0.5, "confidence_level": 0.95},
                "num_samples": 40,
            },
        },
    }
    about = {"name": "m", "id": "runs/sft/checkpoint-10"}
    path.write_text(json.dumps({"model_info": about, "evaluation_results": [result]}))
    (reading,) = read_every_eval_ever(path)
    (score,) = reading.scores
    assert (score.task, score.metric, score.value, score.n) == ("xstest", "compliance", 0.3, 40)
    assert score.se == pytest.approx(0.2 / 1.96, rel=1e-3) and score.higher_is_better is False
    assert reading.told.model == "runs/sft/checkpoint-10"


def write_state(folder, steps):
    folder.mkdir(parents=True)
    history = [{"step": s, "loss": 1 / (s + 1), "epoch": 0.1, "learning_rate": 0.1} for s in steps]
    history += [{"step": s, "eval_loss": 2.0, "eval_runtime": 1.0} for s in steps]
    state = {"global_step": max(steps), "log_history": history}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder / "trainer_state.json"


def test_a_trainers_history_is_that_of_its_last_checkpoint(tmp_path):
    paths = [write_state(tmp_path / f"checkpoint-{n}", range(0, n + 1, 10)) for n in (10, 30)]
    (last,) = keep_longest(paths)
    assert last == paths[1]
    readings = read_trainer(last)
    assert [r.told.step for r in readings] == [0, 10, 20, 30]
    assert readings[1].told.model == str(tmp_path / "checkpoint-10")
    cells = {(s.task, s.metric): s for s in readings[1].scores}
    assert set(cells) == {("train", "loss"), ("eval", "loss")}
    assert cells["eval", "loss"].higher_is_better is False


def csv_source(**more):
    return EvalSource(**{"path": "x.csv", "format": "csv", **more})


def test_answers_in_a_csv_are_averaged_and_labels_are_numbers(tmp_path):
    path = tmp_path / "checkpoint-10" / "xstest.csv"
    path.parent.mkdir()
    labels = ["1_full_compliance", "2_full_refusal", "2_full_refusal", None]
    frame = pd.DataFrame({"prompt": list("abcd"), "completion": "x", "final_label": labels})
    frame.to_csv(path, index=False)
    source = csv_source(
        task="xstest",
        metric="refusal",
        columns={"value": "final_label", "prompt": "prompt", "response": "completion"},
        values={"1_full_compliance": 0, "2_full_refusal": 1},
    )
    (reading,) = read_csv(path, source)
    (score,) = reading.scores
    assert score[:3] == ("xstest", "refusal", pytest.approx(2 / 3))
    assert (score.n, score.se) == (3, pytest.approx(1 / 3))
    assert reading.told.step == 10
    assert [a.prompt for a in reading.answers] == ["a", "b", "c"]


def test_scores_in_a_csv_go_to_the_checkpoints_that_its_rows_name(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("ckpt,bench,score,err\n0,harm,0.1,0.01\n10,harm,0.4,\n")
    source = csv_source(columns={"value": "score", "task": "bench", "step": "ckpt", "se": "err"})
    readings = read_csv(path, source)
    assert [r.told.step for r in readings] == [0, 10]
    assert [r.scores[0].se for r in readings] == [0.01, None]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"value": "label"}, "has the value 'yes', which is no number"),
        ({"value": "score"}, "has no column 'score'; it has label"),
    ],
)
def test_a_csv_that_does_not_fit_its_mapping_is_told(tmp_path, columns, message):
    (tmp_path / "x.csv").write_text("label\nyes\n")
    with pytest.raises(EmodriftError, match=message):
        read_csv(tmp_path / "x.csv", csv_source(columns=columns))


@pytest.mark.parametrize("reader", [read_lm_eval, read_every_eval_ever, read_trainer])
def test_another_tools_file_is_told(tmp_path, reader):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(EmodriftError, match=r"a\.json is no .* file"):
        reader(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(EmodriftError, match=r"a\.json is no .* file"):
        reader(tmp_path / "a.json")


def test_columns_belong_to_csv():
    with pytest.raises(ValidationError, match="csv needs it"):
        EvalSource(path="x", format="csv")


# Joining


def tell(*told):
    return Reading("file.json", Told(*told), [])


@pytest.mark.parametrize(
    ("told", "places", "found"),
    [
        (("runs/sft/checkpoint-10",), PLACES, [1]),
        (("sft/checkpoint-10",), PLACES, [1]),
        (("/elsewhere/sft/checkpoint-10",), PLACES, [1]),
        ((None, None, 10), PLACES, [1]),
        (("org/pythia", "c1000"), HUB, [1]),
        (("org/pythia", "step1000"), HUB, [1]),
        (("org/other", "step1000"), HUB, []),
        ((None, None, 7), PLACES, []),
        ((), PLACES, []),
    ],
)
def test_checkpoints_are_found_by_directory_commit_revision_and_step(told, places, found):
    assert join_checkpoint(tell(*told), places) == found


def test_one_step_of_two_runs_is_an_error_that_names_both_until_a_run_is_named():
    places = [*PLACES, Place("dpo", 10, "dpo", "d10", "runs/dpo/checkpoint-10")]
    with pytest.raises(EmodriftError, match="fits sft sft step 10 and dpo dpo step 10; name the"):
        join_checkpoint(tell(None, None, 10), places)
    assert join_checkpoint(tell(None, None, 10), places, run="dpo") == [2]


def test_the_same_weights_in_two_runs_are_no_ambiguity():
    places = [*PLACES, Place("dpo", 0, "dpo", "w0", "runs/sft/checkpoint-0")]
    assert join_checkpoint(tell("runs/sft/checkpoint-0"), places) == [0, 2]


def test_a_file_that_contradicts_itself_is_an_error_that_names_both():
    with pytest.raises(EmodriftError, match="its model is sft sft step 0, and its step that of"):
        join_checkpoint(tell("runs/sft/checkpoint-0", None, 10), PLACES)


def write_scores(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{step},{value}" for step, value in values.items()]
    path.write_text("\n".join(["step,value", *rows]) + "\n")
    return {"path": str(path), "format": "csv", "columns": {"step": "step", "value": "value"}}


def test_two_files_for_one_score_are_an_error_that_names_both(tmp_path):
    write_scores(tmp_path / "a.csv", {0: 1, 10: 2})
    source = write_scores(tmp_path / "b.csv", {10: 3}) | {"path": str(tmp_path / "*.csv")}
    with pytest.raises(EmodriftError, match=r"a\.csv and .*b\.csv both give eval score"):
        gather_evals(Evals(sources=[source]), PLACES)


def test_evals_of_no_checkpoint_of_the_study_are_an_error_and_of_some_a_warning(tmp_path, caplog):
    source = write_scores(tmp_path / "a.csv", {7: 1})
    with pytest.raises(EmodriftError, match=r"no checkpoint of the study fits .* tells step 7"):
        gather_evals(Evals(sources=[source]), PLACES)
    source = write_scores(tmp_path / "a.csv", {7: 1, 10: 2})
    scores, _ = gather_evals(Evals(sources=[source]), PLACES)
    assert scores["step"].tolist() == [10]
    assert "1 of 2 results are of no checkpoint" in caplog.text


def test_a_pattern_without_files_and_metrics_that_are_not_there_are_errors(tmp_path):
    source = write_scores(tmp_path / "a.csv", {0: 1})
    with pytest.raises(EmodriftError, match=r"evals\.sources\.0: no file matches"):
        gather_evals(Evals(sources=[source | {"path": str(tmp_path / "none*")}]), PLACES)
    with pytest.raises(EmodriftError, match="metrics there: score"):
        gather_evals(Evals(sources=[source | {"metrics": ["accuracy"]}]), PLACES)


# Relations


def make_tables(indicated, evaluated, alarms=(), better=False, se=0.01):
    """One run's indicator and eval, checkpoint by checkpoint; the reference is the first."""
    number = len(indicated)
    place = {"run": "sft", "step": np.arange(number) * 10, "checkpoint": range(number)}
    place |= {"stage": "sft"}
    indicators = pd.DataFrame({**place, "indicator": "cvdi", "value": indicated})
    indicators["alarm"] = [i in alarms for i in range(number)]
    evals = pd.DataFrame({**place, "source": "csv", "task": "harm", "metric": "asr"})
    evals = evals.assign(value=evaluated, se=se, higher_is_better=better)
    return evals.astype({"higher_is_better": "boolean"}), indicators


def test_correlations_are_within_runs_whatever_the_levels_between_them():
    rng = np.random.default_rng(0)
    x, run = rng.standard_normal(40), pd.Series(np.repeat(["a", "b"], 20))
    level = np.where(run == "a", 50.0, -50.0)
    found = correlate(pd.Series(x + level), pd.Series(-x - 2 * level), run, 0.95)
    assert found.r == pytest.approx(-1) and found.runs == 2
    noise = correlate(pd.Series(x + level), pd.Series(rng.standard_normal(40) + level), run, 0.95)
    assert abs(noise.r) < 0.4 and noise.low < 0 < noise.high


@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_intervals_cover_no_correlation_at_their_rate_for_series_with_a_memory(memory):
    rng = np.random.default_rng(1)
    runs = pd.Series(["a"] * 40)

    def series():
        values = [rng.standard_normal()]
        for _ in range(39):
            values.append(memory * values[-1] + rng.standard_normal())
        return pd.Series(values)

    found = [correlate(series(), series(), runs, 0.95) for _ in range(300)]
    assert 0.91 <= np.mean([f.low <= 0 <= f.high for f in found]) <= 0.99


def test_too_few_checkpoints_have_a_correlation_but_no_interval():
    found = correlate(pd.Series([0.0, 1, 2]), pd.Series([0.0, 1, 5]), pd.Series(["a"] * 3), 0.95)
    assert found.r > 0.9 and np.isnan(found.low)
    constant = correlate(pd.Series([1.0] * 5), pd.Series(range(5)), pd.Series(["a"] * 5), 0.95)
    assert np.isnan(constant.r)


def test_an_indicator_that_comes_two_checkpoints_before_an_eval_leads_by_two():
    steps = np.random.default_rng(2).standard_normal(30)
    indicated = np.cumsum(steps)
    evaluated = np.r_[0.0, 0.0, indicated[:-2]]
    table = correlate_all(*make_tables(indicated, evaluated), level=0.95, lags=3)
    changes = table[table["of"] == "change"].set_index("lag")["r"]
    assert changes.idxmax() == 2 and changes[2] > 0.95
    assert (changes.drop(2).abs() < 0.6).all()


def test_leads_count_from_the_first_alarm_to_the_first_worse_eval():
    evals, indicators = make_tables([0, 1, 2, 3], [0.1, 0.1, 0.1, 0.5], alarms=(1, 2, 3))
    (lead,) = find_leads(mark_worse(evals, 0, 2), indicators).to_dict("records")
    assert (lead["alarm_step"], lead["worse_step"]) == (10, 30)
    assert (lead["lead"], lead["lead_checkpoints"]) == (20, 2)


def test_a_lead_is_missing_where_one_of_the_two_never_came():
    evals, indicators = make_tables([0, 1, 2], [0.1, 0.1, 0.5])
    (lead,) = find_leads(mark_worse(evals, 0, 2), indicators).to_dict("records")
    assert lead["worse_step"] == 20 and pd.isna(lead["alarm_step"]) and pd.isna(lead["lead"])


@pytest.mark.parametrize(
    ("better", "value", "worse"), [(False, 0.9, True), (True, 0.9, False), (True, 0.1, True)]
)
def test_worse_follows_the_direction_of_the_metric(better, value, worse):
    evals, _ = make_tables([0, 1], [0.5, value], better=better)
    assert mark_worse(evals, 0, 2)["worse"].tolist() == [False, worse]


def test_a_change_within_its_error_is_not_worse_and_a_metric_without_direction_is_left_out():
    evals, _ = make_tables([0, 1], [0.5, 0.6], se=0.05)
    assert not mark_worse(evals, 0, 2)["worse"].any()
    evals["higher_is_better"] = pd.NA
    assert mark_worse(evals, 0, 2).empty


def test_disagreements_name_the_side_and_the_prompts_that_moved():
    evals, indicators = make_tables([0, 5, 0, 5], [0.1, 0.1, 0.6, 0.6], alarms=(1, 3))
    found = find_disagreements(mark_worse(evals, 0, 2), indicators)
    assert found[["checkpoint", "says"]].values.tolist() == [[1, "alarm only"], [2, "eval only"]]
    rows = [
        {"checkpoint": c, "source": "csv", "task": "harm", "metric": "asr", "id": name,
         "prompt": f"text of {name}", "response": f"{name} at {c}", "value": value}
        for c, values in {0: (0, 0, 0), 2: (0, 1, 0.5), 3: (1, 1, 1)}.items()
        for name, value in zip("abc", values, strict=True)
    ]  # fmt: skip
    named = name_prompts(found, pd.DataFrame(rows), reference=0, number=1)
    (row,) = named.to_dict("records")
    assert (row["checkpoint"], row["id"], row["response_reference"]) == (2, "b", "b at 0")


def test_the_stage_writes_tidy_tables_from_recorded_files(tmp_path):
    _, indicators = make_tables([0, 4], [0, 0], alarms=(1,))
    write_table(indicators, tmp_path, "indicators")
    alarm = {"run": "sft", "stage": "sft", "step": 10}
    audit = {"alarms": [alarm], "runs": [{"run": "sft"}]}
    (tmp_path / "audit.json").write_text(json.dumps(audit))
    sources = [
        {"path": str(RECORDED / "lm-eval/**/results_*.json"), "format": "lm-eval"},
        {"path": str(RECORDED / "inspect.json"), "format": "inspect",
         "higher_is_better": {"includes/accuracy": True}},
    ]  # fmt: skip
    checkpoints = [place._asdict() for place in PLACES]
    measure_evals(checkpoints, 0, {"sources": sources}, tmp_path, tmp_path)
    table = pd.read_parquet(tmp_path / "evals.parquet")
    assert list(table) == [
        "run", "step", "stage", "checkpoint", "source", "task", "metric", "value", "se", "n",
        "higher_is_better", "change", "change_se", "worse"]  # fmt: skip
    assert table[["step", "source", "metric", "value"]].values.tolist() == [
        [0, "lm-eval", "acc", 0.5],
        [0, "lm-eval", "acc_norm", pytest.approx(2 / 3)],
        [10, "inspect", "includes/accuracy", 0.75],
    ]
    for name in ("correlations", "leads", "disagreements", "disagreement_prompts", "eval_runs"):
        assert (tmp_path / f"{name}.parquet").is_file()
    told = json.loads((tmp_path / "audit.json").read_text())
    (beside,) = told["alarms"][0]["external_evals"]
    assert (beside["metric"], beside["value"]) == ("includes/accuracy", 0.75)


def test_a_runs_first_alarm_stands_beside_the_first_worse_eval_whatever_was_evaluated():
    evals, indicators = make_tables([0, 5, 5, 5], [0.1, 0.1, 0.1, 0.6], alarms=(1, 2, 3))
    evals = evals[evals["checkpoint"] != 1]
    (row,) = compare_runs(mark_worse(evals, 0, 2), indicators, 0).to_dict("records")
    assert (row["alarm_step"], row["worse_step"], row["lead"]) == (10, 30, 20)
    assert (row["lead_checkpoints"], row["says"], row["evaluated"]) == (2, "both", 2)
    assert row["sentence"].endswith("came 2 checkpoints before, at step 10.")


def test_checkpoints_before_the_reference_are_neither_worse_nor_alarms():
    evals, indicators = make_tables([9, 0, 0], [0.9, 0.1, 0.1], alarms=(0,))
    marked = mark_worse(evals, 1, 2)
    assert not marked["worse"].any() and 0 not in set(marked["checkpoint"])
    (row,) = compare_runs(marked, indicators, 1).to_dict("records")
    assert row["says"] == "neither"


def test_the_audit_has_evals_beside_alarms_and_the_prompts_where_one_stands_alone():
    tables = make_study_tables()
    audit = tell_audit(make_audit(tables), tables, reference=1)
    alarm = next(a for a in audit["alarms"] if a["run"] == "lock-in")
    beside = {e["task"]: e for e in alarm["external_evals"]}
    assert beside["xstest"]["worse"] is True and beside["arc"]["worse"] is False
    assert beside["xstest"]["at_reference"] == 0.95 and beside["train"]["worse"] is None
    says = {(r["run"], e["task"]): e for r in audit["runs"] for e in r["external_evals"]}
    assert says["regression", "xstest"]["lead"] == -40
    assert says["collapse", "xstest"]["says"] == "alarm only"
    assert says["regression", "xstest"]["prompts"][0]["response_reference"] == "I will not help."
    found = {(e["indicator"], e["task"]): e for e in audit["evals"]}
    assert found["cvdi", "xstest"]["high"] < -0.5 and json.dumps(audit)
