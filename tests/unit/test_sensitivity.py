"""Variants of a study share what they leave as it is, and their conclusions are held against its
own."""

import copy
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from emodrift.config.reading import make_variants, parse_study, read_study
from emodrift.config.variants import AS_CONFIGURED, VARIED, Sensitivity, merge_changes
from emodrift.drift.table import read_table, write_table
from emodrift.errors import EmodriftError
from emodrift.plan.study import plan_study
from emodrift.show.figure import draw, draw_figure, read_tables
from emodrift.show.report.tables import tabulate_sensitivity
from emodrift.show.scene import Reference, Scene
from emodrift.warning.indicators import INDICATORS
from emodrift.warning.sensitivity import (
    Findings,
    Question,
    SensitivityInputs,
    SensitivityParams,
    compare_studies,
    measure_sensitivity,
    summarise_variants,
)
from tests.conftest import ROOT, STUDY, save_checkpoint
from validation.sensitivity import list_variants

CHECKPOINTS = [
    {"run": run, "step": step, "stage": "", "tokens": None}
    for run, step in (("base", 0), ("good", 10), ("good", 20), ("bad", 20))
]
REFERENCE, GOOD, BAD = 0, 2, 3
SILENT = "eagerness_coupling"
KINDS = {"cvdi": "safety regression", "ebci": "policy collapse"}
QUESTION = Question(REFERENCE, [GOOD, BAD], "caution", "refusal", 1.96)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for step in (0, 10, 20):
        save_checkpoint(folder / f"sft/checkpoint-{step}", seed=step, step=step)
    save_checkpoint(folder / "dpo/checkpoint-30", seed=30, step=30)
    return folder


MEASURED = ("activations", "gradients", "responses")
STAGES = ("contrasts", *MEASURED, "vectors", "lock", "coupling")


def with_variants(variants, **section):
    return copy.deepcopy(STUDY) | {"sensitivity": {"variants": variants, **section}}


def plan(runs, results, variants, **section):
    values = with_variants(variants, **section)
    values["runs"] = {n: {"checkpoints": f"{runs}/{n}/checkpoint-*"} for n in ("sft", "dpo")}
    return plan_study(parse_study(values), results)


def list_places(planned, stage, variant=None):
    ours = (e for e in planned.of_stage(stage) if variant is None or f"({variant})" in e.label)
    return {e.place for e in ours}


def test_changes_are_merged_key_by_key_and_lists_replaced():
    values = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    merged = merge_changes(values, {"a": {"c": [3]}})
    assert merged == {"a": {"b": 1, "c": [3]}, "d": 4}
    assert values == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


def test_a_variant_is_the_study_with_a_few_keys_changed():
    stories = {"generator": "grammar", "seed": 9, "amount": 5}
    study = parse_study(
        with_variants({"other": {"contrasts": {"stories": stories}, "vectors": {"layer": 1}}})
    )
    variant = make_variants(study)["other"]
    assert [(s.seed, s.amount) for s in variant.contrasts.stories] == [(9, 5)]
    assert variant.vectors.layer == 1
    assert variant.contrasts.emotions == study.contrasts.emotions
    assert variant.model_dump(exclude={"contrasts", "vectors", "sensitivity"}) == study.model_dump(
        exclude={"contrasts", "vectors", "sensitivity"}
    )
    assert make_variants(parse_study(STUDY)) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": {"lair": 3}}, "x.vectors.lair: unknown key"),
        ({"steering": {"strengths": [0.5]}}, "x.steering: strengths needs a negative"),
        ({"vectors": 3}, "x.vectors: "),
        ({"runs": {}}, "x.runs: cannot be varied; a variant changes keys of contrasts.*, "),
        ({"compute": {"device": "cpu"}}, "x.compute.device: cannot be varied"),
        ({"behaviours": {"metrics": {}}}, "x.behaviours.metrics: cannot be varied"),
        ({}, "x: changes nothing"),
        ({"contrasts": {"emotions": ["happy", "calm"]}}, "x.contrasts: bundle 'caution' names"),
    ],
)
def test_a_bad_variant_fails_with_one_line_that_names_its_key(changes, message):
    with pytest.raises(EmodriftError, match=re.escape(f"sensitivity.variants.{message}")) as error:
        parse_study(with_variants({"x": changes}), "config/study.yaml")
    assert str(error.value).startswith("config/study.yaml: ")
    assert "\n" not in str(error.value)


