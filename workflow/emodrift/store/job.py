"""What every adapter does around its stage function: unpack, log, write the entry."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError, raise_worst
from emodrift.store.downloads import note_downloads, release_downloads
from emodrift.store.entry import entry_exists, map_inputs, write_entry
from emodrift.store.files import remove
from emodrift.store.partial import locate_partial

REFUSED = ".refused"
"""Ending of a note beside a log: the line with which a job refused what it was given."""


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

    An :class:`EmodriftError` ends the job with one line and no traceback, and with a note that
    another try is useless (:func:`spare_retries`). One whose entry is there by now ends well. Where
    downloads are not kept, weights that the job was the last to need are deleted.
    """
    entry = dict(snakemake.params.entry)
    final = Path(str(snakemake.output[0])).parent
    store = final.parent.parent
    needs = entry.pop("downloads", {})
    log = Path(str(snakemake.log[0])) if snakemake.log else None
    _log_to(log)
    logging.info("%s: %s", entry["stage"], entry["label"])
    if entry_exists(final):
        logging.info("another run has made it meanwhile")
        raise SystemExit(0)
    try:
        note_downloads(needs, store, f"{entry['stage']}/{entry['key']}")
        with _unpack(entry, store) as job:
            yield job
        release_downloads(needs, store)
    except EmodriftError as error:
        line = f"emodrift: error in {entry['stage']} of {entry['label']}: {error}"
        logging.error("%s", line)
        if log is not None and not error.passes:
            with contextlib.suppress(OSError):
                log.with_suffix(REFUSED).write_text(line, encoding="utf-8")
        raise SystemExit(1) from None


def make_missing(
    entries: Iterable[Mapping[str, Any]],
    store: Path,
    make: Callable[[Job], None],
    processes: int = 1,
) -> None:
    """Make what is missing of some entries; one that fails does not keep the others from it.

    Parameters
    ----------
    entries
        Entries as plain values (:meth:`emodrift.store.entry.Entry.describe`).
    store
        Root of the store.
    make
        Is called with each as a job of its own.
    processes
        How many share the work. They are forked, so nothing must have started threads that the work
        needs; where the caller is killed, each ends with its share.

    Raises
    ------
    EmodriftError
        Some failed.
    RuntimeError
        A process crashed.
    """
    missing = [e for e in entries if not entry_exists(store / e["stage"] / e["key"])]
    shares = [missing[first::processes] for first in range(min(processes, len(missing)))]
    if len(shares) > 1:
        failures = _make_side_by_side(shares, store, make)
    else:
        failures = _make_each(missing, store, make)
    raise_worst(failures, "entries")


def _make_each(
    entries: Iterable[Mapping[str, Any]], store: Path, make: Callable[[Job], None]
) -> list[EmodriftError]:
    failures: list[EmodriftError] = []
    for entry in entries:
        what = f"{entry['stage']} of {entry['label']}"
        logging.info("%s", what)
        try:
            with _unpack(entry, store) as job:
                make(job)
        except EmodriftError as error:
            logging.error("%s: %s", what, error)
            failures.append(type(error)(f"{what}: {error}"))
    return failures


def _send_failures(
    sender: Connection,
    entries: Iterable[Mapping[str, Any]],
    store: Path,
    make: Callable[[Job], None],
) -> None:
    sender.send(_make_each(entries, store, make))


def _make_side_by_side(
    shares: Iterable[Iterable[Mapping[str, Any]]], store: Path, make: Callable[[Job], None]
) -> list[EmodriftError]:
    """Each share in a process, which waits for nothing from this one and so cannot be left over."""
    context = multiprocessing.get_context("fork")
    started = []
    for share in shares:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send_failures, args=(sender, share, store, make))
        process.start()
        sender.close()
        started.append((process, receiver))
    failures = []
    for process, receiver in started:
        with contextlib.suppress(EOFError):  # it crashed
            failures += receiver.recv()
        process.join()
    if any(process.exitcode for process, _ in started):
        raise RuntimeError("a process crashed; what it says is above")
    return failures


def spare_retries(executor: Any, logs: Path, tell: Callable[[str], None]) -> None:
    """Have Snakemake try no job again that refused what it was given, and tell why it refused.

    A job that ran out of memory or time, or whose machine failed, is still tried again, as often as
    Snakemake's ``retries`` says.

    Parameters
    ----------
    executor
        Snakemake's executor of jobs; its ``handle_job_error`` is called with each job that failed,
        before Snakemake decides whether to try it again.
    logs
        Folder of all logs. Notes of earlier runs in it are removed.
    tell
        Is given the line of each refusal.
    """
    for note in logs.glob(f"*/*{REFUSED}"):
        remove(note)
    handle = executor.handle_job_error

    def handle_job_error(job: Any) -> None:
        handle(job)
        notes = (Path(str(log)).with_suffix(REFUSED) for log in job.log)
        refusals = [note.read_text(encoding="utf-8") for note in notes if note.is_file()]
        for line in refusals:
            tell(line)
        if refusals:
            job.attempt = job.restart_times + 1

    executor.handle_job_error = handle_job_error


@contextlib.contextmanager
def _unpack(entry: Mapping[str, Any], store: Path) -> Iterator[Job]:
    """A described entry as a job, which is written when the block ends well."""
    final = store / entry["stage"] / entry["key"]
    params = {**entry["params"], **entry["context"]}
    params.pop("locations", None)
    with write_entry(final, entry) as out:
        yield Job(
            params,
            map_inputs(entry["inputs"], store.joinpath),
            out,
            locate_partial(final),
            store,
            entry["code"],
            entry["label"],
        )


def _log_to(path: Path | None) -> None:
    """Log to a file and the terminal; within a process that logs already, as it does."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(path.with_suffix(REFUSED))
    if logging.getLogger().handlers:
        return
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        handlers.append(logging.FileHandler(path, mode="w"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )
    warnings.filterwarnings("ignore", category=FutureWarning)  # what libraries tell each other
    for chatty in ("httpx", "httpx2", "urllib3", "filelock", "matplotlib", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
