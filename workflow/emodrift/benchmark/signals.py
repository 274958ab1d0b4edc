"""What all detectors see of one organism seed: scores by checkpoint, verdicts, evals that moved."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emodrift.benchmark.detectors import list_safety, score_study
from emodrift.benchmark.monitor import describe_profile
from emodrift.benchmark.rivals import (
    View,
    compare_views,
    measure_loss,
    measure_weights,
    open_view,
)
from emodrift.benchmark.scoring import SOUND, find_practical_change
from emodrift.benchmark.tables import Tables
from emodrift.drift.table import read_table, write_table
from emodrift.measure.arrays import Readings
from emodrift.measure.directions import open_lock
from emodrift.store.entry import read_manifest
from emodrift.warning.behaviour import list_probabilities
from emodrift.warning.measured import read_measured


class SignalsParams(NamedTuple):
    """What the signals stage is asked.

    checkpoints: run, step, stage, tokens of each. reference: number of the reference among them.
    regimes: run -> kind of failure; others are sound. sound: runs that others are held against.
    organisms: run -> run of the organism section. fitting: how vectors are fitted. rate: of false
    alarms. seed: of the organism.
    """

    checkpoints: Sequence[Mapping[str, Any]]
    reference: int
    regimes: Mapping[str, str]
    sound: Sequence[str]
    organisms: Mapping[str, str]
    fitting: Mapping[str, Any]
    rate: float
    seed: int


class SignalsInputs(NamedTuple):
    """Entries that the signals stage reads.

    activations: of each checkpoint, with gradients. lock: the locked vectors. trained: folders of
    the organism section's runs. evocation, coupling, indicators: of the study.
    """

    activations: Sequence[Readings]
    lock: Path
    trained: Mapping[str, Path]
    evocation: Path
    coupling: Path
    indicators: Path


def measure_signals(params: SignalsParams, inputs: SignalsInputs, out: Path) -> None:
    """Score every checkpoint of a seed by every detector.

    Writes ``scores.parquet`` (run, step, detector, score), ``profiles.parquet`` (run, step,
    feature, value: what a supervised monitor learns from), ``runs.parquet`` (run, regime, verdict,
    step of the first alarm, step of the practical change), ``crossings.parquet`` (run, component,
    the step at which it first raised an alarm) and ``costs.parquet`` (measurement, seconds a
    checkpoint, the median).

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    at = params.checkpoints[params.reference]
    reference = (str(at["run"]), int(at["step"]))
    projections = read_table(inputs.evocation, "projections")
    behaviour = read_table(inputs.coupling, "behaviour")
    measured = read_measured([inputs.coupling], params.reference)
    tables = Tables(
        read_table(inputs.indicators, "indicators"),
        read_table(inputs.indicators, "course"),
        behaviour,
        projections,
        list_probabilities(measured, list_safety(behaviour)),
        pd.DataFrame(params.checkpoints)[["run", "step", "stage"]],
        list_signals(params, inputs),
        reference,
        tuple(params.sound),
        params.seed,
    )
    runs = read_table(inputs.indicators, "runs")[["run", "verdict", "alarm_step"]]
    runs = runs[runs["run"] != reference[0]]
    runs["regime"] = [params.regimes.get(run, SOUND) for run in runs["run"]]
    practical = find_practical_change(behaviour, reference)
    runs["practical_step"] = [float(practical.get(run, np.nan)) for run in runs["run"]]
    write_table(score_study(tables), out, "scores")
    write_table(describe_profile(projections, reference), out, "profiles")
    write_table(runs, out, "runs")
    components = read_table(inputs.indicators, "components")
    write_table(list_crossings(components, params.checkpoints), out, "crossings")
    write_table(measure_costs(inputs.activations), out, "costs")


def list_crossings(
    components: pd.DataFrame, checkpoints: Sequence[Mapping[str, Any]]
) -> pd.DataFrame:
    """Where each part of an indicator first raised an alarm: run, component, step.

    Parameters
    ----------
    components
        Table (checkpoint, component, crossed).
    checkpoints
        run and step of each.
    """
    crossed = components[components["crossed"].astype(bool)]
    places = pd.DataFrame(checkpoints)[["run", "step"]]
    found = crossed[["checkpoint", "component"]].join(places, on="checkpoint")
    return found.groupby(["run", "component"], as_index=False, sort=False)["step"].min()


def list_signals(params: SignalsParams, inputs: SignalsInputs) -> pd.DataFrame:
    """Signals of the rivals: run, step, signal, value."""
    folders = [
        inputs.trained[params.organisms[c["run"]]] / f"checkpoint-{c['step']}"
        for c in params.checkpoints
    ]
    views = open_views(inputs.activations, inputs.lock, params.fitting)
    return tabulate_signals(params.checkpoints, params.reference, views, folders, measure_weights)


def open_views(
    activations: Sequence[Readings], lock: Path, fitting: Mapping[str, Any]
) -> list[View]:
    """View of each checkpoint at the locked layer.

    Parameters
    ----------
    activations, lock, fitting
        As in :class:`SignalsInputs` and :class:`SignalsParams`.
    """
    layer = int(open_lock(lock)["layer"])
    how = (fitting["estimator"], fitting["confound_variance"])
    return [open_view(readings, layer, *how) for readings in activations]


def tabulate_signals(
    checkpoints: Sequence[Mapping[str, Any]],
    reference: int,
    views: Sequence[View],
    folders: Sequence[Path],
    weigh: Callable[[Path, Path], float],
) -> pd.DataFrame:
    """Signals of the rivals: run, step, signal, value.

    Parameters
    ----------
    checkpoints
        run and step of each.
    reference
        Number of the reference.
    views, folders
        What rivals look at of each checkpoint, and where its weights and its training log are.
    weigh
        From the folders of a checkpoint and of the reference to the distance of their weights.
    """
    rows = []
    for checkpoint, view, folder in zip(checkpoints, views, folders, strict=True):
        signals = compare_views(view, views[reference]) | {
            "weights": weigh(folder, folders[reference]),
            "loss": measure_loss(folder),
        }
        place = {name: checkpoint[name] for name in ("run", "step")}
        rows += [place | {"signal": name, "value": value} for name, value in signals.items()]
    return pd.DataFrame(rows)


def measure_costs(activations: Sequence[Readings]) -> pd.DataFrame:
    """Seconds that each measurement took a checkpoint, the median: measurement, seconds."""
    taken: dict[str, list[float]] = {}
    for readings in activations:
        for kind, entries in readings.items():
            seconds = sum(float(read_manifest(entry)["seconds"]) for entry in entries)
            taken.setdefault(kind, []).append(seconds)
    rows = [(kind, statistics.median(values)) for kind, values in taken.items()]
    return pd.DataFrame(rows, columns=["measurement", "seconds"])