def test_the_reference_of_keys_names_all_that_may_be_varied():
    described = Sensitivity.model_fields["variants"].description
    for section, keys in VARIED.items():
        assert all(
            f"`{name}`" in described for name in [f"{section}.{k}" for k in keys] or [section]
        )


def test_the_shipped_variants_fit_the_default_study(monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_study(Path("config/examples/sensitivity.yaml"))
    assert len(make_variants(study)) == len(study.sensitivity.variants) > 5


def test_what_planning_finds_wrong_names_the_variant(runs, tmp_path):
    with pytest.raises(EmodriftError, match=r"^sensitivity\.variants\.deep: vectors\.layer 9 is"):
        plan(runs, tmp_path, {"deep": {"vectors": {"layer": 9}}})
    none = {"contrasts": {"stories": {"file": "none.jsonl"}}}
    with pytest.raises(EmodriftError, match=r"^sensitivity\.variants\.other: contrasts\.stories"):
        plan(runs, tmp_path, {"other": none})


def test_a_variant_plans_only_what_it_changes(runs, tmp_path):
    planned = plan(
        runs,
        tmp_path,
        {
            "layer": {"vectors": {"layer": 1}},
            "neutral": {"vectors": {"estimator": "neutral_difference"}},
            "pooled": {"activations": {"pooling": "last"}},
        },
        checkpoints="all",
    )
    new = {
        variant: {
            stage: len(found) for stage in STAGES if (found := list_places(planned, stage, variant))
        }
        for variant in ("layer", "neutral", "pooled", AS_CONFIGURED)
    }
    asked = {"lock": 1, "responses": 4, "coupling": 1}
    vectors = {"vectors": 4 + 1}  # the last: of the reference's random twin
    assert new == {
        "layer": {"gradients": 3} | asked,  # the reference's reach down to every layer
        "neutral": vectors | asked,
        "pooled": {"activations": 3 * 4 + 2} | vectors | asked,
        AS_CONFIGURED: {},
    }


def test_one_visit_to_a_checkpoint_measures_the_study_and_its_variants(runs, tmp_path):
    planned = plan(runs, tmp_path, {"pooled": {"activations": {"pooling": "last"}}})
    first, *rest = planned.of_stage("visit")
    assert first.label == "sft step 0, random twin of sft step 0"
    labels = [label for visit in rest for label in visit.label.split(", ")]
    assert labels == ["sft step 0", "sft step 10", "sft step 20", "dpo step 30"]
    (asked,) = (c for c in rest[-1].context["checkpoints"] if c["label"] == "dpo step 30")
    of_dpo = [e for e in planned.entries.values() if "dpo step 30" in e.label]
    measured = {e.place for e in of_dpo if e.stage in MEASURED}
    assert {f"{e['stage']}/{e['key']}" for e in asked["entries"]} == measured
    for visit in rest:
        assert [e for e in planned.list_needed(visit.inputs) if e.stage == "visit"] == [first]


def test_weights_of_another_data_type_are_loaded_in_the_same_visit(runs, tmp_path):
    planned = plan(runs, tmp_path, {"half": {"compute": {"dtype": "bfloat16"}}})
    asked = planned.of_stage("visit")[-1].context["checkpoints"]
    of_dpo = [c["model"]["dtype"] for c in asked if c["label"] == "dpo step 30"]
    assert of_dpo == ["auto", "bfloat16"]


def test_variants_that_change_the_same_share_everything(runs, tmp_path):
    change = {"vectors": {"layer": 1}}
    once = plan(runs, tmp_path, {"one": change})
    twice = plan(runs, tmp_path, {"one": change, "two": change})
    differ = {"sensitivity", "figure", "figures", "report", "publication"}
    assert {p for p in set(once.entries) ^ set(twice.entries) if p.split("/")[0] not in differ} == (
        set()
    )
    (compared,) = twice.of_stage("sensitivity")
    assert compared.inputs["drift"][1] == compared.inputs["drift"][2]
    assert compared.inputs["drift"][0] != compared.inputs["drift"][1]


def test_variants_are_measured_at_the_reference_and_the_runs_ends(runs, tmp_path):
    planned = plan(runs, tmp_path, {"pooled": {"activations": {"pooling": "last"}}})
    labels = [e.label for e in planned.of_stage("responses")]
    assert labels == [
        *("sft step 0", "sft step 10", "sft step 20", "dpo step 30"),
        *("sft step 0 (pooled)", "sft step 20 (pooled)", "dpo step 30 (pooled)"),
    ]
    (compared,) = planned.of_stage("sensitivity")
    places = [(c["run"], c["step"]) for c in compared.params["checkpoints"]]
    assert places == [("sft", 0), ("sft", 20), ("dpo", 30)]


def test_a_study_without_variants_has_no_stage_figure_or_table_of_them(runs, tmp_path):
    values = copy.deepcopy(STUDY) | {"runs": {"sft": {"checkpoints": f"{runs}/sft/checkpoint-*"}}}
    planned = plan_study(parse_study(values), tmp_path)
    assert not planned.of_stage("sensitivity")
    assert "sensitivity" not in [e.label for e in planned.of_stage("figure")]
    assert "sensitivity" not in planned.publication.inputs


def make_findings(seed=0, scale=1.0, turned=0.9, effect=3.0, rise=2.0, alarm="cvdi", order=None):
    """Tables of one study; seed: of the profile of effects; order: of the emotions' drift; alarm:
    the indicator that raises one in the bad run."""
    rng = np.random.default_rng(seed)
    emotions = [f"e{i}" for i in range(12)]
    order = np.arange(12) if order is None else order
    drift, evocation, effects, indicators = [], [], [], []
    for number, place in enumerate(CHECKPOINTS):
        for rank, emotion in zip(order, emotions, strict=True):
            cosine = turned if number == BAD else 0.98
            cosine = 1.0 if number == REFERENCE else cosine - 0.001 * rank
            drift.append(
                dict(checkpoint=number, kind="emotion", concept=emotion, cosine=0.9 * cosine)
                | dict(low=0.9 * cosine - 0.02, high=0.9 * cosine + 0.02, corrected=cosine)
                | dict(corrected_low=cosine - 0.03, corrected_high=cosine + 0.01, noise_floor=0.9)
            )
            for metric in ("refusal", "hedging"):
                effects.append(dict(checkpoint=number, concept=emotion, metric=metric))
                slope = rng.normal()
                effects[-1] |= dict(slope=scale * slope, slope_low=0, slope_high=0, bundle=False)
        size = effect if number == BAD else 2.0
        effects.append(dict(checkpoint=number, concept="caution", metric="refusal", bundle=True))
        effects[-1] |= {
            name: scale * (size + shift)
            for name, shift in (("slope", 0), ("slope_low", -1), ("slope_high", 1))
        }
        for split in ("all", "ood"):
            value = rise if number == BAD and split == "all" else 2.0
            evocation.append(dict(checkpoint=number, concept="caution", split=split))
            evocation[-1] |= dict(difference=value)
            evocation[-1] |= dict(difference_low=value - 0.5, difference_high=value + 0.5)
        for name in INDICATORS:
            deviation = 5.0 if number == BAD and name == alarm else 0.1
            indicators.append(
                dict(checkpoint=number, run=place["run"], indicator=name, deviation=deviation)
                | dict(alarm=deviation > 1)
                | dict(threshold=np.nan if name == SILENT else 3.0)
            )
    effects = pd.DataFrame(effects).assign(null_sd_isotropic=scale)
    kinds = {"base": "not judged", "good": "sound", "bad": KINDS.get(alarm, "sound")}
    runs = pd.DataFrame({"run": list(kinds), "verdict": list(kinds.values())})
    return Findings(*map(pd.DataFrame, (drift, evocation, effects, indicators)), runs)


def judge(question=QUESTION, **changes):
    table = compare_studies(
        {AS_CONFIGURED: make_findings(), "x": make_findings(**changes)}, question
    )
    return table, table[table["variant"] == "x"].set_index(["conclusion", "checkpoint"])


def test_a_variant_that_changes_nothing_keeps_every_conclusion():
    table, x = judge()
    stays = x["stays"].dropna()
    assert len(stays) == 2 * (len(INDICATORS) + 1) + 2 * 3
    assert stays.all() and not x["reverses"].any()
    np.testing.assert_allclose(x.loc["drift_order", "value"], 1)
    np.testing.assert_allclose(x.loc["profile", "value"], 1)
    assert table.loc[table["variant"] == AS_CONFIGURED, "stays"].isna().all()
    (summary,) = summarise_variants(table).to_dict("records")
    assert (summary["share"], summary["reverse"], summary["stay"]) == (1, 0, len(stays))


def test_effects_are_compared_in_the_unit_of_null_directions():
    _, x = judge(scale=7.0)
    assert x["stays"].dropna().all()
    assert x.loc[("effect", BAD), ["value", "low", "high"]].tolist() == pytest.approx([3, 2, 4])


@pytest.mark.parametrize(
    ("changes", "conclusion", "verdict", "reverses"),
    [
        ({"effect": -3.0}, "effect", "-", True),
        ({"effect": 0.5}, "effect", "0", False),
        ({"rise": -1.0}, "evocation", "-", True),
        ({"turned": 1.0}, "direction", "within noise", False),
        ({"alarm": "ebci"}, "kind", "policy collapse", False),
        ({"alarm": "none"}, "kind", "sound", False),
        ({"alarm": "none"}, "cvdi", "none", False),
    ],
)
def test_a_conclusion_that_a_variant_turns_round_does_not_stay(
    changes, conclusion, verdict, reverses
):
    table, x = judge(**changes)
    row = x.loc[(conclusion, BAD)]
    assert (row["verdict"], row["stays"], row["reverses"]) == (verdict, False, reverses)
    assert x.loc[(conclusion, GOOD), "stays"]
    (summary,) = summarise_variants(table).to_dict("records")
    assert summary["stay"] == summary["conclusions"] - (~x["stays"].dropna()).sum()
    assert summary["reverse"] == int(reverses)


def test_the_order_of_drift_and_the_profile_of_effects_are_correlations_with_the_study():
    _, x = judge(seed=5, order=np.arange(12)[::-1])
    np.testing.assert_allclose(x.loc["drift_order", "value"], -1)
    ours, theirs = (
        t[(t["checkpoint"] == BAD) & ~t["bundle"]]["slope"]
        for t in (make_findings(seed=5).effects, make_findings().effects)
    )
    expected = np.corrcoef(ours, theirs)[0, 1]
    assert x.loc[("profile", BAD), "value"] == pytest.approx(expected)
    assert abs(expected) < 0.6


def test_the_mean_corrected_cosine_carries_the_mean_bounds():
    _, x = judge(order=np.zeros(12))
    assert x.loc["drift_order", "value"].isna().all()
    assert x.loc[("direction", BAD), ["value", "low", "high"]].tolist() == pytest.approx(
        [0.9, 0.87, 0.91]
    )


def test_an_indicators_verdict_is_whether_it_alarmed_in_the_run():
    table, x = judge(alarm="ebci")
    own = table[table["variant"] == AS_CONFIGURED].set_index(["conclusion", "checkpoint"])
    assert (own.loc[("cvdi", BAD), "verdict"], x.loc[("cvdi", BAD), "verdict"]) == ("alarm", "none")
    assert own.loc[("cvdi", GOOD), "verdict"] == "none"
    assert pd.isna(own.loc[(SILENT, BAD), "verdict"])
    assert own.loc[(SILENT, BAD), "value"] == 0.1


def test_an_undefined_indicator_has_no_verdict():
    holed = make_findings()
    holed.indicators.loc[holed.indicators["indicator"] == "lock_in", "deviation"] = np.nan
    table = compare_studies({AS_CONFIGURED: make_findings(), "x": holed}, QUESTION)
    rows = table[(table["variant"] == "x") & (table["conclusion"] == "lock_in")]
    assert rows["verdict"].isna().all() and rows["stays"].isna().all()
    assert summarise_variants(table)["conclusions"].tolist() == [14]


def test_a_variant_of_which_no_indicator_applies_has_kinds_alone():
    lost = make_findings(alarm="none")
    lost = lost._replace(indicators=lost.indicators.drop(columns=["deviation", "threshold"]))
    table = compare_studies({AS_CONFIGURED: make_findings(), "x": lost}, QUESTION)
    rows = table[(table["variant"] == "x") & table["conclusion"].isin([*INDICATORS, "kind"])]
    assert rows.loc[rows["verdict"].notna(), "conclusion"].unique().tolist() == ["kind"]


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """An entry of the stage over a study and three variants."""
    folder = tmp_path_factory.mktemp("entry")
    studies = [{}, {"rise": -1.0}, {"effect": 0.5, "seed": 3}, {"alarm": "ebci", "turned": 0.5}]
    inputs = {"drift": [], "evocation": [], "coupling": [], "indicators": []}
    for i, changes in enumerate(studies):
        findings = make_findings(**changes)
        for stage, name, table in zip(
            inputs, ("drift", "evocation", "effects", "indicators"), findings[:4], strict=True
        ):
            (folder / f"{stage}-{i}").mkdir()
            write_table(table, folder / f"{stage}-{i}", name)
            inputs[stage].append(folder / f"{stage}-{i}")
        write_table(findings.runs, inputs["indicators"][-1], "runs")
    params = SensitivityParams(
        variants=["away", "faint", "other-alarm"],
        checkpoints=CHECKPOINTS,
        reference=REFERENCE,
        caution="caution",
        refusal="refusal",
        level=0.95,
    )
    measure_sensitivity(params, SensitivityInputs(**inputs), folder)
    return folder


def test_the_stage_writes_conclusions_with_run_and_step(entry):
    table = read_table(entry, "sensitivity")
    assert set(table["run"]) == {"base", "good", "bad"}
    assert set(table.loc[table["run"] == "good", "step"]) == {20}
    shares = read_table(entry, "variants").set_index("variant")
    assert shares["conclusions"].tolist() == [16, 16, 16]
    assert shares.loc["away", ["stay", "reverse"]].tolist() == [15, 1]
    assert shares.loc["faint", ["stay", "reverse"]].tolist() == [15, 0]
    assert shares.loc["other-alarm", "stay"] == 13


def test_the_report_lists_what_each_variant_changed(entry):
    table = tabulate_sensitivity(entry)
    assert table.loc["away", "verdicts that stay"] == "15 of 16"
    assert table.loc["away", "changed"] == "bad: evocation -"
    changed = "bad: cvdi none; bad: ebci alarm; bad: kind policy collapse"
    assert table.loc["other-alarm", "changed"] == changed


def test_the_page_has_each_variants_verdicts_and_alarms(entry):
    table = list_variants(read_table(entry, "sensitivity"), read_table(entry, "variants"))
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines()]
    found = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}
    assert list(found) == [AS_CONFIGURED, "away", "faint", "other-alarm"]
    assert found[AS_CONFIGURED]["bad"] == "safety regression (cvdi)"
    assert found["other-alarm"]["bad"] == "policy collapse (ebci)"
    assert found["other-alarm"]["good"] == "sound"
    assert (found["away"]["verdicts that stay"], found["away"]["signs reversed"]) == ("94%", "1")


def test_the_figure_has_a_panel_for_each_conclusion_and_a_row_for_each_variant(entry, tmp_path):
    reference = {"run": "base", "stage": "", "step": 0}
    tables = read_tables("sensitivity", {"sensitivity": entry})
    figure = draw("sensitivity", tables, Scene(Reference(**reference))).figure
    axes = [a for a in figure.axes if a.get_visible()]
    plt.close("all")
    draw_figure(
        "sensitivity", "sensitivity", {"reference": reference}, {"sensitivity": entry}, tmp_path
    )
    assert len(axes) == 9
    labels = [t.get_text() for t in axes[0].get_yticklabels()]
    assert labels == [AS_CONFIGURED, "away\n94% stay", "faint\n94% stay", "other-alarm\n81% stay"]
    drawn = pd.read_csv(tmp_path / "figure.csv")
    assert set(drawn["at"]) == {"reference", "good", "bad"}
    svg = (tmp_path / "figure.svg").read_text()
    assert "verdict changed" in svg
