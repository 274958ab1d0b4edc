"""Publication: what a person reads, under human names, copied from keyed entries."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from emodrift.store.locking import hold
from emodrift.store.stamps import STAMPS, forget_incomplete, write_stamp

PATIENCE = 600.0
"""Seconds for which another run's publication is waited for."""


def publish_study(
    index: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Path],
    figures: Mapping[str, Path],
    target: Path,
    key: str,
    report: Path | None = None,
) -> None:
    """Copy figures, tables, audit and report to the study's folder and stamp it.

    Where several runs publish at one time, one does and the others find it done.

    Parameters
    ----------
    index
        Run, step, stage, tokens and identity of every checkpoint.
    tables, figures
        Stage -> entry of its tables, and figure -> entry.
    target
        The study's folder, ``results/<study>``.
    key
        Key of the publication; the stamp carries it and lists every file.
    report
        Entry of the report; None of a benchmark, which has none.
    """
    with hold(target, PATIENCE):
        forget_incomplete(target)
        if (target / STAMPS / key).is_file():
            return
        drawn, listed, stamps = (target / n for n in ("figures", "tables", STAMPS))
        for folder in (drawn, listed, stamps):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for name, entry in figures.items():
            for file in sorted(entry.glob("figure.*")):
                shutil.copyfile(file, drawn / f"{name}{file.suffix}")
        for entry in tables.values():
            for table in sorted(entry.glob("*.parquet")):
                frame = pd.read_parquet(table)
                frame.to_csv(listed / f"{table.stem}.csv", index=False, float_format="%.6g")
        if report:
            shutil.copyfile(report / "report.html", target / "report.html")
            audited = tables.get("evals", tables["indicators"])
            shutil.copyfile(audited / "audit.json", target / "audit.json")
        pd.DataFrame(index).to_csv(target / "index.csv", index=False)
        published = (*([report] if report else []), *tables.values(), *figures.values())
        write_stamp(stamps / key, (f"{e.parent.name}/{e.name}" for e in published))
