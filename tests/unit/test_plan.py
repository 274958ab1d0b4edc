"""Plans: what they wait for, what keys of measurements rest on, and who makes what."""

import copy
import json
import os
import shutil
from dataclasses import replace

import pytest

from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.plan.jobs import forget_unmade
from emodrift.plan.measurements import SHARING, Asked, share_jobs
from emodrift.plan.study import plan_study
from emodrift.plan.until import is_known, list_until
from emodrift.plan.watched import pick_checkpoints
from emodrift.store.entry import entry_exists, write_entry
from emodrift.store.files import name_scratch
from tests.conftest import STUDY, save_checkpoint, write_stand_in

MEASURED = ("activations", "gradients", "responses", "replies")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for step in (0, 10, 20, 30, 40, 50):
        save_checkpoint(folder / f"sft/checkpoint-{step}", seed=step, step=step)
    return folder


@pytest.fixture
def plan(runs, tmp_path):
    """Plans a study over the first checkpoints, with changed sections."""

    def make(number=2, **sections):
        values = copy.deepcopy(STUDY) | sections
        paths = [f"{runs}/sft/checkpoint-{step}" for step in range(0, 10 * number, 10)]
        values["runs"] = {"sft": {"checkpoints": [{"path": path} for path in paths]}}
        return plan_study(parse_study(values), tmp_path / "results")

    return make


def list_measured(planned):
    return {place for place in planned.entries if place.split("/")[0] in MEASURED}


def test_a_plan_waits_for_contrast_data_and_then_for_the_lock(plan):
    first = plan()
    assert [e.stage for e in first.awaited] == ["contrasts"]
    write_stand_in(first, first.awaited[0])
    second = plan()
    assert [e.stage for e in second.awaited] == ["lock"]
    write_stand_in(second, second.awaited[0])
    last = plan()
    assert last.awaited == [] and last.publication is not None
    stages = {"contrasts", "activations", "gradients", "vectors", "lock"}
    assert {p for p in second.entries if p.split("/")[0] in stages - {"gradients"}} <= set(
        last.entries
    )


def settle(plan, **sections):
    while (planned := plan(**sections)).awaited:
        for entry in planned.awaited:
            write_stand_in(planned, entry)
    return planned


def rewrite(planned, entry, **texts):
    """Write an entry anew, with other text in some files."""
    place = planned.store / entry.place
    found = {
        f.relative_to(place).as_posix(): f.read_text() for f in place.rglob("*") if f.is_file()
    }
    manifest = json.loads(found.pop("manifest.json"))
    shutil.rmtree(place)
    with write_entry(place, manifest) as out:
        for name, text in (found | texts).items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(text)


def test_measurements_rest_on_the_content_of_contrast_data_and_lock_not_on_their_keys(plan):
    """Stand-ins of the same texts under another key: only what rests on keys is planned anew."""
    before = settle(plan)
    after = settle(plan, behaviours=STUDY["behaviours"] | {"minimum_prompts": 3})
    assert before.of_stage("contrasts") != after.of_stage("contrasts")
    assert list_measured(before) == list_measured(after)


def test_other_texts_of_a_part_are_measured_anew_and_no_other_part_is(plan):
    before = settle(plan)
    others = '{"id": "others", "reply_cue": "so"}\n'
    rewrite(before, before.of_stage("contrasts")[0], **{"parts/neutral-grammar.jsonl": others})
    after = settle(plan)
    new = list_measured(after) - list_measured(before)
    assert {after.entries[place].context["part"] for place in new} == {"neutral-grammar"}


def test_other_directions_are_steered_anew_and_texts_are_not_read_anew(plan):
    before = settle(plan)
    rewrite(before, before.of_stage("lock")[0], **{"lock.zarr/direction/c": "others"})
    new = list_measured(plan()) - list_measured(before)
    assert {place.split("/")[0] for place in new} == {"responses"} and len(new) == 2


