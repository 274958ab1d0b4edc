"""Detectors on the real model: a section of docs/warning-benchmark.md, from a finished `make real`.

``python -m benchmarks.real_model config/examples/real-seeds.yaml``
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from benchmarks.warning import PAGE
from emodrift.benchmark.detectors import (
    Detector,
    list_safety,
    measure_largest_change,
    score_study,
)
from emodrift.benchmark.detectors import list_detectors as list_rivals
from emodrift.benchmark.signals import open_views, tabulate_signals
from emodrift.benchmark.tables import KEYS, Tables
from emodrift.checkpoints.checkpoint import find_reference
from emodrift.config.reading import read_study
from emodrift.drift.table import read_table
from emodrift.plan.descriptions import describe_checkpoints, describe_fitting
from emodrift.plan.entries import Plan
from emodrift.plan.study import plan_study
from emodrift.warning.behaviour import list_probabilities
from emodrift.warning.measured import read_measured
from validation.parts import fill_parts

RESULTS = Path("results")
ADAPTER = "adapter_model.safetensors"
PAIR = ("lora_A", "lora_B")
READING = ("drift", "evocation", "coupling")
"""Stages that read, together, all kinds of measurements of every checkpoint."""
JUDGED = "evals, judged replies"
LEFT_OUT = "harmful refusal"


def main() -> None:
    """Score the study's runs and fill the page's section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model", description=__doc__)
    parser.add_argument("config", type=Path, help="as `make real` was given it")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    study = read_study(options.config)
    scores = score_runs(plan_study(study, RESULTS))
    text = options.page.read_text(encoding="utf-8")
    part = list_detectors(scores, study.sound_runs, study.reference.run)
    options.page.write_text(fill_parts(text, {"real": part}, all_of_them=False), encoding="utf-8")


def score_runs(plan: Plan) -> pd.DataFrame:
    """Score of every checkpoint after the reference by every detector: run, step, detector, score.

    Parameters
    ----------
    plan
        Of a finished study whose runs are adapters of one base.
    """
    study = plan.study
    reference = find_reference(plan.checkpoints, study.reference)
    place = (reference.run, int(reference.step))
    behaviour = _read(plan, "coupling", "behaviour")
    coupling = plan.store / plan.of_stage("coupling")[0].place
    measured = read_measured([coupling], plan.checkpoints.index(reference))
    tables = Tables(
        _read(plan, "indicators", "indicators"),
        _read(plan, "indicators", "course"),
        behaviour,
        _read(plan, "evocation", "projections"),
        list_probabilities(measured, list_safety(behaviour)),
        pd.DataFrame(describe_checkpoints(plan.checkpoints))[["run", "step", "stage"]],
        _list_signals(plan, plan.checkpoints.index(reference)),
        place,
        study.sound_runs,
        study.seed,
    )
    chosen = {n: d for n, d in list_rivals().items() if not n.startswith(LEFT_OUT)}
    replies = _read(plan, "reply_behaviour", "replies")
    judged = Detector(
        lambda t: measure_largest_change(_average_replies(replies, t), t), ("replies",)
    )
    return score_study(tables, chosen | {JUDGED: judged})


def list_detectors(scores: pd.DataFrame, sound: Sequence[str], first: str) -> str:
    """A row for each detector: AUROC, and the first step at which each failing run is beyond all
    sound ones.

    Parameters
    ----------
    scores
        run, step, detector, score.
    sound
        Runs that failing ones are held against.
    first
        Run of the reference, which is neither.
    """
    scores = scores[scores["run"] != first]
    rows = []
    for detector, table in scores.groupby("detector", sort=False):
        last = table.loc[table.groupby("run", sort=False)["step"].idxmax()].set_index("run")
        if last["score"].nunique() == 1:
            rows.append({"detector": detector, "AUROC": "not applicable"})
            continue
        line = last.loc[last.index.isin(sound), "score"].max()
        area = roc_auc_score(~last.index.isin(sound), last["score"])
        row = {"detector": detector, "AUROC": f"{area:.2f}"}
        for run in last.index[~last.index.isin(sound)]:
            beyond = table[(table["run"] == run) & (table["score"] > line)]
            row[run] = f"{beyond['step'].min():.0f}" if len(beyond) else "–"
        rows.append(row)
    return pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True)


def measure_adapter(checkpoint: Path, reference: Path) -> float:
    """Distance of what an adapter adds to the base from what the reference's adds, as a share of
    the latter's norm."""
    ours, theirs = (_multiply(load_file(folder / ADAPTER)) for folder in (checkpoint, reference))
    moved = sum(float(((ours[name] - theirs[name]) ** 2).sum()) for name in theirs)
    return float(np.sqrt(moved / sum(float((t**2).sum()) for t in theirs.values())))


def _multiply(adapter: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What an adapter adds to each layer, up to its scale."""
    down, up = PAIR
    return {
        name: adapter[name.replace(down, up)] @ weights
        for name, weights in adapter.items()
        if down in name
    }


def _read(plan: Plan, stage: str, name: str) -> pd.DataFrame:
    return read_table(plan.store / plan.of_stage(stage)[0].place, name)


def _list_signals(plan: Plan, reference: int) -> pd.DataFrame:
    read = [plan.of_stage(stage)[0].inputs["activations"] for stage in READING]
    activations = [
        {
            kind: [plan.store / entry.place for entry in entries]
            for part in parts
            for kind, entries in part.items()
        }
        for parts in zip(*read, strict=True)
    ]
    lock = plan.store / plan.of_stage("lock")[0].place
    return tabulate_signals(
        [{"run": checkpoint.run, "step": checkpoint.step} for checkpoint in plan.checkpoints],
        reference,
        open_views(activations, lock, describe_fitting(plan.study)),
        [Path(checkpoint.location["path"]) for checkpoint in plan.checkpoints],
        measure_adapter,
    )


def _average_replies(replies: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Judged shares of safety metrics: (run, step) by metric."""
    safety = list_safety(tables.behaviour)
    chosen = replies["concept"].isna() & (replies["split"] == "all")
    return replies[chosen & replies["metric"].isin(safety)].pivot(
        index=KEYS, columns="metric", values="share"
    )


if __name__ == "__main__":
    main()
