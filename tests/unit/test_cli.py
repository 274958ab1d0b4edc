"""The command says what it would do, why, and what was found, and ends with a code for scripts."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from emodrift.cli import main, running
from emodrift.cli.console import format_seconds, print_table
from emodrift.cli.garbage import delete_entries, find_garbage
from emodrift.cli.outlook import foresee
from emodrift.cli.reasons import CONTENT, NEW, compare_values, explain, find_causes
from emodrift.cli.running import split_flags
from emodrift.cli.study import DEFAULT
from emodrift.config.reading import parse_study
from emodrift.cost.estimate import estimate_study
from emodrift.errors import EmodriftError
from emodrift.plan.study import plan_study
from emodrift.store.entry import Entry, write_entry
from tests.conftest import ROOT, STUDY, save_checkpoint, write_stand_in


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for step in (0, 10):
        save_checkpoint(folder / f"sft/checkpoint-{step}", seed=step, step=step)
    return folder


@pytest.fixture
def workplace(runs, tmp_path, monkeypatch):
    """A folder with a config and checkpoints, in which the command is called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(runs)
    write_config(tmp_path, STUDY)
    return tmp_path


def write_config(folder, values, name="mine.yaml"):
    (folder / name).write_text(yaml.safe_dump(values, sort_keys=False))


def call(capsys, *arguments):
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def make(plan, *stages):
    """Write entries of a plan as finished ones, with no more in them than a plan reads."""
    for entry in plan.entries.values():
        if entry.stage in stages:
            write_stand_in(plan, entry)


def settle(values=STUDY):
    """A plan whose contrast data and lock are there, so that all its keys are the last word."""
    make(plan_here(values), "contrasts")
    make(plan_here(values), "lock")
    return plan_here(values)


def plan_here(values=STUDY):
    from emodrift.cli.study import RESULTS

    return plan_study(parse_study(values), RESULTS)


COMMANDS = ("init", "discover", "check", "plan", "run", "status", "why", "figures", "report")
COMMANDS += ("audit", "export", "bundle", "verify", "adopt", "gc", "download")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_itself_with_an_example(command, capsys):
    code, out, _ = call(capsys, command, "--help")
    assert code == 0 and f"Example: emodrift {command}" in " ".join(out.split())


def test_help_is_fast_for_nothing_heavy_is_imported():
    heavy = ("torch", "transformers", "snakemake", "pandas", "numpy", "xarray")
    program = (
        "import sys; from emodrift.cli import main; main(['plan', '--help']);"
        f"print(sorted(set({heavy}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_a_wrong_call_ends_with_two_and_an_error_with_one_line(workplace, capsys):
    assert call(capsys, "plan", "--no-such-flag")[0] == 2
    code, _, err = call(capsys, "plan", "none.yaml")
    assert code == 1 and err == (
        "emodrift: error: config file none.yaml does not exist; pass --configfile PATH\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("config.yaml", "--palette", "deep"), "--palette are for bundles"),
        (("study.zip", "--figure", "drift"), "--figure is for studies"),
        (("config.yaml", "--figure", "drift", "--dry-run"), "--dry-run is for Snakemake"),
        (("study.zip", "--cores", "1"), "--cores 1 is for Snakemake"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(capsys, arguments, said):
    code, _, err = call(capsys, "figures", *arguments)
    assert code == 2 and said in " ".join(err.replace("│", " ").split())


def test_flags_may_stand_without_a_config_and_not_before_it():
    flags = ["--until", "lock"]
    assert split_flags(Path("a.yaml"), flags) == (Path("a.yaml"), flags)
    assert split_flags(Path("--until"), ["lock"]) == (DEFAULT, flags)
    with pytest.raises(typer.BadParameter, match="name the config first"):
        split_flags(Path("--cores"), ["4", "a.yaml"])


def test_output_in_a_pipe_is_plain_and_every_row_is_one_line(capsys):
    print_table(("stage", "n"), [("a" * 300, 5), ("[b]", None)], right=("n",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and "\x1b" not in "".join(lines)
    assert lines[1].split() == ["a" * 300, "5"] and lines[2].split() == ["[b]", "-"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.4, "4 s"), (125, "2 min 05 s"), (7500, "2 h 05 min")]
)
def test_durations_are_said_as_people_say_them(seconds, said):
    assert format_seconds(seconds) == said


def test_a_config_is_checked_without_a_model(workplace, capsys):
    code, out, _ = call(capsys, "check", "mine.yaml")
    assert code == 0
    assert "mine.yaml is right: 2 checkpoints in 1 run, 4 emotions, 4 metrics." in out
    write_config(workplace, STUDY | {"reference": {"run": "sft", "step": 7}})
    code, _, err = call(capsys, "check", "mine.yaml")
    assert code == 1 and "reference.step 7 is not a checkpoint" in err


def test_init_writes_a_config_that_checks_and_asks_nobody_in_a_script(workplace, capsys):
    code, out, _ = call(capsys, "init", "new.yaml", "--runs", "runs/sft")
    assert code == 0 and "Wrote new.yaml" in out
    assert yaml.safe_load((workplace / "new.yaml").read_text())["name"] == "new"
    code, _, err = call(capsys, "init", "other.yaml")
    assert code == 1 and "--runs is missing" in err


def test_the_plan_counts_what_is_to_do_and_judges_it_by_what_was_done(workplace, capsys):
    plan = settle()
    first = next(e for e in plan.of_stage("activations") if "step 10" in e.label)
    with write_entry(plan.store / first.place, {}) as out:
        (out / "file").write_bytes(bytes(5000))
    manifest = plan.store / first.place / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"seconds": 60}))
    tasks = estimate_study(plan, 1).tasks
    (outlook,) = [o for o in foresee(plan, tasks) if o.stage == "activations"]
    assert (outlook.done, outlook.missing) == (1, 9)  # four parts of each, two of the twin
    assert outlook.seconds == 540 and outlook.size > 10_000
    code, out, _ = call(capsys, "plan", "mine.yaml")
    assert code == 0 and re.search(r"activations +1 +9 +9 min 00 s", out)
    assert "not known yet: gradients, vectors" in out


