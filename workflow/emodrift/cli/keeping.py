"""Commands that keep the store in order: verification and clearing up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from emodrift.cli.console import print_table
from emodrift.cli.study import DEFAULT, STORE, Config, open_plan


def verify(
    store: Annotated[Path, typer.Argument(help="Root of the store.")] = STORE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is wrong; the next run makes it again.")
    ] = False,
) -> None:
    """Compare the store with its manifests and published studies with their stamps.

    Ends with 1 if anything is wrong and is not repaired. Repair removes what is wrong and what was
    made from it, and no more; run it while nothing else does.
    """
    from emodrift.errors import EmodriftError
    from emodrift.store.verify import repair_store, verify_store

    if not store.is_dir():
        raise EmodriftError(f"there is no store at {store}; name another")
    findings = verify_store(store)
    for finding in findings:
        print(finding)
    if not findings:
        print("All entries agree with their manifests, all studies with their stamps.")
    elif repair:
        removed = repair_store(store, findings)
        print(f"Removed {len(removed)} of these; the next run makes again what is needed.")
    else:
        raise EmodriftError(
            f"{len(findings)} findings in {store}; `emodrift verify --repair`, while nothing runs, "
            "removes what must be made again"
        )


def collect_garbage(
    configs: Annotated[
        list[Path], typer.Argument(metavar="CONFIG", help="Every study that shares the store.")
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


def adopt(
    config: Config = DEFAULT,
    sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="Entries made anew of each kind.")
    ] = 2,
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the sample and adopt; else only tell.")
    ] = False,
) -> None:
    """Keep what was measured, after an edit of the code that changes no result.

    Edited code gives entries other keys. A sample is made anew by the workflow's own jobs; only if
    each comes out byte for byte as before do the former entries take the new keys, as hard links.
    Ends with 1 where one differs. Run it while nothing else runs.
    """
    from emodrift.cli.adoption import adopt_former, choose_sample, find_adoptable

    if apply:
        done = adopt_former(lambda: open_plan(config), sample)
        if not done:
            print("Nothing to adopt: no missing entry was made before by other code.")
        for stage in dict.fromkeys(d.stage for d in done):
            of_stage = [d for d in done if d.stage == stage]
            remade, adopted = (sum(getattr(d, n) for d in of_stage) for n in ("remade", "adopted"))
            print(f"{stage}: {remade} made anew, {adopted} adopted.")
        return
    plan = open_plan(config)
    groups = find_adoptable(plan)
    if not groups:
        print("Nothing to adopt: no missing entry was made before by other code.")
        return
    rows = []
    for stage in dict.fromkeys(group.stage for group in groups):
        own = [group for group in groups if group.stage == stage]
        remade = sum(len(choose_sample(group, sample)) for group in own)
        rows.append((stage, sum(len(group.former) for group in own) - remade, remade))
    print_table(("stage", "to adopt", "to make anew"), rows, right=("to adopt", "to make anew"))
    if plan.awaited:
        print("More may follow: what rests on the content of the first of these is not known yet.")
    print("Nothing was changed. Do it: add --apply")


COMMANDS: dict[Any, dict[str, Any]] = {
    verify: {"name": "verify", "epilog": "Example: emodrift verify --repair"},
    adopt: {"name": "adopt", "epilog": "Example: emodrift adopt config/mine.yaml --apply"},
    collect_garbage: {
        "name": "gc",
        "epilog": "Example: emodrift gc config/mine.yaml config/config.yaml --delete",
    },
}
