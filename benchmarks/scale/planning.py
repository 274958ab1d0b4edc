"""Planning: a study beside a bare Snakemake workflow of as many jobs over as many files.

The bare workflow reads the names of its jobs and files from one file. It has what Snakemake needs
to know and no more: no keys, no checkpoints, no params, no messages.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.scale.processes import Cost, run_fresh
from benchmarks.scale.study import settle, write_study
from emodrift.plan.entries import Plan
from emodrift.store.entry import MANIFEST, entry_exists

HEAD = """import json
from pathlib import Path

JOBS = json.loads(Path("jobs.json").read_text())

rule all:
    input: JOBS["all"]
"""
RULE = """
rule {name}:
    input: lambda wildcards: JOBS[wildcards.key]
    output: "results/store/{stage}/{{key}}/manifest.json"
    log: "results/logs/{stage}/{{key}}.log"
    script: "nothing.py"
"""


class Planning(NamedTuple):
    """A dry run of a study over so many checkpoints, and one of a bare workflow of its size."""

    checkpoints: int
    jobs: int
    ours: Cost
    bare: Cost


def measure_planning(folder: Path, checkpoints: int, rounds: int = 3) -> Planning:
    """Plan a study and a bare workflow in turns, each in fresh processes; medians over rounds.

    Parameters
    ----------
    folder
        Where both are written.
    checkpoints, rounds
        How many.
    """
    study, bare = folder / "study", folder / "bare"
    write_study(study, checkpoints)
    with contextlib.chdir(study):
        jobs = write_bare(settle(study), bare)
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "--cores", "2"]
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run_fresh([*command, "--configfile", "study.yaml"], study))
        theirs.append(run_fresh([*command, "--workflow-profile", "none"], bare))
    return Planning(checkpoints, jobs, _take_median(ours), _take_median(theirs))


def write_bare(plan: Plan, folder: Path) -> int:
    """Write a workflow with the jobs and files of a plan and nothing else; return its jobs."""
    folder.mkdir(parents=True)
    jobs: dict[str, list[str]] = {}
    stages: dict[str, None] = {}
    assert plan.publication
    waiting = [plan.publication]
    while waiting:
        entry = waiting.pop()
        if entry.key in jobs:
            continue
        needed = plan.list_needed(entry.inputs)
        jobs[entry.key] = [f"results/store/{e.place}/{MANIFEST}" for e in needed]
        for each in needed:
            if entry_exists(plan.store / each.place):
                place = folder / "results/store" / each.place / MANIFEST
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text("{}")
            else:
                waiting.append(each)
        stages[entry.stage] = None
    number = len(jobs)
    jobs["all"] = [f"results/store/{plan.publication.place}/{MANIFEST}"]
    (folder / "nothing.py").touch()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    rules = [RULE.format(name=s.replace("-", "_"), stage=s) for s in stages]
    (folder / "Snakefile").write_text(HEAD + "".join(rules))
    return number


def _take_median(costs: list[Cost]) -> Cost:
    return Cost(*(sorted(column)[len(costs) // 2] for column in zip(*costs, strict=True)))
