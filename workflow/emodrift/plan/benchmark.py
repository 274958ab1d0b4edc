"""The plan of a benchmark: the study once for each organism seed, and what compares them.

Seeds share contrast data and the store, so that a further seed or run costs itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint, find_reference, list_checkpoints
from emodrift.config.benchmark import Benchmark
from emodrift.config.study import Study
from emodrift.plan.chain import plan_chain
from emodrift.plan.descriptions import describe_checkpoints, describe_fitting
from emodrift.plan.entries import Plan
from emodrift.plan.measurements import Desk, plan_visits
from emodrift.plan.organisms import plan_organisms
from emodrift.plan.publication import plan_figures
from emodrift.plan.texts import plan_contrasts
from emodrift.plan.together import plan_after_visits
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests

SIGNALS = "emodrift.benchmark.signals:measure_signals"
COMPARISON = "emodrift.benchmark.comparison:compare_seeds"
SHARING = 384
"""Measurements in one job."""


class Seed(NamedTuple):
    """The study of one organism seed: its plan, its organisms by run, its contrast data."""

    number: int
    plan: Plan
    organisms: dict[str, Entry]
    contrasts: Entry


def plan_benchmark(plan: Plan, section: Benchmark, digests: FileDigests) -> None:
    """Plan a study's benchmark, as far as its organisms exist.

    Parameters
    ----------
    plan
        Gets all entries, and the publication once all organisms are there.
    section
        The study's `benchmark`.
    digests
        Memory of file digests.
    """
    seeds = [
        _plan_seed(plan, number, digests)
        for number in (*section.threshold_seeds, *section.scoring_seeds)
    ]
    ready = [
        all([plan.await_entry(e) for e in (*seed.organisms.values(), seed.contrasts)])
        for seed in seeds
    ]
    if not all(ready):
        return
    signals = [_plan_signals(seed, section, digests) for seed in seeds]
    plan_after_visits(plan)
    study = plan.study
    compared = plan.add(
        "comparison",
        {
            "seeds": [seed.number for seed in seeds],
            "calibration": list(section.threshold_seeds),
            "rate": study.alarms.false_alarm_rate,
            "level": study.statistics.level,
            "seed": study.seed,
        },
        inputs={"signals": tuple(signals)},
        context={"function": COMPARISON},
        label="all seeds",
        code=[COMPARISON],
    )
    first = replace(plan, checkpoints=seeds[0].plan.checkpoints)
    tables = {"comparison": compared}
    figures = plan_figures(first, tables, find_reference(first.checkpoints, study.reference))
    plan.checkpoints = [c for seed in seeds for c in seed.plan.checkpoints]
    plan.publication = plan.add(
        "publication",
        {"study": study.name, "index": [row for seed in seeds for row in _list_index(seed)]},
        inputs={"tables": tables, "figures": figures},
        label=study.name,
    )
    plan.drop_unneeded()


def choose_seed(study: Study, number: int) -> Study:
    """The study of one organism seed, without its benchmark."""
    assert study.organism
    organism = study.organism.model_copy(update={"seed": number})
    return study.model_copy(update={"organism": organism, "benchmark": None})


def _plan_seed(plan: Plan, number: int, digests: FileDigests) -> Seed:
    own = plan.vary(f"seed {number}", choose_seed(plan.study, number))
    return Seed(number, own, plan_organisms(own), plan_contrasts(own, digests))


def _plan_signals(seed: Seed, section: Benchmark, digests: FileDigests) -> Entry:
    plan, study = seed.plan, seed.plan.study
    folders = {name: plan.store / entry.place for name, entry in seed.organisms.items()}
    plan.checkpoints = _list_checkpoints(study, folders, plan, digests)
    reference = find_reference(plan.checkpoints, study.reference)
    desk = Desk()
    chain = plan_chain(plan, reference, seed.contrasts, desk)
    plan_visits(plan, desk, SHARING)
    return plan.add(
        "signals",
        {
            "checkpoints": describe_checkpoints(plan.checkpoints),
            "reference": plan.checkpoints.index(reference),
            "regimes": dict(section.regimes),
            "sound": list(study.sound_runs),
            "organisms": _name_organisms(study),
            "fitting": describe_fitting(study),
            "rate": study.alarms.false_alarm_rate,
            "seed": seed.number,
        },
        inputs={
            "activations": tuple(chain.readings.activations),
            "lock": chain.lock,
            "trained": {name: seed.organisms[name] for name in _name_organisms(study).values()},
            **{name: chain.summaries[name] for name in ("evocation", "coupling", "indicators")},
        },
        context={"function": SIGNALS},
        label="all checkpoints",
        code=[SIGNALS],
    )


def _list_checkpoints(
    study: Study, folders: Mapping[str, Any], plan: Plan, digests: FileDigests
) -> list[Checkpoint]:
    return [
        checkpoint
        for name, run in study.runs.items()
        for checkpoint in list_checkpoints(
            name, run, digests, organisms=dict(folders), revisions=plan.store / "revisions.json"
        )
    ]


def _name_organisms(study: Study) -> dict[str, str]:
    """Run -> run of the organism section whose checkpoints it has."""
    return {
        name: source.organism
        for name, run in study.runs.items()
        for source in run.checkpoints
        if source.organism
    }


def _list_index(seed: Seed) -> list[dict[str, Any]]:
    return [
        {"seed": seed.number, "run": c.run, "step": c.step, "stage": c.stage, "digest": c.digest}
        for c in seed.plan.checkpoints
    ]
