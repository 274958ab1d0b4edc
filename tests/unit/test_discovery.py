"""Discovery lists what there is, and writes configs that name the same checkpoints."""

import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from emodrift.checkpoints.discovery import discover
from emodrift.checkpoints.names import read_name
from emodrift.checkpoints.series import guess_stage, list_sources, thin_out
from emodrift.cli import main
from emodrift.cli.finding import list_hub_checkpoints
from emodrift.config.reading import parse_study, read_study
from emodrift.store.memory import FileDigests
from tests.adapters import save_adapter
from tests.conftest import ROOT, save_checkpoint
from tests.hub_server import HubRepo, serve_hub


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base, a Trainer's folder with its final model, a LoRA folder; a broken and a big one."""
    root = tmp_path_factory.mktemp("runs")
    save_checkpoint(root / "base", seed=0, step=0)
    (root / "base/trainer_state.json").unlink()
    for step in (5, 30, 200):
        save_checkpoint(root / f"sft/checkpoint-{step}", seed=step, step=step)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(root / "sft/checkpoint-200" / name, root / "sft")
    for step in (10, 20):
        save_adapter(root / f"lora/checkpoint-{step}", root / "base", step)
    shutil.copytree(root / "base", root / "broken/checkpoint-1")
    (root / "broken/checkpoint-1/model.safetensors").unlink()
    return root


@pytest.fixture(scope="module")
def server(folders):
    checkpoint, other = folders / "base", folders / "sft/checkpoint-5"

    def name(pattern, *steps, **more):
        names = {pattern.format(step=s, tokens=2 * s): checkpoint for s in steps}
        return names | {name: checkpoint for name in more}

    tree = folders / "tree"
    for step in (100, 20):
        shutil.copytree(other, tree / f"all/checkpoint-{step}")
    repos = {
        "org/pythia-70m": HubRepo(name("step{step}", 0, 1, 512, 143000, main=1)),
        "org/OLMo-2": HubRepo(
            name("stage1-step{step}-tokens{tokens}B", 0, 150, 600, main=1)
            | name("stage2-ingredient1-step{step}-tokens{tokens}B", 0, 1000)
        ),
        "org/Olmo-3": HubRepo(name("stage1-step{step}", 0, 99) | name("stage2-step{step}", 0, 50)),
        "org/SmolLM3": HubRepo(name("stage1-step-{step}", 40000, 80000) | name("it-SFT")),
        "org/Amber": HubRepo(name("ckpt_{step:03d}", 0, 7, 120, main=1)),
        "org/tree": HubRepo({"main": tree}),
        "org/Model-SFT": HubRepo({"main": other}),
        "org/Model-Instruct-DPO": HubRepo({"main": checkpoint}),
        "org/Model-Instruct": HubRepo({"main": other}),
        "org/mixed": HubRepo({"step1": checkpoint, "step2": folders / "broken/checkpoint-1"}),
        "org/gated": HubRepo({"main": checkpoint}, gated=True),
    }
    with serve_hub(repos) as hub:
        yield hub


@pytest.fixture
def workplace(server, folders, monkeypatch, tmp_path):
    """A working directory with the folders as `runs`, whose hub is the server."""
    server.point_client(monkeypatch, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").symlink_to(folders)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("step143000", ("", 143000, None, "step{step}")),
        ("stage1-step150-tokens1B", ("stage1", 150, 10**9, "stage1-step{step}-tokens{tokens}B")),
        ("stage2-step1000", ("stage2", 1000, None, "stage2-step{step}")),
        ("stage1-step-40000", ("stage1", 40000, None, "stage1-step-{step}")),
        ("ckpt_007", ("", 7, None, "ckpt_{step}")),
        ("checkpoint-500", ("", 500, None, "checkpoint-{step}")),
        ("global_step1000", ("", 1000, None, "global_step{step}")),
        ("stage2-ingredient3-step5-tokens2T", ("stage2-ingredient3", 5, 2 * 10**12,
         "stage2-ingredient3-step{step}-tokens{tokens}T")),
    ],
)  # fmt: skip
def test_names_tell_stage_step_and_tokens(name, told):
    found = read_name(name)
    assert (found.stage, found.step, found.tokens, found.pattern) == told


