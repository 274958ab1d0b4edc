"""Jobs of entries: doing one here, by its adapter; forgetting one whose makings are gone."""

from __future__ import annotations

import runpy
import shutil
from types import SimpleNamespace

from emodrift.errors import EmodriftError
from emodrift.plan.entries import SCRIPTS, Plan
from emodrift.store.entry import MANIFEST, Entry, entry_exists
from emodrift.store.files import clear_scratch

SUMMARY = "summary"
"""Adapter of the stages over all checkpoints."""


def run_job(plan: Plan, entry: Entry, threads: int = 1) -> None:
    """Make an entry whose inputs are there.

    Parameters
    ----------
    plan
        The plan that holds it.
    entry
        What is made; one that is there is left.
    threads
        Threads of its job.

    Raises
    ------
    EmodriftError
        The job fails.
    """
    final = plan.store / entry.place
    if entry_exists(final):
        return
    script = SCRIPTS / f"{entry.stage}.py"
    script = script if script.is_file() else SCRIPTS / f"{SUMMARY}.py"
    job = SimpleNamespace(
        params=SimpleNamespace(entry=plan.describe(entry)),
        output=[str(final / MANIFEST)],
        log=[],
        threads=threads,
    )
    try:
        runpy.run_path(str(script), init_globals={"snakemake": job})
    except SystemExit as end:
        if end.code:
            raise EmodriftError(
                f"{entry.stage} of {entry.label} cannot be made; its reason is logged above"
            ) from None


def forget_unmade(plan: Plan) -> None:
    """Remove the entry of a job some of whose makings are gone, so that it runs again.

    Scratch of dead processes goes, too: a job that was killed when all was made runs no more.
    """
    for place in plan.list_unfinished():
        if entry_exists(plan.store / place):
            shutil.rmtree(plan.store / place)
    for stage in {entry.stage for entry in plan.entries.values()}:
        clear_scratch(plan.store / stage)