def test_away_from_the_reference_gradients_begin_at_the_locked_layer(plan):
    def list_layers(planned):
        return [e.params["reading"]["first_layer"] for e in planned.of_stage("gradients")]

    assert list_layers(settle(plan)) == [0, 2]
    everywhere = STUDY["steering"] | {"gradient_layers": "all"}
    assert list_layers(settle(plan, steering=everywhere)) == [0, 0]


@pytest.mark.parametrize(
    ("measurements", "hidden", "jobs"),
    [
        (SHARING // 3, 16, [3, 3]),
        (SHARING // 2 + 1, 16, [1] * 6),
        (1, 16, [6]),
        (1, 1400, [5, 1]),
        (1, 2048, [2, 2, 2]),
        (1, 4096, [1] * 6),
    ],
)
def test_checkpoints_share_jobs_where_little_is_measured(plan, measurements, hidden, jobs):
    """The larger they are, the fewer of them."""
    entries = dict.fromkeys(map(str, range(measurements)))
    checkpoints = (replace(c, layers=4, hidden=hidden) for c in plan(6).checkpoints)
    asked = [Asked(checkpoint, {}, entries) for checkpoint in checkpoints]
    assert [len(job) for job in share_jobs(asked, keep_downloads=True)] == jobs


@pytest.mark.parametrize("steered", ["all", "reference"])
def test_a_further_checkpoint_leaves_what_was_found_at_the_others(plan, steered):
    def list_parts(planned, stage):
        (entry,) = planned.of_stage(stage)
        parts = [f"{part['stage']}/{part['key']}" for part in entry.context["parts"]]
        assert all(planned.makers[place] is entry for place in parts)
        return parts

    steering = STUDY["steering"] | {"checkpoints": steered}
    before, after = settle(plan, steering=steering), plan(3, steering=steering)
    for stage in ("coupling", "evocation", "drift", "fragmentation"):
        assert list_parts(after, stage)[:2] == list_parts(before, stage)
        assert before.of_stage(stage) != after.of_stage(stage)
    with_responses = [bool(e.inputs["responses"]) for e in after.of_stage("coupling-part")]
    assert with_responses == [True, steered == "all", steered == "all"]


def test_drift_of_a_checkpoint_rests_on_the_references_vectors_and_texts_too(plan):
    (_, second) = settle(plan).of_stage("drift-part")
    for name in ("vectors", "activations"):
        own, beside = second.inputs[name], second.inputs[f"reference_{name}"]
        assert len(own) == len(beside) == 1 and own != beside


@pytest.mark.parametrize(("where", "steered"), [("all", [0, 1]), ("reference", [1])])
def test_an_entry_over_some_checkpoints_reads_what_is_theirs(plan, where, steered):
    sections = {
        "steering": STUDY["steering"] | {"checkpoints": where},
        "reference": {"run": "sft", "step": 20},
    }
    while (planned := plan(3, **sections)).awaited:
        write_stand_in(planned, planned.awaited[0])
    (coupling,) = planned.of_stage("coupling")
    picked = pick_checkpoints(coupling, [0, 2])
    assert picked.params["steered"] == steered
    labels = ["sft step 0", "sft step 20"]
    assert [e.label for e in picked.inputs["responses"]] == [labels[k] for k in steered]
    assert [part["label"] for part in picked.context["parts"]] == labels
    assert len(picked.inputs["activations"]) == len(picked.params["checkpoints"]) == 2


def test_a_further_checkpoint_leaves_full_jobs_as_they_are(plan):
    before, after = plan(5), plan(6)
    assert before.of_stage("visit")[1] == after.of_stage("visit")[1]


def test_a_visit_is_made_again_when_one_of_its_measurements_is_gone(plan):
    planned = settle(plan)
    for entry in planned.entries.values():
        if entry.stage in (*MEASURED, "visit"):
            write_stand_in(planned, entry)
    forget_unmade(planned)
    visits = [planned.store / e.place for e in planned.of_stage("visit")]
    assert all(map(entry_exists, visits))
    shutil.rmtree(planned.store / planned.of_stage("responses")[0].place)
    forget_unmade(planned)
    assert [entry_exists(visit) for visit in visits] == [True, False]


@pytest.mark.parametrize("stage", ["visit", "lock"])
def test_scratch_of_a_job_that_was_killed_when_all_was_made_is_cleared(plan, stage):
    planned = settle(plan)
    for entry in planned.entries.values():
        if entry.stage in MEASURED:
            write_stand_in(planned, entry)
    living = name_scratch(planned.store / planned.of_stage(stage)[0].place)
    dead = living.with_name(living.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    for scratch in (living, dead):
        scratch.mkdir(parents=True)
    forget_unmade(planned)
    assert living.is_dir() and not dead.exists()


def test_measurements_that_are_there_need_no_visit(plan):
    planned = settle(plan)
    drift = planned.of_stage("drift")[0]
    assert "visit" in {e.stage for e in planned.list_needed(drift.inputs)}
    for entry in planned.entries.values():
        if entry.stage in MEASURED:
            write_stand_in(planned, entry)
    assert {e.stage for e in planned.list_needed(drift.inputs)} == {"fitting", "lock"}


def test_vectors_of_a_visits_checkpoints_are_fitted_by_one_job(plan):
    planned = settle(plan, number=5)
    _, first, second = planned.of_stage("fitting")
    assert first.label == "sft step 10, sft step 20, sft step 30"  # the reference's are earlier
    assert second.label == "sft step 40"
    (visit,) = planned.list_needed(first.inputs)
    assert visit.stage == "visit" and visit.label == f"sft step 0, {first.label}"


def test_a_job_over_entries_reads_what_the_missing_ones_are_made_from(plan):
    planned = settle(plan, number=3)
    fitted = next(e for e in planned.of_stage("vectors") if e.label == "sft step 10")
    write_stand_in(planned, fitted)
    before, after = planned.makers[fitted.place], plan(3).makers[fitted.place]
    assert before.key == after.key and after.label == "sft step 20"
    assert before.context == after.context and len(after.context["entries"]) == 2
    asked = {entry.place for entry in before.list_inputs()} - {e.place for e in after.list_inputs()}
    assert asked == {entry.place for entry in fitted.list_inputs()}


def list_asked(planned, *rules):
    return [entry.label for entry in list_until(planned, rules)]


def test_what_until_asks_for_is_known_once_nothing_of_it_rests_on_what_is_awaited(plan):
    rules = ("contrasts", "lock", "visit", "drift")

    def list_known():
        return [name for name in rules if is_known(plan(6), (name,))]

    assert list_known() == ["contrasts"] and not is_known(plan(6), ("contrasts", "lock"))
    write_stand_in(plan(6), plan(6).awaited[0])
    assert list_known() == ["contrasts", "lock"]  # of visits only the first is known
    write_stand_in(plan(6), plan(6).awaited[0])
    assert list_known() == list(rules)


def test_until_asks_for_jobs_of_which_something_is_missing(plan):
    planned = settle(plan, number=6)
    first, *rest = list_asked(planned, "visit")
    assert first == "sft step 0, random twin of sft step 0" and len(rest) == 2
    for entry in planned.of_stage("visit")[0].context["checkpoints"]:
        for values in entry["entries"]:
            write_stand_in(planned, planned.entries[f"{values['stage']}/{values['key']}"])
    assert list_asked(planned, "visit") == rest
    with pytest.raises(EmodriftError, match="--until: study tiny has no judging or training_base"):
        list_until(planned, ("training_base", "judging"))


def test_external_evals_are_keyed_by_the_files_that_match(plan, tmp_path):
    file = tmp_path / "scores.csv"
    file.write_text("step,value\n0,1\n10,0\n")
    source = {"path": str(file), "format": "csv", "columns": {"value": "value", "step": "step"}}
    (before,) = plan(evals={"sources": [source]}).of_stage("evals")
    file.write_text("step,value\n0,1\n10,1\n")
    (after,) = plan(evals={"sources": [source]}).of_stage("evals")
    assert before.key != after.key
    with pytest.raises(EmodriftError, match=r"evals\.sources\.0\.path: no file matches"):
        plan(evals={"sources": [source | {"path": "none/*.csv"}]})
    assert not plan().of_stage("evals")


def test_a_broken_entry_of_contrast_data_is_told(plan):
    planned = plan()
    with write_entry(planned.store / planned.awaited[0].place, {}) as out:
        (out / "other").write_text("")
    with pytest.raises(EmodriftError, match=r"lacks parts\.json; run `emodrift v"):
        plan()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["runs"]["sft"].update(checkpoints="runs/none/*"), "no directory matches"),
        (lambda s: s["reference"].update(step=11), "reference.step 11 is not a checkpoint"),
        (lambda s: s["contrasts"]["emotions"].append("gleeful "), "contrasts.emotions.4"),
        (lambda s: s["vectors"].update(layer=9), "vectors.layer 9 is outside 0..3"),
        (
            lambda s: s.update(figures={"panels": {"pie": {}}}),
            "figures.panels.pie: 'pie' is no figure",
        ),
        (
            lambda s: s["contrasts"].update(stories={"file": "none.jsonl"}),
            "contrasts.stories: no file matches 'none.jsonl'",
        ),
    ],
)
def test_what_planning_can_see_is_told_in_one_line(runs, tmp_path, change, message):
    values = copy.deepcopy(STUDY)
    values["runs"]["sft"]["checkpoints"] = f"{runs}/sft/checkpoint-*"
    change(values)
    with pytest.raises(EmodriftError) as error:
        plan_study(parse_study(values), tmp_path / "results")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_steering_can_be_kept_to_the_reference_or_the_ends(plan):
    counts = {}
    for chosen in ("all", "ends", "reference"):
        planned = settle(plan, number=3, steering=STUDY["steering"] | {"checkpoints": chosen})
        counts[chosen] = len(planned.of_stage("responses"))
        (coupling,) = planned.of_stage("coupling")
        assert len(coupling.params["steered"]) == counts[chosen]
    assert counts == {"all": 3, "ends": 2, "reference": 1}


