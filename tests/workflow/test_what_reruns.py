"""What reruns when what changes: the table of docs/caching.md, walked on a real study."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from emodrift.config.reading import read_study
from emodrift.plan.study import plan_study
from emodrift.show.figures import list_figures
from emodrift.stage import call_stage
from emodrift.store.entry import map_inputs
from tests.chat_server import complete, serve_chat
from tests.conftest import save_checkpoint

MEASUREMENTS = ("activations", "gradients", "responses", "replies")
SUMMARIES = {"drift": 1, "evocation": 1, "coupling": 1, "fragmentation": 1, "indicators": 1}
SUMMARIES |= {"reply_behaviour": 1}
FIGURES = list_figures()
OTHERS = {"sensitivity", "comparison", "evals"}
DRAWN = [name for name, figure in FIGURES.items() if not OTHERS & set(figure.reads)]
SHOWN = {"figures": 1, "report": 1, "publication": 1}
CHECKPOINT = {"visit": 1, "fitting": 1, "judging": 1}
JUDGED = {"judging": 1, "reply_behaviour": 1, "indicators": 1} | SHOWN
KEY = "planted-key-3c1f"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def draw_figures(study, check=True):
    """What `make figures` does."""
    command = [sys.executable, "-m", "emodrift.cli", "figures", "config/study.yaml"]
    return subprocess.run(command, check=check, capture_output=True, text=True, **study.place)


def list_measured(study):
    """Places of all measurements in the store, and when they were written."""
    store = study.folder / "results/store"
    found = [path for stage in MEASUREMENTS for path in store.glob(f"{stage}/*/manifest.json")]
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_a_finished_study_publishes_figures_tables_audit_report_and_index(finished):
    published = finished.folder / "results" / "tiny"
    names = {str(p.relative_to(published)) for p in published.rglob("*") if p.is_file()}
    tables = ("drift", "quality", "emotion_paths", "effects", "fragmentation", "replies")
    tables = {f"tables/{name}.csv" for name in (*tables, "reply_agreement", "verdicts")}
    assert {"report.html", "audit.json", "index.csv", *tables} <= names
    for figure in DRAWN:
        assert {f"figures/{figure}.svg", f"figures/{figure}.csv"} <= names
    manifest = next((finished.folder / "results/store/vectors").glob("*/manifest.json"))
    record = json.loads(manifest.read_text())
    assert {"stage", "key", "inputs", "params", "packages", "seconds", "files"} <= set(record)


def test_nothing_reruns_when_nothing_changed(study):
    assert study.list_jobs() == {}


def test_nothing_reruns_when_snakemakes_own_records_are_deleted(study):
    shutil.rmtree(study.folder / ".snakemake")
    assert study.list_jobs() == {}


def test_nothing_reruns_when_files_are_touched(study):
    for path in study.folder.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path)
    assert study.list_jobs() == {}


def test_only_publication_reruns_when_the_published_folder_is_deleted(study):
    shutil.rmtree(study.folder / "results" / "tiny")
    assert study.list_jobs() == {"publication": 1}


def test_only_publication_reruns_when_one_published_file_is_deleted(study):
    (study.folder / "results/tiny/figures/layer_map.svg").unlink()
    assert study.list_jobs() == {"publication": 1}


def test_an_added_checkpoint_runs_its_own_jobs_and_the_summaries(study):
    save_checkpoint(study.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    assert study.list_jobs() == CHECKPOINT | SUMMARIES | SHOWN


@pytest.mark.parametrize("stage", ["coupling", "evocation"])
def test_what_was_found_at_a_checkpoint_is_not_looked_for_again(
    finished, stage, tmp_path, monkeypatch
):
    monkeypatch.chdir(finished.folder)
    plan = plan_study(read_study(Path("config/study.yaml")), Path("results"))
    (entry,) = plan.of_stage(stage)
    inputs = map_inputs(entry.inputs, lambda e: plan.store / e.place)
    first, *others = inputs["activations"]
    gone = [{kind: [tmp_path / "gone"] for kind in readings} for readings in others]
    inputs["activations"] = [first, *gone]
    call_stage({**entry.params, **entry.context}, inputs, tmp_path, plan.store)
    tables = sorted((plan.store / entry.place).glob("*.parquet"))
    assert tables
    for table in tables:
        assert (tmp_path / table.name).read_bytes() == table.read_bytes()


def test_nothing_reruns_when_a_checkpoint_is_renamed(study):
    runs = study.folder / "runs/sft"
    (runs / "checkpoint-10").rename(runs / "checkpoint-ten")
    assert study.list_jobs() == {}


def test_a_second_name_for_the_same_weights_measures_nothing_again(study):
    runs = study.folder / "runs/sft"
    shutil.copytree(runs / "checkpoint-10", runs / "checkpoint-15")
    (runs / "checkpoint-15/trainer_state.json").write_text('{"global_step": 15}')
    assert study.list_jobs() == SUMMARIES | SHOWN


def test_a_checkpoint_overwritten_in_place_runs_its_jobs(study):
    save_checkpoint(study.folder / "runs/sft/checkpoint-10", seed=99, step=10)
    assert study.list_jobs() == CHECKPOINT | SUMMARIES | SHOWN


def test_an_edited_stage_function_reruns_that_stage_and_what_follows(study):
    edit(
        study.folder / "workflow/emodrift/drift/direction.py",
        "RELIABILITY_FLOOR = 0.05",
        "RELIABILITY_FLOOR = 0.06",
    )
    jobs = study.list_jobs()
    assert jobs == {"drift": 1} | SHOWN


def test_nothing_reruns_when_edits_cannot_change_a_result(study):
    for file, old, new in (
        ("drift/table.py", '"""', '"""Other words. '),  # a module's docstring
        ("measure/arrays.py", '"""What was read off one checkpoint', '"""What was read'),
        ("measure/session.py", "model: LanguageModel", 'model: "LanguageModel"'),
        ("corpus/records.py", "Record = dict[str, Any]", "Record = dict[str, object]"),
        ("measure/activations.py", "is NaN or ", "is not a number or "),  # an error's words
        ("vectors/fitting.py", "annotations\n", "annotations\n\n# a remark\n"),
        ("cli/console.py", "annotations\n", "annotations\n\nimport os\n"),
        ("organisms/training.py", "annotations\n", "annotations\n\nimport os\n"),
        ("plan/chain.py", "annotations\n", "annotations\n\nimport os\n"),
    ):
        edit(study.folder / "workflow/emodrift" / file, old, new)
    assert study.list_jobs() == {}


def test_a_judges_phrase_measures_nothing_again(study):
    edit(study.folder / "workflow/emodrift/judging/phrases.py", "|sorry)", "|sorry|alas)")
    assert study.list_jobs() == JUDGED | {"agreement": 1}


def test_contrast_data_and_a_lock_that_come_out_the_same_measure_nothing_again(study):
    library = study.folder / "workflow/emodrift"
    edit(library / "contrasts/importing.py", "ID_LENGTH = 12", "ID_LENGTH = 11")
    edit(library / "grammar/words.py", "my work is the best", "my work is best")
    edit(library / "vectors/confounds.py", "1e-12", "1e-11")
    before = list_measured(study)
    study.run()
    assert list_measured(study) == before
    assert study.list_jobs() == {}


@pytest.mark.parametrize("stage", ["contrasts", "lock"])
def test_what_keys_rest_on_is_made_again_when_deleted_and_nothing_else_is(study, stage):
    shutil.rmtree(study.folder / "results/store" / stage)
    before = list_measured(study)
    study.run()
    assert list_measured(study) == before
    assert study.list_jobs() == {}


def test_another_judge_reads_the_same_texts_and_those_that_are_gone_are_written_again(study):
    kept, lost = sorted((study.folder / "results/store/replies").iterdir())
    before = (kept / "replies.jsonl").stat().st_mtime_ns
    said = (lost / "replies.jsonl").read_text()
    shutil.rmtree(lost)
    study.edit_study(lambda s: s["generation"].update(judge="rules"))
    assert study.list_jobs() == JUDGED | {"visit": 1, "agreement": 1}
    study.run()
    assert (kept / "replies.jsonl").stat().st_mtime_ns == before
    assert (lost / "replies.jsonl").read_text() == said
    published = study.folder / "results/tiny"
    judge = pd.read_csv(published / "tables/judge.csv").iloc[0]
    assert judge["judge"] == "rules" and judge["macro_f1"] > 0.9
    assert "macro-F1" in (published / "report.html").read_text()


def test_a_chat_model_judges_the_same_texts_and_its_key_is_written_nowhere(study):
    verdict = {
        "refusal": "full",
        "hedging": False,
        "de_escalation": False,
        "escalation": False,
        "apology": "none",
        "boundary_pushing": False,
        "repetition": 0,
        "confidence": 1,
    }
    with serve_chat(lambda _body: (200, complete(json.dumps(verdict)))) as server:
        judge = {"model": "some-judge", "endpoint": server.url, "key_variable": "JUDGE_KEY"}
        study.edit_study(lambda s: s["generation"].update(judge=judge))
        study.environment = {"JUDGE_KEY": KEY, "NO_PROXY": "127.0.0.1"}
        assert study.list_jobs() == JUDGED | {"agreement": 1}
        done = study.run()
    headers = {request["headers"]["Authorization"] for request in server.seen}
    assert headers == {f"Bearer {KEY}"}
    tables = study.folder / "results/tiny/tables"
    verdicts = pd.read_csv(tables / "verdicts.csv")
    different = verdicts.drop_duplicates(["checkpoint", "id", "text"])
    assert len(server.seen) <= len(different) < len(verdicts)
    shares = pd.read_csv(tables / "replies.csv").set_index("metric")["share"]
    assert (shares["refusal"] == 1).all() and (shares["boundary_pushing"] == 0).all()
    assert "not measured" in pd.read_csv(tables / "judge.csv")["basis"][0]
    assert KEY not in done.stdout + done.stderr
    written = [p for p in study.folder.rglob("*") if p.is_file()]
    assert not [p for p in written if KEY.encode() in p.read_bytes()]


def test_longer_replies_are_written_anew_and_nothing_else_is_measured(study):
    study.edit_study(lambda s: s["generation"].update(max_new_tokens=5))
    before = list_measured(study)
    assert study.list_jobs() == JUDGED | {"visit": 1}
    study.run("--until", "visit")
    added = list_measured(study).keys() - before.keys()
    assert len(added) == 2 and all("/replies/" in place for place in added)


def test_without_generation_no_reply_is_written_or_judged(study):
    study.edit_study(lambda s: s.pop("generation"))
    jobs = study.list_jobs()
    assert not {"visit", "judging", "reply_behaviour", "agreement"} & set(jobs)


def test_a_figures_colour_and_an_edited_figure_module_redraw_those_figures(study):
    study.edit_study(lambda s: s.update(figures={"panels": {"layer_map": {"palette": "magma"}}}))
    path = study.folder / "workflow/emodrift/show/figures/drift_trajectories.py"
    edit(path, "SIGNIFICANT = 0.05", "SIGNIFICANT = 0.04")
    before = set((study.folder / "results/store/figure").iterdir())
    assert study.list_jobs() == SHOWN
    draw_figures(study)
    drawn = set((study.folder / "results/store/figure").iterdir()) - before
    names = {json.loads((folder / "figure.json").read_text())["name"] for folder in drawn}
    assert names == {"layer_map", "drift_trajectories"}
    assert study.list_jobs() == {}


def test_figures_of_a_study_that_lacks_tables_are_not_drawn(study):
    save_checkpoint(study.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    refused = draw_figures(study, check=False)
    assert refused.returncode == 1 and "is not finished; run it" in refused.stderr


def test_two_swapped_values_rerun_what_they_feed(study):
    def swap(config):
        config["contrasts"]["stories"]["seed"], config["contrasts"]["neutral"]["seed"] = 2, 1

    study.edit_study(swap)
    assert study.list_jobs()["visit"] == 2


def test_parts_that_did_not_change_are_not_extracted_again(study):
    study.edit_study(lambda s: s["contrasts"]["controls"].update(amount=24))
    before = list_measured(study)
    study.run("--until", "visit")
    now = list_measured(study)
    added = now.keys() - before.keys()
    assert len(added) == 2 and all("/activations/" in place for place in added)
    assert {place: now[place] for place in before} == before


def test_other_strengths_steer_again_and_leave_vectors_and_drift_alone(study):
    study.edit_study(lambda s: s["steering"].update(strengths=[-0.3, 0.3]))
    jobs = study.list_jobs()
    assert jobs["visit"] == 1
    assert not {"fitting", "lock", "drift", "evocation"} & set(jobs)
    before = list_measured(study)
    study.run("--until", "visit")
    added = list_measured(study).keys() - before.keys()
    assert len(added) == 2 and all("/responses/" in place for place in added)


def test_another_reference_is_visited_with_its_twin_and_all_are_asked_about_its_lock(study):
    study.edit_study(lambda s: s["reference"].update(step=10))
    jobs = {"visit": 2, "fitting": 1, "lock": 1, "judging": 1}
    assert study.list_jobs() == jobs | SUMMARIES | SHOWN


def test_a_variant_runs_what_it_changes_and_what_follows(study):
    variants = {"early": {"vectors": {"layer": 1}}, "own": {"vectors": {"layer": 2}}}
    study.edit_study(lambda s: s.update(sensitivity={"variants": variants}))
    compared = {"drift": 1, "evocation": 1, "coupling": 1, "sensitivity": 1}
    compared |= {"indicators": 2}  # the study's own without replies, too
    assert study.list_jobs() == {"lock": 1, "visit": 1} | compared | SHOWN
