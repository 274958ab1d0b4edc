"""The workflow is used from another repository, tested in a folder of its own, and packed."""

import re
import subprocess
import sys

import yaml

from emodrift.config.reading import parse_study
from tests.conftest import ROOT

SNAKEFILE = """\
configfile: "config/config.yaml"


module emodrift:
    snakefile:
        "{snakefile}"
    config:
        config


use rule * from emodrift
"""


def test_another_repository_plans_a_study_with_the_workflow_as_a_module(tmp_path):
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text(SNAKEFILE.format(snakefile=ROOT / "Snakefile"))
    (tmp_path / "config").mkdir()
    smoke = (ROOT / "config/examples/smoke.yaml").read_text()
    (tmp_path / "config/config.yaml").write_text(smoke)
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"^organism +3$", done.stdout + done.stderr, re.MULTILINE)


def test_the_catalogs_test_folder_holds_the_smallest_study():
    config = yaml.safe_load((ROOT / ".test/config/config.yaml").read_text())
    assert parse_study(config).name == "smoke"


def test_the_container_copies_files_that_there_are_and_that_are_not_ignored():
    recipe = (ROOT / "Dockerfile").read_text()
    copied = [w for line in re.findall(r"^COPY (.+)$", recipe, re.M) for w in line.split()[:-1]]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    kept = (ROOT / ".dockerignore").read_text().split()
    assert [name for name in copied if f"!{name}" not in kept] == []
