"""A study as commands take it: its config read, its entries planned."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodrift.errors import EmodriftError

if TYPE_CHECKING:
    from emodrift.config.study import Study
    from emodrift.plan.entries import Plan
    from emodrift.store.entry import Entry

RESULTS = Path("results")
STORE = RESULTS / "store"
DEFAULT = Path("config/config.yaml")
NOT_FINISHED = "study {} is not finished; run it: emodrift run CONFIG"

Config = Annotated[Path, typer.Argument(help="The study's config.", show_default=True)]


def open_study(config: Path) -> Study:
    """A study's config, read and checked."""
    from emodrift.config.reading import read_study

    return read_study(config)


def open_plan(config: Path) -> Plan:
    """A study's plan, as far as its checkpoints exist."""
    from emodrift.plan.study import plan_study

    return plan_study(open_study(config), RESULTS)


def find_published(study: str, name: str) -> Path:
    """A file that a finished study published.

    Raises
    ------
    EmodriftError
        It is not there.
    """
    path = RESULTS / study / name
    if not path.is_file():
        raise EmodriftError(f"{path} is not there: {NOT_FINISHED.format(study)}")
    return path


def require_made(plan: Plan, entries: Iterable[Entry] = ()) -> Entry:
    """The publication of a study whose plan is known to its end and that has some entries.

    Raises
    ------
    EmodriftError
        The study is not finished.
    """
    if plan.publication is None or not all(map(plan.is_made, entries)):
        raise EmodriftError(NOT_FINISHED.format(plan.study.name))
    return plan.publication
