"""A benchmark of warnings from organisms to its page, as small as it can be.

Four steps of training teach nothing, so that its numbers say nothing either: that they are all
there, and that another seed measures that seed alone, is what is held here.
"""

import re

import pandas as pd
import pytest
import yaml

from benchmarks.warning import FIGURES, TABLES, main
from tests.conftest import ROOT, copy_project
from tests.unit.test_benchmark_plan import make_study
from validation.parts import MARKED

RUNS = ("a", "b", "lock-in")
SEED = 102
"""Of a benchmark that shipped ones have scored long ago."""


def write_config(project, **changes):
    project.config.write_text(yaml.safe_dump(make_study(runs=RUNS, **changes), sort_keys=False))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("benchmark"))
    write_config(project)
    project.run()
    return project


def test_every_run_is_scored_by_emodrift_and_all_rivals(project):
    published = project.folder / "results/tiny"
    tables = {name: pd.read_csv(published / f"tables/{name}.csv") for name in TABLES}
    runs = tables["runs"]
    assert set(zip(runs["seed"], runs["run"], strict=True)) >= {
        (seed, run) for seed in (101, 201) for run in RUNS
    }
    assert {"emodrift", "CKA", "evals, exact"} <= set(tables["detectors"]["detector"])
    for figure in FIGURES:
        assert (published / f"figures/{figure}.svg").stat().st_size > 5_000


def test_the_page_is_filled_from_what_was_published(project, tmp_path, monkeypatch):
    page = tmp_path / "docs/page.md"
    page.parent.mkdir()
    shipped = (ROOT / "docs/warning-benchmark.md").read_text()
    page.write_text(MARKED.sub(r"\1\3", shipped))
    folder = project.folder / "results/tiny"
    monkeypatch.setattr("sys.argv", ["warning", str(folder), "--page", str(page)])
    main()
    filled = page.read_text()
    for found in MARKED.finditer(filled):
        name, body = found["name"], found[0].splitlines()[1:-1]
        assert body or name in ("real", "fresh"), name
        assert not re.search(r"\bnan\b", "\n".join(body)), name
    assert all((page.parent / f"figures/{name}.svg").is_file() for name in FIGURES)


def test_another_seed_is_trained_and_measured_alone(project):
    write_config(project, scoring=(101, SEED))
    jobs = project.list_jobs()
    write_config(project)
    assert jobs["organism"] == 1 + len(RUNS)
    assert not jobs.keys() - {"organism", "milestone"}
