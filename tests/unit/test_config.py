"""Configs are checked before anything runs, and errors name key and fix."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from emodrift.config.reading import parse_study, read_study
from emodrift.config.reference import README, SCHEMA, render_reference, render_schema
from emodrift.errors import EmodriftError
from tests.conftest import ROOT, STUDY

EXAMPLES = sorted((ROOT / "config").glob("**/*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_every_shipped_config_is_valid(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = read_study(path)
    assert study.reference.run in study.runs
    found = {"discovered"} if study.discovery else set()
    assert study.indicators.caution in {*study.contrasts.bundles, *found}


def test_the_examples_cover_hub_series_trainer_and_adapters():
    names = {path.stem for path in EXAMPLES}
    assert {"pythia", "olmo3-posttraining", "smollm3", "trainer-run", "lora-run", "smoke"} <= names


def test_a_config_without_data_of_its_own_uses_what_is_shipped():
    study = parse_study(
        {"name": "mine", "runs": {"a": {"checkpoints": "x"}}, "reference": {"run": "a", "step": 0}}
    )
    assert len(study.contrasts.emotions) == 24
    assert study.behaviours.metrics["refusal"].suite == "harmful"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(colour="red"), "colour: unknown key"),
        (lambda s: s["steering"].update(strenghts=[1]), "steering.strenghts: unknown key"),
        (lambda s: s.pop("reference"), "reference: missing"),
        (lambda s: s["reference"].update(run="dpo"), "reference.run 'dpo' is not among runs: sft"),
        (
            lambda s: s["contrasts"]["bundles"].update(caution=["afriad"]),
            "unknown emotion 'afriad'",
        ),
        (lambda s: s["contrasts"]["bundles"].pop("caution"), "contrasts.bundles lacks"),
        (lambda s: s["behaviours"]["metrics"].pop("refusal"), "behaviours.metrics lacks"),
        (lambda s: s["runs"].update(sft={"checkpoints": []}), "runs.sft.checkpoints"),
        (
            lambda s: s["runs"]["sft"].update(checkpoints={"path": "a", "repo": "b"}),
            "give exactly one of path, repo, organism",
        ),
        (
            lambda s: s["runs"]["sft"].update(checkpoints={"repo": "b", "revision": "step{step}"}),
            "list the steps under `steps`",
        ),
        (
            lambda s: s["runs"]["sft"].update(checkpoints={"organism": "healthy"}),
            "there is no organism section",
        ),
        (lambda s: s["steering"].update(strengths=[0.5, 1]), "a negative and a positive value"),
        (
            lambda s: s.update(generation={"steered": ["caution", "random-9"]}),
            "generation.steered names 'random-9'",
        ),
        (lambda s: s.update(generation={"strengths": [0, 1]}), "generation: strengths must not"),
        (lambda s: s.update(generation={"steered": ["happy", "happy"]}), "'happy' twice; keep one"),
        (
            lambda s: s.update(generation={"judge": {"model": "m", "endpoint": "host:1/v1"}}),
            "must start with http:// or https://",
        ),
        (
            lambda s: s.update(generation={"judge": "replies", "annotations": "a.csv"}),
            "annotations are labels of English replies",
        ),
        (
            lambda s: (
                s.update(generation={}),
                s["behaviours"]["metrics"]["refusal"].update(toward="flatter"),
            ),
            "behaviours.metrics.refusal.toward is 'flatter'",
        ),
        (lambda s: s["contrasts"].update(stories={"seed": 1}), "exactly one of generator and file"),
        (
            lambda s: s["contrasts"].update(amounts={"prompts": {"harmful": 1}}),
            "study.yaml: contrasts.amounts.prompts.harmful: Input should be greater than",
        ),
        (lambda s: s.update(vectors={"layer": "x"}), "vectors.layer: Input should be 'auto', or: "),
        (
            lambda s: s["runs"].update({"My Run": {"checkpoints": "a"}}),
            "runs.My Run.[key]: String should match",
        ),
    ],
)
def test_a_bad_config_fails_with_one_line_that_names_the_key(change, message):
    values = copy.deepcopy(STUDY)
    change(values)
    with pytest.raises(EmodriftError, match=re.escape(message)) as error:
        parse_study(values, "config/study.yaml")
    assert str(error.value).startswith("config/study.yaml: ")
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_config_file_is_named(tmp_path):
    with pytest.raises(EmodriftError, match="does not exist"):
        read_study(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(EmodriftError, match=r"bad\.yaml is not valid YAML"):
        read_study(tmp_path / "bad.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(EmodriftError, match=r"empty\.yaml is empty"):
        read_study(tmp_path / "empty.yaml")


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("base.yaml").write_text(yaml.safe_dump(STUDY))
    return STUDY


def test_a_config_lies_over_the_one_that_it_extends(base):
    own = {"extends": "base.yaml", "seed": 5, "steering": {"strengths": [-1, 1]}}
    study = parse_study(own)
    asked = copy.deepcopy(base) | {"seed": 5}
    asked["steering"] = base["steering"] | {"strengths": [-1, 1]}
    assert study == parse_study(asked)
    Path("middle.yaml").write_text(yaml.safe_dump(own))
    assert parse_study({"extends": "middle.yaml", "seed": 6}).steering == study.steering


@pytest.mark.parametrize("named", ["none.yaml", ".", 3, "x" * 5000, "\0"])
def test_what_a_config_cannot_extend_is_one_line(base, named):
    with pytest.raises(EmodriftError, match=r"^mine\.yaml: extends: [^\n]{1,300}$"):
        parse_study({"extends": named}, "mine.yaml")


def test_a_config_that_extends_itself_is_refused(base):
    for name, other in (("a", "b"), ("b", "a")):
        Path(f"{name}.yaml").write_text(f"extends: {other}.yaml\n")
    with pytest.raises(EmodriftError, match=r"^a\.yaml: extends: b\.yaml extends itself"):
        read_study(Path("a.yaml"))


def test_the_config_reference_and_schema_are_up_to_date():
    assert README.read_text() == render_reference(), "run `make docs`"
    assert SCHEMA.read_text() == render_schema(), "run `make docs`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_editors_find_nothing_wrong_with_a_shipped_config(path):
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(SCHEMA.read_text()))


def test_editors_find_a_key_that_there_is_not_and_a_value_of_another_kind():
    schema = json.loads(SCHEMA.read_text())
    for wrong in ({"steering": {"strenghts": [1]}}, {"seed": "one"}, {"runs": {"a": 3}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_conda_environment_pins_what_the_lock_pins():
    lock = dict(
        line.split("==")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    )
    lock = {re.sub("[-_.]+", "-", name).lower(): version for name, version in lock.items()}
    conda_names = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
    conda_names["snakemake-minimal"] = "snakemake"
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pins = [p.split("=") for p in environment["dependencies"] if isinstance(p, str) and "=" in p]
    for name, version in pins:
        package = conda_names.get(name, name).replace("_", "-")
        if package != "python":
            assert lock[package] == version, name
    assert {"torch", "snakemake", "transformers", "zarr"} <= {
        conda_names.get(n, n) for n, _ in pins
    }
