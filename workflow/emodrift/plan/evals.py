"""Planning the evals that other tools ran, beside the indicators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.plan.entries import SCRIPTS, Plan
from emodrift.plan.sources import list_files
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests

SAMPLES = "samples_*.jsonl"
"""Answers that lm-eval keeps beside its results."""


def plan_evals(plan: Plan, reference: Checkpoint, indicators: Entry, digests: FileDigests) -> Entry:
    """The tables of external evals, joined to checkpoints and held against the indicators.

    Raises
    ------
    EmodriftError
        No file matches a source's path.
    """
    section = plan.study.evals
    assert section is not None
    files = {
        str(file): digests.digest(file)
        for number, source in enumerate(section.sources)
        for found in list_files(f"evals.sources.{number}.path", source.path)
        for file in _list_beside(found, source.format)
        if file.is_file()
    }
    return plan.add(
        "evals",
        {
            "checkpoints": [_describe_place(checkpoint) for checkpoint in plan.checkpoints],
            "reference": plan.checkpoints.index(reference),
            "evals": section.model_dump(mode="json"),
        },
        inputs={"indicators": indicators},
        leaves={"files": files},
        label="external evals",
        code=[str(SCRIPTS / "evals.py")],
    )


def _list_beside(file: Path, kind: str) -> list[Path]:
    if kind != "lm-eval":
        return [file]
    return [file, *sorted(file.parent.glob(SAMPLES))]


def _describe_place(checkpoint: Checkpoint) -> dict[str, Any]:
    """What evals may know a checkpoint by."""
    names = {k: v for k, v in checkpoint.location.items() if k in ("path", "repo", "commit")}
    return {
        "run": checkpoint.run,
        "step": checkpoint.step,
        "stage": checkpoint.stage,
        "digest": checkpoint.digest,
        **names,
    }