@pytest.mark.parametrize("name", ["main", "v1.0", "it-SFT", "step", "gptneox-7b"])
def test_other_names_tell_nothing(name):
    assert read_name(name) is None


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("Olmo-3-7B-Instruct-SFT", "sft"),
        ("Olmo-3-7B-Instruct-DPO", "dpo"),
        ("Olmo-3-7B-Instruct", "instruct"),
        ("SmolLM3-3B-Base", "base"),
        ("pythia-70m", ""),
    ],
)
def test_repositories_tell_their_stage(name, stage):
    assert guess_stage(name) == stage


PATTERNS = {
    "org/pythia-70m": [{"revision": "step{step}", "steps": [0, 1, 512, 143000]}],
    "org/OLMo-2": [
        {
            "revision": "stage1-step{step}-tokens{tokens}B",
            "steps": [0, 150, 600],
            "token_counts": [0, 300, 1200],
        },
        {
            "revision": "stage2-ingredient1-step{step}-tokens{tokens}B",
            "steps": [0, 1000],
            "token_counts": [0, 2000],
        },
    ],
    "org/Olmo-3": [
        {"revision": "stage1-step{step}", "steps": [0, 99]},
        {"revision": "stage2-step{step}", "steps": [0, 50]},
    ],
    "org/SmolLM3": [{"revision": "stage1-step-{step}", "steps": [40000, 80000]}],
    "org/Amber": [{"revision": "ckpt_{step:03d}", "steps": [0, 7, 120]}],
    "org/tree": [{"subfolder": "all/checkpoint-{step}", "steps": [20, 100]}],
}


@pytest.mark.parametrize("repo", PATTERNS)
def test_the_config_written_for_a_repository_names_all_that_was_found(repo, workplace, server):
    assert main(["discover", repo, "--write", "config/found.yaml"]) == 0
    study = read_study(workplace / "config/found.yaml")
    ((name, run),) = study.runs.items()
    given = [s.model_dump(mode="json", exclude_defaults=True) for s in run.checkpoints]
    wanted = [{"repo": repo} | pattern for pattern in PATTERNS[repo]]
    assert [{k: v for k, v in g.items() if k != "stage"} for g in given] == wanted
    seen = [
        s for series in discover(repo, FileDigests(workplace / "memo")) for s in series.sightings
    ]
    listed = list_hub_checkpoints(study)
    assert [(c.step, c.tokens) for c in listed] == [(s.step, s.tokens) for s in seen]
    assert [c.location["commit"] for c in listed] == [s.identity for s in seen]
    stages = [c.stage for c in listed]
    assert (study.reference.run, study.reference.step) == (name, listed[0].step)
    assert study.reference.stage in ((stages[0],) if len({*stages}) > 1 else (None,))
    assert server.list_downloads() == []


def test_a_series_over_repositories_and_folders_is_one_run_of_stages(workplace, capsys):
    places = ["org/pythia-70m", "org/Model-SFT", "org/Model-Instruct-DPO", "org/Model-Instruct"]
    assert main(["discover", *places, "runs/sft", "--write", "series.yaml"]) == 0
    assert "org/pythia-70m has 4 more revisions with steps" in capsys.readouterr().out
    study = read_study(workplace / "series.yaml")
    listed = list_hub_checkpoints(study)
    assert [(c.stage, c.step) for c in listed] == [
        ("base", 0), ("sft", 1), ("dpo", 2), ("instruct", 3), ("sft-2", 5), ("sft-2", 30),
        ("sft-2", 200)]  # fmt: skip
    assert study.reference.stage == "base"
    assert listed[4].label == "series sft-2 step 5"


def test_folders_are_runs_and_adapters_come_after_their_base(workplace, folders, capsys):
    assert main(["discover", "runs/lora", "--write", "lora.yaml"]) == 0
    assert f"adapter of {folders}/base" in capsys.readouterr().out
    text = (workplace / "lora.yaml").read_text()
    assert "- {path: runs/lora/checkpoint-*}" in text
    listed = list_hub_checkpoints(read_study(workplace / "lora.yaml"))
    assert [c.step for c in listed] == [0, 10, 20]
    assert ["base" in c.location for c in listed] == [False, True, True]

    assert main(["discover", "runs", "--write", "all.yaml"]) == 0
    out = capsys.readouterr().out
    assert "runs/broken/checkpoint-1 holds no *.safetensors file" in out
    assert "runs/sft itself holds a model" in out
    study = yaml.safe_load((workplace / "all.yaml").read_text())
    assert {"sft", "lora"} < set(study["runs"]) and "broken" not in study["runs"]
    assert study["runs"]["sft"] == {
        "stage": "sft",
        "checkpoints": [{"path": "runs/sft/checkpoint-*"}],
    }


