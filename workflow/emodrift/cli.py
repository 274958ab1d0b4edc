"""The command `emodrift`: what comes before a study is run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.checkpoints.discovery import discover
from emodrift.checkpoints.draft import arrange_runs, draft_study, make_name
from emodrift.checkpoints.series import Series, Sighting, thin_out
from emodrift.config.reading import read_study
from emodrift.config.study import Study
from emodrift.errors import EmodriftError
from emodrift.plan.space import Need, judge_space
from emodrift.store.digest import FileDigests
from emodrift.store.downloads import (
    fetch_snapshot,
    find_cache,
    format_size,
    list_missing,
    measure_free_space,
)

STORE = Path("results/store")
SHORT = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an :class:`EmodriftError` is shown as a single line."""
    options = _read_arguments(arguments)
    try:
        options.run(options)
    except EmodriftError as error:
        print(f"emodrift: error: {error}", file=sys.stderr)
        return 1
    return 0


def run_discovery(options: argparse.Namespace) -> None:
    """List checkpoints, and write a config if asked to."""
    digests = FileDigests(STORE / "digests.json")
    several = len(options.places) > 1
    found = [
        [
            thin_out(series, options.every, options.limit)
            for series in discover(place, digests, last_only=several)
        ]
        for place in options.places
    ]
    digests.save()
    everything = [series for place in found for series in place]
    for series in everything:
        print(render_series(series))
    size = sum(series.size for series in everything if series.on_hub)
    free = measure_free_space()
    if size:
        print(f"To download: {format_size(size)}; {format_size(free)} is free at {find_cache()}.")
    if options.write is None:
        print("Add `--write config/NAME.yaml` for a study of these.")
        return
    command = shlex.join(["emodrift", "discover", *options.places])
    name = make_name(options.write.stem)
    text = draft_study(name, arrange_runs(found), command, str(options.write), size, free)
    if options.write.exists():
        raise EmodriftError(f"{options.write} exists; delete it, or give --write another name")
    options.write.parent.mkdir(parents=True, exist_ok=True)
    options.write.write_text(text, encoding="utf-8")
    print(f"Wrote {options.write}. Look through it, then: make study STUDY={options.write}")


def run_download(options: argparse.Namespace) -> None:
    """Fetch all that a study loads from the hub, for machines without network."""
    study = read_study(options.config)
    checkpoints = [c for c in list_hub_checkpoints(study) if c.downloads]
    downloads = {d.place: d for c in checkpoints for d in c.downloads}
    missing = {p: size for p, d in downloads.items() if (size := sum(list_missing(d).values()))}
    need = Need(*[sum(missing.values())] * 2, further=0)
    print(judge_space(need, len(missing), measure_free_space(), kept=True))
    for checkpoint in checkpoints:
        for location in (checkpoint.location, checkpoint.location.get("base", {})):
            if "repo" in location:
                fetch_snapshot(location, study.compute.allow_pickle, checkpoint.label)
        print(f"{checkpoint.label}: in {find_cache()}", flush=True)


def list_hub_checkpoints(study: Study) -> list:
    """Checkpoints of a study, but for those that are yet to be trained in it."""
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
    number = len(series.sightings)
    head = f"{series.origin}: {number} checkpoint{'s' if number > 1 else ''}"
    head += f", stage {series.stage}" if series.stage else ""
    rows = [("step", "tokens", "size", "kind", "identity", "place")]
    rows += [_list_cells(s, series.size // number) for s in series.sightings]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [head]
    for cells in rows:
        right = [c.rjust(w) for c, w in zip(cells[:3], widths[:3], strict=True)]
        left = [c.ljust(w) for c, w in zip(cells[3:], widths[3:], strict=True)]
        lines.append("  " + "  ".join((*right, *left)).rstrip())
    lines += [f"  {s.place}: {s.problem}" for s in series.sightings if s.problem]
    lines += [f"  {note}" for note in series.notes]
    return "\n".join(lines) + "\n"


def _list_cells(sighting: Sighting, usual: int) -> tuple[str, ...]:
    base = sighting.base or {}
    base_name = base.get("path") or base.get("repo")
    return (
        "-" if sighting.step is None else f"{sighting.step:,}",
        "-" if sighting.tokens is None else f"{sighting.tokens:.3g}",
        f"~{format_size(usual)}" if sighting.size is None else format_size(sighting.size),
        f"{sighting.kind} of {base_name}" if base_name else sighting.kind,
        sighting.identity[:SHORT] or "-",
        sighting.place,
    )


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="emodrift", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    finder = commands.add_parser(
        "discover",
        help="list the checkpoints in a folder or hub repository, and write a config",
        description="List checkpoints: of a Trainer's folder, a folder of runs, a glob, a LoRA "
        "folder, a hub repository with its revisions. Several places make one series, such as "
        "base, SFT, DPO and final model. A .gguf file is a checkpoint, too.",
    )
    finder.add_argument("places", nargs="+", metavar="PATH_OR_REPO")
    finder.add_argument("--write", type=Path, metavar="FILE", help="write a study's config")
    finder.add_argument(
        "--every", type=_read_positive, default=1, metavar="N", help="keep one in N of each stage"
    )
    finder.add_argument(
        "--limit", type=_read_positive, metavar="N", help="keep at most N of each stage, evenly"
    )
    finder.set_defaults(run=run_discovery)
    fetcher = commands.add_parser(
        "download",
        help="fetch what a study loads from the hub",
        description="Fetch all checkpoints of a study into the hub's cache, so that it can be run "
        "where there is no network (HF_HUB_OFFLINE=1).",
    )
    fetcher.add_argument("config", type=Path, metavar="CONFIG")
    fetcher.set_defaults(run=run_download)
    return parser.parse_args(arguments)


def _read_positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
