"""Tables of a study as tidy Parquet files, with a description that others' tools read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from emodrift.errors import EmodriftError
from emodrift.exports.croissant import describe_tables
from emodrift.store.entry import Entry, entry_exists

DESCRIPTION = "croissant.json"


def export_tables(study: str, entries: Iterable[Entry], store: Path, out: Path) -> list[Path]:
    """Copy every table of summary entries to a folder, and describe it in ``croissant.json``.

    Parameters
    ----------
    study
        Name of the study.
    entries
        Entries whose Parquet files are wanted. Of two tables of one name the second is refused.
    store
        Root of the store.
    out
        Folder to write to.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    EmodriftError
        None of the entries holds a table yet, or two hold tables of one name.
    """
    origins: dict[str, Path] = {}
    for entry in entries:
        place = store / entry.place
        for table in sorted(place.glob("*.parquet")) if entry_exists(place) else ():
            twin = origins.setdefault(table.name, table)
            if twin is not table:
                raise EmodriftError(f"{twin} and {table} are both called {table.name}")
    if not origins:
        raise EmodriftError(f"study {study} has no tables yet; run it first: emodrift run CONFIG")
    out.mkdir(parents=True, exist_ok=True)
    copies = [Path(shutil.copyfile(table, out / name)) for name, table in sorted(origins.items())]
    about = describe_tables(
        study,
        f"Tables of the emodrift study {study}: one row per checkpoint and measured thing.",
        copies,
        metadata.version("emodrift"),
    )
    (out / DESCRIPTION).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return [*copies, out / DESCRIPTION]