def test_a_long_series_is_thinned_evenly_and_keeps_its_ends(workplace):
    digests = FileDigests(workplace / "memo")
    (series,) = discover("org/pythia-70m", digests)
    steps = [s.step for s in thin_out(series, limit=3).sightings]
    assert steps[0] == 0 and steps[-1] == 143000 and len(steps) == 3
    assert [s.step for s in thin_out(series, every=2).sightings] == [0, 512, 143000]
    (local,) = discover("runs/sft/checkpoint-*", digests)
    assert list_sources(local) == [{"path": "runs/sft/checkpoint-*"}]
    assert list_sources(thin_out(local, limit=2)) == [
        {"path": "runs/sft/checkpoint-5"},
        {"path": "runs/sft/checkpoint-200"},
    ]


def test_a_revision_that_cannot_be_measured_is_listed_and_left_out(workplace, capsys):
    assert main(["discover", "org/mixed", "--write", "mixed.yaml"]) == 0
    assert "step2: hub repo org/mixed@step2 holds no *.safetensors" in capsys.readouterr().out
    assert [c.step for c in list_hub_checkpoints(read_study(workplace / "mixed.yaml"))] == [1]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("org/none", "hub repo org/none does not exist, or is private"),
        ("nothing", "'nothing' is neither a directory here (seen from "),
        ("empty", "empty holds no checkpoint, nor a folder that does"),
        ("org/gated", "hub repo org/gated is gated; accept its terms"),
        ("org/pythia-70m@step3", "hub repo org/pythia-70m has no revision 'step3'"),
    ],
)
def test_what_cannot_be_discovered_is_one_line(place, message, workplace, capsys):
    (workplace / "empty").mkdir()
    assert main(["discover", place]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("emodrift: error: ") and message in line


def test_a_config_that_exists_is_not_overwritten(workplace, capsys):
    (workplace / "mine.yaml").write_text("name: mine")
    assert main(["discover", "runs/sft", "--write", "mine.yaml"]) == 1
    assert "mine.yaml exists" in capsys.readouterr().err
    assert (workplace / "mine.yaml").read_text() == "name: mine"


def test_the_command_downloads_what_a_study_needs_and_the_study_then_plans_offline(
    server, folders, tmp_path
):
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")} | server.environment(cache)

    def call(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "emodrift.cli", *arguments],
            cwd=tmp_path, env=environment | more, capture_output=True, text=True,
        )  # fmt: skip

    written = call("discover", "org/pythia-70m", "--limit", "2", "--write", "mine.yaml")
    assert written.returncode == 0, written.stderr
    assert re.search(r"To download: .* kB; .* is free at", written.stdout)
    server.requests.clear()
    done = call("download", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "2 downloads from the hub" in done.stdout
    assert len(list(cache.glob("*/snapshots/*/model.safetensors"))) == 2
    asked = len(server.requests)
    again = call("download", "mine.yaml", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert len(server.requests) == asked


def test_the_project_installs_the_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert pkgutil.resolve_name(scripts["emodrift"]) is main


def test_nothing_that_can_be_measured_writes_nothing(workplace, capsys):
    assert main(["discover", "runs/broken", "--write", "broken.yaml"]) == 1
    assert "nothing that was found can be measured" in capsys.readouterr().err
    assert not (workplace / "broken.yaml").exists()


EXAMPLES = sorted((ROOT / "config/examples").glob("*.yaml"))
PAGE = (ROOT / "docs/checkpoints.md").read_text()


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_the_configs_in_the_documentation_are_valid(text):
    values = yaml.safe_load(text)
    first = {"run": next(iter(values["runs"])), "step": 0}
    study = parse_study({"name": "page", "reference": first, **values})
    assert study.runs


def test_patterns_of_the_examples_name_revisions_that_tell_their_step():
    patterns = 0
    for path in (p for p in EXAMPLES if "reference" in yaml.safe_load(p.read_text())):
        values = yaml.safe_load(path.read_text())
        for run in parse_study(values).runs.values() if "runs" in values else ():
            for source in run.checkpoints:
                for step in source.steps:
                    patterns += 1
                    assert read_name(source.revision.format(step=step)).step == step
    assert patterns > 10
