"""Drafts: a study's config, written from what discovery found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from emodrift.checkpoints.gguf import SUFFIX
from emodrift.checkpoints.series import FIRST_STAGE, Series, list_sources
from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.store.downloads import format_size

LINE = 100
FRAME = """\
# Written by `{command}`.
# Read the comments, then: make study STUDY={file}
# Every key is explained in config/README.md.
name: {name}
description: {description}

# Stages and run names are labels; change them as you like. A run that is known to be sound, given
# `role: healthy`, sets the alarms' thresholds.
runs:
{runs}

# Where vectors are found and locked; all drift is counted from here. It must be able to tell the
# stories apart: take the model that fine-tuning started from, or a late step of pre-training.
reference: {reference}
"""
DOWNLOADS = """
# The weights come to {size}. With `false` each checkpoint's are deleted once it is measured; with
# `true` they stay in the hub's cache.
compute: {{keep_downloads: {keep}}}
"""


class DraftStage(NamedTuple):
    """A stage to be: config of its sources in order, and its first step."""

    sources: list[dict[str, Any]]
    first: int


class DraftRun(NamedTuple):
    """A run to be: its name, and its stages in order."""

    name: str
    stages: dict[str, DraftStage]


def arrange_runs(found: Sequence[Sequence[Series]]) -> list[DraftRun]:
    """Runs of what was found at one place or several.

    One place: each folder is a run; a repository is one run, its kinds of revisions stages. Several
    places: one run over all, a stage for each in the order given.

    Parameters
    ----------
    found
        Series by place.
    """
    if len(found) == 1 and not found[0][0].on_hub:
        return [_arrange_run(_name_after(series.origin), [series]) for series in found[0]]
    everything = [series for place in found for series in place]
    name = _name_after(everything[0].origin) if len(found) == 1 else "series"
    return [_arrange_run(name, everything)]


def draft_study(
    name: str, runs: Sequence[DraftRun], command: str, file: str, size: int, free: int
) -> str:
    """Text of a study's config, with comments on what to look at.

    Parameters
    ----------
    name
        Name of the study.
    runs
        Its runs.
    command, file
        The command that writes it, and where to.
    size, free
        Bytes to be downloaded, and bytes free where they go.

    Raises
    ------
    EmodriftError
        Nothing that was found can be measured.
    """
    runs = [run for run in runs if run.stages]
    if not runs:
        raise EmodriftError("nothing that was found can be measured; see the problems above")
    text = FRAME.format(
        command=command,
        file=file,
        name=name,
        description=f"Emotion vectors over {' and '.join(run.name for run in runs)}.",
        runs="\n".join(_render_run(run) for run in runs),
        reference=_render(_find_first(runs[0])),
    )
    if size:
        text += DOWNLOADS.format(size=format_size(size), keep=str(2 * size < free).lower())
    parse_study(yaml.safe_load(text), file)
    return text


def make_name(text: str) -> str:
    """A name that a config takes, made of any text."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_") or "study"


def _arrange_run(name: str, found: Sequence[Series]) -> DraftRun:
    stages: dict[str, DraftStage] = {}
    for series in found:
        sources = list_sources(series)
        if not sources:
            continue
        first = next(s.step for s in series.sightings if not s.problem)
        if first is None:
            first = len(stages)
            sources = [{"step": k, **source} for k, source in enumerate(sources, first)]
        guess = series.stage or (FIRST_STAGE if not stages and len(found) > 1 else "")
        stage, twin = guess or _name_after(series.origin), 1
        while (unique := stage if twin == 1 else f"{stage}-{twin}") in stages:
            twin += 1
        stages[unique] = DraftStage(sources, sources[0].get("step", first))
    return DraftRun(name, stages)


def _name_after(origin: str) -> str:
    return make_name(origin.rstrip("/").rpartition("/")[2].removesuffix(SUFFIX))


def _find_first(run: DraftRun) -> dict[str, Any]:
    name, stage = next(iter(run.stages.items()))
    staged = {"stage": name} if len(run.stages) > 1 else {}
    return {"run": run.name, "step": stage.first, **staged}


def _render_run(run: DraftRun) -> str:
    staged = len(run.stages) > 1
    lines = [f"  {run.name}:"]
    if not staged:
        lines.append(f"    stage: {next(iter(run.stages))}")
    lines.append("    checkpoints:")
    for name, stage in run.stages.items():
        label = {"stage": name} if staged else {}
        lines.extend(_render_source(source | label) for source in stage.sources)
    return "\n".join(lines)


def _render_source(source: dict[str, Any]) -> str:
    line = f"      - {_render(source)}"
    if len(line) <= LINE:
        return line
    fields = [f"{key}: {_render(value)}" for key, value in source.items()]
    return "      - " + "\n        ".join(fields)


def _render(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")