def test_phrasings_are_sampled_from_the_named_runs_and_wait_before_the_lock(plan):
    changes = {
        "generation": {"prompts_per_cell": 1, "max_new_tokens": 4, "judge": "replies"},
        "behaviours": STUDY["behaviours"] | {"phrasings": "sampled", "sampled_runs": ["sft"]},
    }
    first = plan(**changes)
    write_stand_in(first, first.awaited[0])
    second = plan(**changes)
    assert [e.stage for e in second.awaited] == ["phrasings"]
    assert len(second.of_stage("samples")) == 2
    write_stand_in(second, second.awaited[0])
    third = plan(**changes)
    assert [e.stage for e in third.awaited] == ["lock"]
    given = {e.place for e in plan().of_stage("gradients")}
    assert not given & {e.place for e in third.of_stage("gradients")}
    once = plan(**changes, steering=STUDY["steering"] | {"checkpoints": "reference"})
    sampled = {e.place for e in once.of_stage("samples")}
    judged = {e.inputs["replies"].place for e in once.of_stage("verdicts")}
    assert len(once.of_stage("replies")) == 1 and len(judged - sampled) == 1
    with pytest.raises(EmodriftError, match="sampled_runs names 'other'"):
        plan(**changes | {"behaviours": changes["behaviours"] | {"sampled_runs": ["other"]}})


def test_texts_that_lead_to_no_reply_are_refused_before_anything_is_measured(plan):
    first = plan()
    write_stand_in(first, first.awaited[0])
    (part, *_) = (first.store / first.awaited[0].place / "parts").glob("controls*.jsonl")
    part.write_text('{"id": "blue-kitchen"}\n')
    with pytest.raises(EmodriftError, match=r"'blue-kitchen' of controls.* has no reply_cue"):
        plan()
    plan(activations={"pooling": "mean"})