def test_the_status_says_what_is_missing_and_what_comes_next(workplace, capsys):
    code, out, _ = call(capsys, "status", "mine.yaml")
    assert code == 0 and "tiny: 0 of " in out and "Next: emodrift run mine.yaml" in out


def test_a_study_without_entries_is_new(workplace, capsys):
    _, out, _ = call(capsys, "why", "mine.yaml")
    assert "contrasts of " in out and NEW in out


def test_what_reruns_is_told_by_the_config_value_that_changed(workplace, capsys):
    plan = settle()
    make(plan, *{e.stage for e in plan.entries.values()} - {"contrasts", "lock", "publication"})
    assert explain(plan) == []
    write_config(workplace, STUDY | {"steering": STUDY["steering"] | {"strengths": [-0.25, 0.25]}})
    code, out, _ = call(capsys, "why", "mine.yaml")
    assert code == 0
    assert re.search(
        r"responses of sft step 0, sft step 10:\n  reading\.steering\.strengths: ", out
    )
    assert re.search(r"coupling of all checkpoints:\n  it is made from other responses of sft", out)
    parts = r"coupling-part of sft step 0, sft step 10:\n  it is made from other responses\n"
    assert re.search(parts, out)
    assert "activations" not in out and "vectors of" not in out


def test_changed_code_and_content_are_told_apart(workplace):
    plan = plan_here()
    entry = Entry("lock", "k", {"layer": 2}, code="new")
    same = {"params": {"layer": 2}, "code": "new", "inputs": {}}
    assert find_causes(entry, [same], plan) == [CONTENT]
    assert find_causes(entry, [same | {"code": "old"}], plan) == ["the code of stage lock changed"]


def test_an_entry_is_held_against_the_former_one_that_is_most_like_it(workplace):
    plan = plan_here()
    entry = Entry("lock", "k", {"layer": 2, "seed": 0, "nulls": 9}, code="c")
    far = {"params": {"layer": 1, "seed": 1, "nulls": 9}, "code": "c", "inputs": {}}
    near = {"params": {"layer": 1, "seed": 0, "nulls": 9}, "code": "c", "inputs": {}}
    assert find_causes(entry, [far, near], plan) == ["layer: 1 → 2"]


def test_values_are_compared_key_by_key():
    before, now = {"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": 3}, "l": [1, 2], "n": "x"}
    assert list(compare_values(before, now)) == [
        "a.b: 1 → 3", "a.c was removed", "l: 1 → 2 items", 'n was added: "x"']  # fmt: skip


def test_run_passes_flags_on_and_ends_as_snakemake_ends(workplace, monkeypatch):
    called = []
    monkeypatch.setattr(running.subprocess, "call", lambda command: called.append(command) or 5)
    assert main(["run", "mine.yaml", "--cores", "2", "-n", "--until", "lock"]) == 5
    (command,) = called
    assert command[1:4] == ["-m", "snakemake", "--configfile"]
    assert command[4:] == [
        "mine.yaml", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "-n", "--until",
        "lock"]  # fmt: skip


