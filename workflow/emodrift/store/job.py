"""What every adapter does around its stage function: unpack, log, write the entry."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError
from emodrift.store.downloads import note_downloads, release_downloads
from emodrift.store.entry import map_inputs, write_entry
from emodrift.store.partial import locate_partial


@dataclass(frozen=True)
class Job:
    """A stage's job, unpacked.

    Parameters
    ----------
    params
        Values for the stage function.
    inputs
        Name -> directories of the input entries, nested as the entry's inputs are.
    out
        Scratch directory that becomes the entry.
    partial
        Folder for rows that outlive a killed job; see :mod:`emodrift.store.partial`.
    store
        Root of the store.
    code
        Digest of the stage's code, for entries that a job keeps inside the store by itself.
    label
        What a person calls the job.
    """

    params: dict[str, Any]
    inputs: dict[str, Any]
    out: Path
    partial: Path
    store: Path
    code: str
    label: str


@contextlib.contextmanager
def open_job(snakemake: Any) -> Iterator[Job]:
    """Unpack Snakemake's job object and write its entry.

    An :class:`EmodriftError` ends the job with one line and no traceback. Where downloads are not
    kept, weights that the job was the last to need are deleted.
    """
    entry = dict(snakemake.params.entry)
    final = Path(str(snakemake.output[0])).parent
    store = final.parent.parent
    _log_to(Path(str(snakemake.log[0])) if snakemake.log else None)
    logging.info("%s: %s", entry["stage"], entry["label"])
    inputs = map_inputs(entry["inputs"], store.joinpath)
    try:
        needs = entry.pop("downloads", {})
        note_downloads(needs, store, f"{entry['stage']}/{entry['key']}")
        with write_entry(final, {k: v for k, v in entry.items() if k != "label"}) as out:
            params = entry["params"] | entry["context"]
            params.pop("locations", None)
            partial = locate_partial(final)
            yield Job(params, inputs, out, partial, store, entry["code"], entry["label"])
        release_downloads(needs, store)
    except EmodriftError as error:
        logging.error("emodrift: error in %s of %s: %s", entry["stage"], entry["label"], error)
        raise SystemExit(1) from None


def _log_to(path: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )
    for chatty in ("httpx", "httpx2", "urllib3", "filelock", "matplotlib", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
