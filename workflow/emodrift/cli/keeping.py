"""Commands that keep the store in order: verification and clearing up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emodrift.cli.console import print_table
from emodrift.cli.study import STORE, open_plan


def verify(
    store: Annotated[Path, typer.Argument(help="Root of the store.")] = STORE,
) -> None:
    """Compare every file of the store with its entry's manifest; ends with 1 if one differs.

    A damaged entry may be deleted: what needs it makes it again.
    """
    from emodrift.store.verify import verify_store

    damaged = verify_store(store)
    for finding in damaged:
        print(finding)
    if damaged:
        raise typer.Exit(1)
    print("All entries agree with their manifests.")


def collect_garbage(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG...", help="Every study that shares the store.")
    ],
    delete: Annotated[bool, typer.Option("--delete", help="Delete; else only tell.")] = False,
) -> None:
    """Tell, or delete, what of the store none of these studies needs any more.

    Former versions of entries are kept until then, so that a config that is changed back costs
    nothing. A study that was published from the store and is not named here is an error.
    """
    from emodrift.cli.garbage import delete_entries, find_garbage
    from emodrift.cli.outlook import measure_size
    from emodrift.store.downloads import format_size

    garbage = find_garbage([open_plan(config) for config in configs], STORE)
    stages: dict[str, list[int]] = {}
    for path in garbage:
        stages.setdefault(path.parent.name, []).append(measure_size(path))
    total = format_size(sum(map(sum, stages.values())))
    if not garbage:
        print("Nothing: every entry of the store is needed.")
        return
    print_table(
        ("stage", "entries", "size"),
        [(stage, len(sizes), format_size(sum(sizes))) for stage, sizes in stages.items()],
        right=("entries", "size"),
    )
    if delete:
        delete_entries(garbage)
        print(f"Deleted {len(garbage)} entries, {total}.")
    else:
        print(f"{len(garbage)} entries, {total}, are not needed. Delete them: add --delete")


COMMANDS: dict[Any, dict[str, Any]] = {
    verify: {"name": "verify", "epilog": "Example: emodrift verify"},
    collect_garbage: {
        "name": "gc",
        "epilog": "Example: emodrift gc config/mine.yaml config/config.yaml --delete",
    },
}
