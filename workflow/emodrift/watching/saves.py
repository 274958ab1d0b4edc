"""Measuring the checkpoints that a training saves, as the study that will read them measures them.

Each measurement is the entry that a run of the study would make: its key is of the content of the
saved checkpoint, and a run of the study finds it. Indicators and alarms are those of the study,
over the checkpoints that are there so far.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.study import Study
from emodrift.drift.table import read_table
from emodrift.errors import EmodriftError
from emodrift.measure.visit import measure_entries
from emodrift.models.language_model import LanguageModel
from emodrift.models.precision import open_model, put_precision
from emodrift.models.sharing import share_model
from emodrift.plan.descriptions import describe_loading
from emodrift.plan.entries import Plan
from emodrift.plan.templates import describe_chat
from emodrift.plan.watched import (
    find_number,
    find_watched,
    list_measured,
    list_measurements,
    pick_checkpoints,
    plan_watched,
)
from emodrift.stage import call_stage
from emodrift.store.entry import Entry, entry_exists, map_inputs, read_manifest
from emodrift.watching.instrument import Found, Training

THREADS = 1
"""Of a visit's job, unless Snakemake is told otherwise; sums in another order differ in bits."""
JUDGING = ("evocation", "coupling", "indicators")


class Cost(NamedTuple):
    """Seconds: by the manifests of like entries of the reference, and in fact."""

    foretold: float
    taken: float


class SavedCheckpoints:
    """Makes a study's entries of each checkpoint that is saved, and judges them.

    Parameters
    ----------
    study
        The config. Its lock must be made and its reference measured; its run of this training may
        name folders that are still to be written.
    results
        Root of results.

    Raises
    ------
    EmodriftError
        The study has no lock, or its reference is not measured.
    """

    reads_saves = True

    def __init__(self, study: Study, results: Path) -> None:
        self.study, self.results = study, results
        self.made: list[Path] = []
        self._costs: list[Cost] = []
        self._judging = 0.0
        plan = plan_watched(study, results)
        if find_number(plan) not in list_measured(plan):
            raise EmodriftError(
                f"the reference of study {study.name} is not measured yet; run the study with it "
                "alone, before the training begins: emodrift run CONFIG"
            )

    def begin(self, training: Training) -> None:
        """Nothing: what is compared with is the reference."""

    def predict_seconds(self, training: Training) -> float:
        """What measuring would take, by what the reference's entries took and what was seen since.

        Raises
        ------
        EmodriftError
            The checkpoint is not one that the study could read.
        """
        plan, number = self._plan(training)
        return self._scale(_foretell(plan, number)) + self._judging

    def measure(self, training: Training) -> Found:
        """Make what is missing of a saved checkpoint's entries, and judge its run."""
        plan, number = self._plan(training)
        missing = _list_missing(plan, number)
        foretold, began = _foretell(plan, number), time.monotonic()
        if missing:
            checkpoint = plan.checkpoints[number]
            model = open_save(training, checkpoint, plan)
            loading = describe_loading(self.study, checkpoint, {})["loading"]
            measure_entries(model, missing, loading, checkpoint.label, plan.store)
            self.made += [plan.store / entry.place for entry in missing]
            self._costs.append(Cost(foretold, time.monotonic() - began))
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = judge_watched(plan, number, Path(folder))
        self._judging = time.monotonic() - began
        return found

    def _plan(self, training: Training) -> tuple[Plan, int]:
        plan = plan_watched(self.study, self.results, training.folder)
        return plan, find_watched(plan, training.folder)

    def _scale(self, foretold: float) -> float:
        """Seconds on this machine, of seconds by the reference's manifests."""
        taken, told = (sum(getattr(c, n) for c in self._costs) for n in ("taken", "foretold"))
        return foretold * (taken / told if told else 1.0)


def judge_watched(plan: Plan, number: int, out: Path) -> Found:
    """Indicators and alarms of a checkpoint, over all that are measured.

    Judged replies play no part: a judge is asked when the study is run.

    Parameters
    ----------
    plan
        The study's plan.
    number
        The checkpoint's.
    out
        Folder to write tables to.
    """
    kept = list_measured(plan)
    made: dict[str, Path] = {}
    for stage in JUDGING:
        entry = pick_checkpoints(plan.of_stage(stage)[0], kept)
        made[stage] = out / stage
        made[stage].mkdir()
        inputs = map_inputs(entry.inputs, lambda e: made.get(e.stage, plan.store / e.place))
        inputs.pop("reply_behaviour", None)
        call_stage({**entry.params, **entry.context}, inputs, made[stage], plan.store)
    table = read_table(made["indicators"], "indicators")
    audit = json.loads((made["indicators"] / "audit.json").read_text())
    run = plan.checkpoints[number].run
    sentence = next(r["sentence"] for r in audit["runs"] if r["run"] == run)
    return read_judgement(table[table["checkpoint"] == kept.index(number)], sentence)


def read_judgement(rows: pd.DataFrame, sentence: str) -> Found:
    """One checkpoint's rows of the table of indicators; those that do not apply are left out."""
    rows = rows[rows["applicable"].astype(bool)]
    values = dict(zip(rows["indicator"], rows["value"].astype(float), strict=True))
    alarms = [name for name, alarm in zip(rows["indicator"], rows["alarm"], strict=True) if alarm]
    return Found(values, {name: values[name] for name in alarms}, sentence)


def open_save(training: Training, checkpoint: Checkpoint, plan: Plan) -> LanguageModel:
    """The checkpoint that was saved, over the weights in training where it holds them."""
    study = plan.study
    chat = describe_chat(study.activations, plan.store)
    described = describe_loading(study, checkpoint, chat)
    if "base" not in checkpoint.location:
        shared = share_model(training.network, training.folder, label=checkpoint.label, **{
            name: described[name] for name in ("loading", "dtype", "chat")
        })  # fmt: skip
        if shared is not None:
            return put_precision(shared, described["mixed"])
    logging.info("%s is loaded from %s beside the training", checkpoint.label, training.folder)
    return open_model(**described, label=checkpoint.label)


def _list_missing(plan: Plan, number: int) -> list[Entry]:
    return [
        entry
        for entry in list_measurements(plan, number)
        if not entry_exists(plan.store / entry.place)
    ]


def _foretell(plan: Plan, number: int) -> float:
    """Seconds of a checkpoint's missing entries, by the manifests of the reference's."""
    took = {
        _name(entry): float(read_manifest(plan.store / entry.place).get("seconds", 0.0))
        for entry in list_measurements(plan, find_number(plan))
    }
    return sum(took.get(_name(entry), 0.0) for entry in _list_missing(plan, number))


def _name(entry: Entry) -> tuple[str, Any]:
    return entry.stage, entry.context.get("part")
