"""Publication: what a person reads, under human names, copied from keyed entries."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from emodrift.store.files import remove
from emodrift.store.stamps import STAMPS, read_stamp, write_stamp

TABLE_STAGES = (
    "drift",
    "evocation",
    "coupling",
    "fragmentation",
    "indicators",
    "conduct",
    "sensitivity",
)


def publish_study(
    index: Sequence[Mapping[str, Any]], entries: Mapping[str, Path], target: Path, key: str
) -> None:
    """Copy figures, tables, audit and report to the study's folder and stamp it.

    Parameters
    ----------
    index
        Run, step, stage, tokens and identity of every checkpoint.
    entries
        Name -> entry: ``report``, the table stages that the study has, and ``figure:<name>``.
    target
        The study's folder, ``results/<study>``.
    key
        Key of the publication; the stamp carries it and lists every file.
    """
    figures, tables, stamps = (target / n for n in ("figures", "tables", STAMPS))
    for folder in (figures, tables, stamps):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name, entry in entries.items():
        if name.startswith("figure:"):
            for file in sorted(entry.glob("figure.*")):
                shutil.copyfile(file, figures / f"{name.partition(':')[2]}{file.suffix}")
    for stage in [name for name in TABLE_STAGES if name in entries]:
        for table in sorted(entries[stage].glob("*.parquet")):
            frame = pd.read_parquet(table)
            frame.to_csv(tables / f"{table.stem}.csv", index=False, float_format="%.6g")
    shutil.copyfile(entries["report"] / "report.html", target / "report.html")
    shutil.copyfile(entries["indicators"] / "audit.json", target / "audit.json")
    pd.DataFrame(index).to_csv(target / "index.csv", index=False)
    write_stamp(stamps / key, (f"{e.parent.name}/{e.name}" for e in entries.values()))


def forget_incomplete(target: Path) -> None:
    """Remove the stamp of a publication some of whose files are gone, so that it is made again."""
    for path in (target / STAMPS).glob("*"):
        stamp = read_stamp(path)
        if stamp is None or not all((target / name).is_file() for name in stamp.files):
            remove(path)
