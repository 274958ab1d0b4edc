"""Detectors on the real model: a section of docs/warning-benchmark.md, from a finished `make real`.

``python -m benchmarks.real_model config/examples/real.yaml config/examples/real-ends.yaml``
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from benchmarks.warning import PAGE, fill_parts
from emodrift.benchmark.detectors import KEYS, Tables, score_study
from emodrift.benchmark.rivals import compare_views, measure_loss, open_view
from emodrift.checkpoints.checkpoint import find_reference
from emodrift.config.reading import parse_study
from emodrift.config.study import Study
from emodrift.config.variants import merge_changes
from emodrift.drift.table import read_table
from emodrift.measure.directions import open_lock
from emodrift.plan.descriptions import describe_fitting
from emodrift.plan.entries import Plan
from emodrift.plan.study import plan_study

RESULTS = Path("results")
ADAPTER = "adapter_model.safetensors"
PAIR = ("lora_A", "lora_B")
READING = ("drift", "evocation", "coupling")
"""Stages that read, together, all kinds of measurements of every checkpoint."""
FITTING = ("estimator", "confound_variance")
JUDGED = "evals, judged replies"
LEFT_OUT = "harmful refusal"


def main() -> None:
    """Score the study's runs and fill the page's section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_model", description=__doc__)
    parser.add_argument("configs", type=Path, nargs="+", help="as `make real` was given them")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    values = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in options.configs]
    study = parse_study(functools.reduce(merge_changes, values), str(options.configs[0]))
    scores = score_runs(plan_study(study, RESULTS))
    text = options.page.read_text(encoding="utf-8")
    part = list_detectors(scores, list_sound(study), study.reference.run)
    options.page.write_text(fill_parts(text, {"real": part}), encoding="utf-8")


def list_sound(study: Study) -> list[str]:
    """Runs that others are held against."""
    return [name for name, run in study.runs.items() if run.role == "healthy"]


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
    tables = Tables(
        _read(plan, "indicators", "indicators"),
        _read(plan, "indicators", "course"),
        _read(plan, "coupling", "behaviour"),
        _read(plan, "evocation", "projections"),
        _list_signals(plan, plan.checkpoints.index(reference)),
        place,
        tuple(list_sound(study)),
        study.seed,
    )
    scores = score_study(tables)
    scores = scores[~scores["detector"].str.startswith(LEFT_OUT)]
    judged = _score_replies(_read(plan, "reply_behaviour", "replies"), tables)
    return pd.concat([scores, judged], ignore_index=True)


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
    fitting = describe_fitting(plan.study)
    layer = int(open_lock(plan.store / plan.of_stage("lock")[0].place)["layer"])
    views = []
    for parts in zip(*read, strict=True):
        readings = {
            kind: [plan.store / entry.place for entry in entries]
            for part in parts
            for kind, entries in part.items()
        }
        views.append(open_view(readings, layer, *(fitting[name] for name in FITTING)))
    folders = [Path(checkpoint.location["path"]) for checkpoint in plan.checkpoints]
    rows = []
    for checkpoint, view, folder in zip(plan.checkpoints, views, folders, strict=True):
        signals = compare_views(view, views[reference]) | {
            "weights": measure_adapter(folder, folders[reference]),
            "loss": measure_loss(folder),
        }
        place = {"run": checkpoint.run, "step": checkpoint.step}
        rows += [place | {"signal": name, "value": value} for name, value in signals.items()]
    return pd.DataFrame(rows)


def _score_replies(replies: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Largest change of a safety metric in judged replies."""
    safety = tables.behaviour.loc[tables.behaviour["safety"], "metric"].unique()
    chosen = replies["concept"].isna() & (replies["split"] == "all")
    wide = replies[chosen & replies["metric"].isin(safety)].pivot(
        index=KEYS, columns="metric", values="share"
    )
    score = (wide - wide.loc[tables.reference]).abs().max(axis=1)
    table = score.rename("score").reset_index().assign(detector=JUDGED)
    table = table[table["run"] != tables.reference[0]].sort_values(KEYS)
    table["score"] = table.groupby("run")["score"].cummax()
    return table


if __name__ == "__main__":
    main()