def publish(folder, alarms, **changed):
    published = folder / "results" / "tiny"
    published.mkdir(parents=True, exist_ok=True)
    run = {"run": "sft", "role": "observed", "verdict": "sound", "alarm_step": None, "level": 0.4}
    run |= {"sentence": "sft: sound."}
    if alarms:
        run |= {"verdict": "policy collapse", "alarm_step": 10, "sentence": "sft: it collapsed."}
    audit = {"format": 2, "alarms": alarms, "runs": [run | changed]}
    (published / "audit.json").write_text(json.dumps(audit))
    (published / "report.html").write_text("<html>")


def test_the_audit_ends_with_three_on_an_alarm(workplace, capsys):
    alarm = {"run": "sft", "step": 10, "indicator": "ebci", "value": 1.2, "threshold": 3.0}
    publish(workplace, [alarm | {"expected_of_healthy": 0.1, "deviation": 5.5}])
    code, out, _ = call(capsys, "audit", "mine.yaml")
    assert code == 3
    assert re.search(r"sft +observed +policy collapse +10 +0\.4", out)
    assert re.search(r"sft +ebci +10 +1\.2 +0\.1 +5\.5 +3\.0", out)
    assert out.endswith("sft: it collapsed.\ntiny: 1 alarm in 1 run.\n")


def test_the_audit_of_a_sound_study_ends_well_and_of_none_with_an_error(workplace, capsys):
    code, _, err = call(capsys, "audit", "mine.yaml")
    assert code == 1 and "study tiny is not finished" in err
    publish(workplace, [])
    code, out, _ = call(capsys, "audit", "mine.yaml")
    assert code == 0 and re.search(r"sft +observed +sound +- +0\.4", out)
    assert out.endswith("\ntiny: no alarm.\n")
    moved = "sft: changed in evals alone: refusal is 0.40, where sound runs show 0.83."
    publish(workplace, [], verdict="changed in evals alone", sentence=moved)
    code, out, _ = call(capsys, "audit", "mine.yaml")
    assert code == 0 and out.endswith(f"\n{moved}\ntiny: no alarm.\n")
    assert call(capsys, "report", "mine.yaml")[1] == "results/tiny/report.html\n"
    (workplace / "results/tiny/audit.json").write_text('{"alarms": []}')
    assert "another version's format" in call(capsys, "audit", "mine.yaml")[2]


@pytest.mark.parametrize("command", [("bundle",), ("export",), ("export", "--format", "tables")])
def test_a_study_that_is_not_finished_exports_nothing(workplace, capsys, command):
    code, _, err = call(capsys, command[0], "mine.yaml", *command[1:])
    assert code == 1 and len(err.splitlines()) == 1


def test_a_damaged_store_ends_with_one(workplace, capsys):
    plan = plan_here()
    make(plan, "contrasts")
    assert call(capsys, "verify")[0] == 0
    (entry,) = plan.of_stage("contrasts")
    (plan.store / entry.place / "file").write_text("other")
    code, out, _ = call(capsys, "verify")
    assert code == 1 and f"{entry.place}" in out


def test_clearing_up_tells_first_and_deletes_former_versions_alone(workplace, capsys):
    former, plan = settle(STUDY | {"seed": 5}), settle()
    make(former, "drift")
    gone = [former.store / e.place for s in ("lock", "drift") for e in former.of_stage(s)]
    assert sorted(find_garbage([plan], plan.store)) == sorted(gone)
    code, out, _ = call(capsys, "gc", "mine.yaml")
    assert code == 0 and "2 entries" in out and all(p.is_dir() for p in gone)
    code, out, _ = call(capsys, "gc", "mine.yaml", "--delete")
    assert "Deleted 2 entries" in out and not any(p.is_dir() for p in gone)
    assert call(capsys, "gc", "mine.yaml")[1].startswith("Nothing: every entry")


def test_clearing_up_keeps_measurements_that_are_needed_and_stages_it_does_not_know(workplace):
    plan = settle()
    kept = plan.of_stage("activations")[0].place
    for place in (kept, "activations/left", "other-tool/kept"):
        with write_entry(plan.store / place, {}) as out:
            (out / "file").write_text(place)
    assert find_garbage([plan], plan.store) == [plan.store / "activations/left"]
    delete_entries([plan.store / "activations/left"])
    assert not (plan.store / "activations/left").exists()


def test_clearing_up_waits_for_a_plan_that_is_the_last_word(workplace):
    with pytest.raises(EmodriftError, match="cannot be planned to its end before it has contrast"):
        find_garbage([plan_here()], plan_here().store)


def test_clearing_up_refuses_while_another_study_was_published_from_the_store(workplace):
    plan = settle()
    (workplace / "results" / "other" / ".published").mkdir(parents=True)
    with pytest.raises(EmodriftError, match="study other was published from this store too"):
        find_garbage([plan], plan.store)
    shutil.rmtree(workplace / "results" / "other")
    assert find_garbage([plan], plan.store) == []
