"""A study as commands take it: its config read, its entries planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emodrift.errors import EmodriftError

if TYPE_CHECKING:
    from emodrift.config.study import Study
    from emodrift.plan.entries import Plan

RESULTS = Path("results")
STORE = RESULTS / "store"
DEFAULT = Path("config/config.yaml")

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
        raise EmodriftError(
            f"{path} is not there: study {study} is not finished; run it: emodrift run CONFIG"
        )
    return path
