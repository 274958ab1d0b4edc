"""Commands before a study is run: its config is written and checked, its weights are fetched."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodrift.cli.console import count
from emodrift.cli.study import DEFAULT, RESULTS, STORE, Config, open_study
from emodrift.errors import EmodriftError

if TYPE_CHECKING:
    from emodrift.checkpoints.series import Series, Sighting
    from emodrift.config.study import Study

SHORT = 10

Places = Annotated[
    list[str], typer.Argument(metavar="PATH_OR_REPO", help="Folders, globs, hub repositories.")
]
Every = Annotated[int, typer.Option(min=1, metavar="N", help="Keep one in N of each stage.")]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Keep at most N of each stage, evenly.")
]


def discover_checkpoints(
    places: Places,
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a config.")] = None,
    every: Every = 1,
    limit: Limit = None,
) -> None:
    """List the checkpoints in a folder or hub repository, and write a config.

    A Trainer's folder, a folder of runs, a glob, a LoRA folder, a hub repository with its
    revisions. Several places make one series, such as base, SFT, DPO and final model.
    """
    from emodrift.checkpoints.discovery import discover
    from emodrift.checkpoints.series import thin_out
    from emodrift.store.downloads import find_cache, format_size, measure_free_space
    from emodrift.store.memory import FileDigests

    digests = FileDigests(STORE / "digests.json")
    several = len(places) > 1
    found = [
        [thin_out(series, every, limit) for series in discover(place, digests, last_only=several)]
        for place in places
    ]
    digests.save()
    everything = [series for place in found for series in place]
    for series in everything:
        print(render_series(series))
    size = sum(series.size for series in everything if series.on_hub)
    if size:
        free = measure_free_space()
        print(f"To download: {format_size(size)}; {format_size(free)} is free at {find_cache()}.")
    if write is None:
        print("Add `--write config/NAME.yaml` for a study of these.")
        return
    write_draft(write, places, found, size)


def initialise(
    config: Annotated[Path | None, typer.Argument(help="The config to write.")] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", metavar="PATH_OR_REPO", help="Where checkpoints are; repeatable."),
    ] = None,
    limit: Limit = None,
) -> None:
    """Write a study's config for checkpoints of your own.

    What is not given is asked for, where there is somebody to ask.
    """
    config = config or Path(_ask("Config to write", "config/mine.yaml", "CONFIG"))
    places = runs or shlex.split(_ask("Folder(s) or hub repository of checkpoints", None, "--runs"))
    discover_checkpoints(places, write=config, limit=limit)


def check_config(config: Config = DEFAULT) -> None:
    """Check a config, its files and checkpoints, without loading a model.

    Ends with 1 and one line that names the key and the fix where something is wrong.
    """
    from emodrift.plan.disk import check_disk
    from emodrift.plan.study import plan_study

    study = open_study(config)
    plan = plan_study(study, RESULTS)
    if plan.publication is None:
        print(f"{config} is right; its checkpoints are known once its organisms are trained.")
        return
    need = check_disk(plan)
    runs = len({c.run for c in plan.checkpoints})
    print(
        f"{config} is right: {count(len(plan.checkpoints), 'checkpoint')} in {count(runs, 'run')}, "
        f"{count(len(study.contrasts.emotions), 'emotion')}, "
        f"{count(len(study.behaviours.metrics), 'metric')}."
    )
    if need:
        print(need)


def download_checkpoints(config: Config = DEFAULT) -> None:
    """Fetch what a study loads from the hub, for machines without network.

    All its checkpoints go into the hub's cache, so that it can be run with HF_HUB_OFFLINE=1.
    """
    from emodrift.plan.disk import Need, judge_disk
    from emodrift.store.downloads import (
        fetch_snapshot,
        find_cache,
        list_missing,
        measure_free_space,
    )

    study = open_study(config)
    checkpoints = [c for c in list_hub_checkpoints(study) if c.downloads]
    downloads = {d.place: d for c in checkpoints for d in c.downloads}
    missing = {p: size for p, d in downloads.items() if (size := sum(list_missing(d).values()))}
    whole = sum(missing.values())
    need = Need(whole, whole, further=0)
    print(judge_disk(need, len(missing), measure_free_space(), kept=True))
    for checkpoint in checkpoints:
        for location in (checkpoint.location, checkpoint.location.get("base", {})):
            if "repo" in location:
                fetch_snapshot(location, study.compute.allow_pickle, checkpoint.label)
        print(f"{checkpoint.label}: in {find_cache()}", flush=True)


COMMANDS: dict[Any, dict[str, Any]] = {
    initialise: {
        "name": "init",
        "epilog": "Example: emodrift init config/mine.yaml --runs runs/base --runs runs/sft",
    },
    discover_checkpoints: {
        "name": "discover",
        "epilog": "Example: emodrift discover EleutherAI/pythia-70m --limit 12 --write mine.yaml",
    },
    check_config: {"name": "check", "epilog": "Example: emodrift check config/mine.yaml"},
    download_checkpoints: {
        "name": "download",
        "epilog": "Example: emodrift download config/mine.yaml",
    },
}


def write_draft(config: Path, places: list[str], found: list[list[Series]], size: int) -> None:
    """Write a study's config for what was discovered.

    Raises
    ------
    EmodriftError
        The file exists, or nothing that was found can be measured.
    """
    from emodrift.checkpoints.draft import arrange_runs, draft_study, make_name
    from emodrift.store.downloads import measure_free_space

    command = shlex.join(["emodrift", "discover", *places])
    name = make_name(config.stem)
    free = measure_free_space()
    text = draft_study(name, arrange_runs(found), command, str(config), size, free)
    if config.exists():
        raise EmodriftError(f"{config} exists; delete it, or name another file")
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text, encoding="utf-8")
    print(f"Wrote {config}. Look through it, then: emodrift check {config}")


def list_hub_checkpoints(study: Study) -> list:
    """Checkpoints of a study, but for those that are yet to be trained in it."""
    from emodrift.checkpoints.checkpoint import list_checkpoints
    from emodrift.store.memory import FileDigests

    digests = FileDigests(STORE / "digests.json")
    found = []
    for name, run in study.runs.items():
        sources = tuple(s for s in run.checkpoints if not (s.organism or s.training))
        found += list_checkpoints(
            name,
            run.model_copy(update={"checkpoints": sources}),
            digests,
            allow_pickle=study.compute.allow_pickle,
            revisions=STORE / "revisions.json",
        )
    digests.save()
    return found


def render_series(series: Series) -> str:
    """A series as lines of text: a head, a row for each checkpoint, notes."""
    from emodrift.store.downloads import format_size

    number = len(series.sightings)
    head = f"{series.origin}: {number} checkpoint{'s' if number > 1 else ''}"
    head += f", stage {series.stage}" if series.stage else ""
    rows: list[tuple[str, ...]] = [("step", "tokens", "size", "kind", "identity", "place")]
    usual = f"~{format_size(series.size // number)}"
    rows += [
        _list_cells(s, usual if s.size is None else format_size(s.size)) for s in series.sightings
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [head]
    for cells in rows:
        right = [c.rjust(w) for c, w in zip(cells[:3], widths[:3], strict=True)]
        left = [c.ljust(w) for c, w in zip(cells[3:], widths[3:], strict=True)]
        lines.append("  " + "  ".join((*right, *left)).rstrip())
    lines += [f"  {s.place}: {s.problem}" for s in series.sightings if s.problem]
    lines += [f"  {note}" for note in series.notes]
    return "\n".join(lines) + "\n"


def _ask(question: str, default: str | None, name: str) -> str:
    if not sys.stdin.isatty():
        raise EmodriftError(f"{name} is missing, and there is nobody to ask; see emodrift init -h")
    return typer.prompt(question, default=default)


def _list_cells(sighting: Sighting, size: str) -> tuple[str, ...]:
    base = sighting.base or {}
    base_name = base.get("path") or base.get("repo")
    return (
        "-" if sighting.step is None else f"{sighting.step:,}",
        "-" if sighting.tokens is None else f"{sighting.tokens:.3g}",
        size,
        f"{sighting.kind} of {base_name}" if base_name else sighting.kind,
        sighting.identity[:SHORT] or "-",
        sighting.place,
    )
