"""Stages over many checkpoints, each in a fresh process, over the entries of a few in turn.

``python -m benchmarks.scale.stages FOLDER STAGE NUMBER`` runs one.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.scale.measurements import (
    METRICS,
    RECIPE,
    Measured,
    Shape,
    write_checkpoint,
    write_reference,
)
from benchmarks.scale.processes import ROOT, Cost, run_fresh
from emodrift.config.warning import Indicators
from emodrift.drift.coupling import CouplingInputs, CouplingParams, measure_coupling
from emodrift.drift.evocation import EvocationInputs, EvocationParams, measure_evocation
from emodrift.drift.geometry import DriftInputs, DriftParams, measure_drift
from emodrift.drift.parts import Take, find_anew, load_found, save_found
from emodrift.drift.table import read_table
from emodrift.stats.settings import Statistics
from emodrift.store.parts import keep_parts
from emodrift.warning.audit import IndicatorsInputs, IndicatorsParams, measure_indicators

DISTINCT = 6
PARTED = ("drift", "evocation", "coupling")
PART = "-part"
STATISTICS = Statistics(draws=200, level=0.95, nulls=50)
INDICATORS = Indicators().model_dump(mode="json")
WIDE = Shape(hidden=1024, texts=6, prompts=12, nulls=50)


class Grown(NamedTuple):
    """What a stage took over so many checkpoints, or at one checkpoint of so many layers."""

    stage: str
    number: int
    cost: Cost


def write_entries(folder: Path) -> None:
    """Write entries of a few checkpoints, and keep what is found at each."""
    shape = Shape(layers=6, hidden=32, texts=6, prompts=6, nulls=50)
    _, lock = write_reference(folder / "0", shape)
    for number in range(1, DISTINCT):
        write_checkpoint(folder / str(number), shape, lock, number)
    for stage in PARTED:
        out = folder / f"once/{stage}"
        out.mkdir(parents=True)
        run_parted(stage)(folder, list_checkpoints(DISTINCT), out)


def measure_parted(
    stage: str,
    folder: Path,
    checkpoints: list[dict[str, Any]],
    out: Path,
    take: Take = find_anew,
) -> None:
    """A stage that keeps what it finds at each checkpoint, over entries of a few in turn."""
    measured = [_locate(folder / str(k % DISTINCT)) for k in range(len(checkpoints))]
    readings, lock = [m.readings for m in measured], folder / "0/lock"
    if stage == "drift":
        compared = DriftParams(checkpoints, 0, STATISTICS, 1, RECIPE, {})
        vectors = [m.vectors for m in measured]
        measure_drift(compared, DriftInputs(vectors, readings, vectors[-1], lock), out, take)
    elif stage == "evocation":
        asked = EvocationParams(checkpoints, STATISTICS, 1, INDICATORS, METRICS)
        measure_evocation(asked, EvocationInputs(readings, lock), out, take)
    else:
        everywhere = range(len(checkpoints))
        read = CouplingInputs(readings, [m.responses for m in measured], lock)
        steered = CouplingParams(checkpoints, STATISTICS, 1, METRICS, everywhere)
        measure_coupling(steered, read, out, take)


def run_parted(stage: str) -> Callable[[Path, list[dict[str, Any]], Path], None]:
    """A stage over checkpoints at all of which it has been asked before."""

    def run(folder: Path, checkpoints: list[dict[str, Any]], out: Path) -> None:
        entries = [
            {"stage": f"{stage}{PART}", "key": str(k % DISTINCT), "label": f"checkpoint {k}"}
            for k in range(len(checkpoints))
        ]
        take = keep_parts(entries, folder / "store", save_found, load_found)
        measure_parted(stage, folder, checkpoints, out, take)

    return run


def run_indicators(folder: Path, checkpoints: list[dict[str, Any]], out: Path) -> None:
    """Indicators and the audit, over what evocation and coupling joined."""
    joined = (_place(folder, stage, len(checkpoints)) for stage in ("evocation", "coupling"))
    asked = IndicatorsParams(
        checkpoints=checkpoints,
        reference=0,
        statistics=STATISTICS,
        seed=1,
        indicators=INDICATORS,
        metrics=METRICS,
        alarms={"false_alarm_rate": 0.05},
        roles={run: "healthy" if run < "run 2" else "observed" for run in sorted(_list_runs())},
    )
    measure_indicators(asked, IndicatorsInputs(*joined), out)


def run_publication(folder: Path, checkpoints: list[dict[str, Any]], out: Path) -> None:
    """Tables as CSV."""
    for stage in ("evocation", "coupling", "indicators"):
        for table in sorted(_place(folder, stage, len(checkpoints)).glob("*.parquet")):
            frame = read_table(table.parent, table.stem)
            frame.to_csv(out / f"{table.stem}.csv", index=False, float_format="%.6g")


STAGES: dict[str, Callable[[Path, list[dict[str, Any]], Path], None]] = {
    **{stage: run_parted(stage) for stage in PARTED},
    "indicators": run_indicators,
    "publication": run_publication,
}


def measure_stages(folder: Path, sizes: Mapping[str, Sequence[int]]) -> list[Grown]:
    """Run stages over so many checkpoints each."""
    write_entries(folder)
    return [
        Grown(stage, number, _run(folder, stage, number))
        for stage, numbers in sizes.items()
        for number in numbers
    ]


def measure_layers(folder: Path, numbers: Sequence[int]) -> list[Grown]:
    """Ask about one checkpoint of a model with more and more layers, all else alike."""
    found = []
    for layers in numbers:
        place = folder / f"layers-{layers}"
        write_reference(place / "0", WIDE._replace(layers=layers))
        for stage in PARTED:
            found.append(Grown(f"{stage}{PART}", layers, _run(place, f"{stage}{PART}", layers)))
        shutil.rmtree(place)
    return found


def _run(folder: Path, stage: str, number: int) -> Cost:
    command = [sys.executable, "-m", "benchmarks.scale.stages", str(folder), stage, str(number)]
    return run_fresh(command, ROOT)


def _place(folder: Path, stage: str, number: int) -> Path:
    return folder / f"made/{stage}/{number}"


def _locate(folder: Path) -> Measured:
    kinds = ("stories", "neutral", "controls", "prompts", "gradients")
    readings = {kind: (folder / kind,) for kind in kinds}
    return Measured(readings, folder / "responses", folder / "vectors")


def _list_runs() -> list[str]:
    return [f"run {k}" for k in range(4)]


def list_checkpoints(number: int) -> list[dict[str, Any]]:
    runs = _list_runs()
    return [
        {"run": runs[k * len(runs) // number], "step": k, "stage": "sft", "tokens": None}
        for k in range(number)
    ]


def main(folder: Path, stage: str, number: int) -> None:
    """Run one stage."""
    out = _place(folder, stage, number)
    out.mkdir(parents=True)
    if stage.endswith(PART):
        measure_parted(stage.removesuffix(PART), folder, list_checkpoints(1), out)
    else:
        STAGES[stage](folder, list_checkpoints(number), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
