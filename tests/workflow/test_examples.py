"""The worked examples of CONTRIBUTING.md, applied to one copy of the project and run."""

import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

from tests.conftest import ROOT, STUDY, copy_project, save_checkpoint

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SECTION = re.compile(r"^### ([^\n]+): (\d) files\n(.*?)(?=^##|\Z)", re.M | re.S)
FILE = re.compile(r"^`(\S+)`:\n\n(.*?)(?=^`\S+`:$|\Z)", re.M | re.S)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
EXAMPLES = {title: (int(count), FILE.findall(body)) for title, count, body in SECTION.findall(TEXT)}


def apply_edit(path, language, block):
    """Write a new file, append lines, or replace what a diff finds once."""
    if language != "diff":
        assert not path.exists()
        path.write_text(block)
        return
    lines = block.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
    new = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
    text = path.read_text()
    assert not old or text.count(old) == 1, f"{path.name} no longer has:\n{old}"
    path.write_text(text.replace(old, new) if old else text + new)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with all examples in it."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    for name in ("resources", "docs"):
        shutil.copytree(ROOT / name, project.folder / name, dirs_exist_ok=True)
    for _, files in EXAMPLES.values():
        for place, body in files:
            for language, block in BLOCK.findall(body):
                apply_edit(project.folder / place, language, block)
    return project


def test_each_example_touches_as_many_files_as_it_says():
    assert len(EXAMPLES) == 5
    for title, (count, files) in EXAMPLES.items():
        assert len(files) == count, title


@pytest.fixture(scope="module")
def published(project):
    for step in (0, 10):
        save_checkpoint(project.folder / f"runs/sft/checkpoint-{step}", seed=step, step=step)
    behaviours = project.folder / "resources/behaviours"
    apology = yaml.safe_load((behaviours / "metrics.yaml").read_text())["apology"]

    def change(study):
        study["contrasts"]["replies"] = str(behaviours / "replies.yaml")
        study["behaviours"]["metrics"] = STUDY["behaviours"]["metrics"] | {"apology": apology}
        study["vectors"]["estimator"] = "difference_of_medians"
        study["generation"] = {"prompts_per_cell": 1, "max_new_tokens": 4, "judge": "rules"}

    project.edit_study(change)
    project.run()
    return project.folder / "results/tiny"


def read(published, table):
    return pd.read_csv(published / f"tables/{table}.csv")


def test_the_new_figure_is_drawn_with_its_numbers(published):
    assert "Noise floors" in (published / "report.html").read_text()
    numbers = pd.read_csv(published / "figures/noise_floors.csv")
    assert set(numbers["concept"]) >= {"happy", "afraid"}


def test_the_new_indicator_is_held_against_its_gates_at_every_checkpoint(published):
    table = read(published, "indicators").set_index(["indicator", "step"]).loc["over_caution"]
    assert set(table.index) == {0, 10}
    if table["applicable"].all():
        assert table.at[0, "value"] == 0 and table.at[10, "value"] != 0
    else:
        assert table["reason"].notna().all() and table["value"].isna().all()
    assert "Over-caution" in (published / "report.html").read_text()


def test_the_new_table_has_a_positive_length_for_every_emotion(published):
    table = read(published, "lengths")
    assert len(table) == 2 * len(STUDY["contrasts"]["emotions"]) and (table["length"] > 0).all()


def test_the_new_estimator_fits_the_vectors(published):
    store = published.parent / "store"
    manifests = [path.read_text() for path in store.glob("vectors/*/manifest.json")]
    assert manifests and all('"difference_of_medians"' in text for text in manifests)


def test_the_new_metric_is_measured_and_its_class_judged(published):
    assert "apology" in set(read(published, "behaviour")["metric"])
    assert "apology" in set(read(published, "replies")["metric"])


def test_the_rules_judge_the_new_class(project):
    script = (
        "from emodrift.judging.judgement import classify_reply; "
        "from emodrift.judging.judges import judge_reply; "
        "print(classify_reply(judge_reply('hi', 'Sorry, I made a mistake earlier.')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, **project.place
    )
    assert done.stdout.strip() == "apologise"
