"""Checkpoints: which there are in a run, and which step each stands for.

Names, paths and steps are labels: two names for the same weights share every result.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emodrift.checkpoints.files import expand, is_folder
from emodrift.checkpoints.found import Found
from emodrift.checkpoints.gguf import is_gguf
from emodrift.checkpoints.hub import find_revisions
from emodrift.checkpoints.names import count_tokens, read_name
from emodrift.checkpoints.places import add_base, read_hub, read_local, read_step
from emodrift.config.runs import CheckpointSource, Reference, Run
from emodrift.errors import EmodriftError
from emodrift.store.downloads import Download
from emodrift.store.memory import FileDigests


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run.

    Parameters
    ----------
    run, step, stage, tokens
        Labels: the run's name, training step, training stage, training tokens seen (or None).
    location
        What a loader needs: ``{"path"}`` (and ``"dequantised"``, the types of a GGUF file's
        weights) or ``{"repo", "commit", "subfolder"}``, and for adapters the same of the model they
        are merged into as ``"base"``; with ``"initialise"``, a seed, random weights in its shape.
    digest
        Identity: content digest, or the hub's commit.
    hidden, layers
        Residual width and number of blocks, from its config.
    downloads
        Weights on the hub that loading it takes: its own, its base's.
    staged
        Whether its run has several stages, so that a step alone does not name it.
    """

    run: str
    step: int
    stage: str
    tokens: int | None
    location: dict[str, Any]
    digest: str
    hidden: int
    layers: int
    downloads: tuple[Download, ...] = ()
    staged: bool = False

    @property
    def label(self) -> str:
        """Human name, such as ``"healthy step 160"`` or, with stages, ``"olmo sft step 2"``."""
        stage = f" {self.stage}" if self.staged else ""
        return f"{self.run}{stage} step {self.step}"


def list_checkpoints(
    name: str,
    run: Run,
    digests: FileDigests,
    *,
    allow_pickle: bool = False,
    organisms: dict[str, Path] | None = None,
    trainings: dict[str, Path] | None = None,
    revisions: Path | None = None,
) -> list[Checkpoint]:
    """Checkpoints of a run in training order.

    Parameters
    ----------
    name, run
        The run and its config section.
    digests
        Memory of file digests.
    allow_pickle
        Accept checkpoints without safetensors files.
    organisms, trainings
        Run of the `organism` or `training` section -> directory that holds its ``checkpoint-*``
        folders.
    revisions
        Memory of resolved hub revisions.

    Raises
    ------
    EmodriftError
        No directory matches, a directory is no checkpoint, a step is unknown or comes twice.
    """
    key = f"runs.{name}.checkpoints"
    listed: list[Checkpoint] = []
    stages = {source.stage or run.stage or name for source in run.checkpoints}
    for source in run.checkpoints:
        if source.organism:
            source = _point_at(source, (organisms or {})[source.organism])
        elif source.training:
            source = _point_at(source, (trainings or {})[source.training])
        found = _find(source, key, digests, allow_pickle, revisions)
        if source.path and source.steps:
            found = _keep_steps(found, source.steps, key)
        for place in found:
            step = place.step
            if step is None:
                if len(found) > 1:
                    raise EmodriftError(
                        f"{key}: cannot tell the step of {place.location}; name folders like "
                        "checkpoint-100, keep trainer_state.json, or list each with `step:`"
                    )
                step = len(listed)
            stage = source.stage or run.stage or name
            listed.append(
                Checkpoint(
                    run=name,
                    step=step,
                    stage=stage,
                    tokens=_count_tokens(source, step, place.tokens),
                    location=place.location,
                    digest=place.digest,
                    hidden=place.shape["hidden"],
                    layers=place.shape["layers"],
                    downloads=place.downloads,
                    staged=len(stages) > 1,
                )
            )
    _refuse_twins(key, listed)
    return listed


def check_shapes(checkpoints: list[Checkpoint]) -> None:
    """Refuse a study whose checkpoints differ in width or depth: their vectors do not compare."""
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if (other.hidden, other.layers) != (first.hidden, first.layers):
            raise EmodriftError(
                f"runs mix models: {first.label} has hidden size {first.hidden} and "
                f"{first.layers} layers, {other.label} has {other.hidden} and {other.layers}; "
                "put models of different shape in studies of their own"
            )


def find_reference(checkpoints: list[Checkpoint], reference: Reference) -> Checkpoint:
    """The reference among the checkpoints.

    Raises
    ------
    EmodriftError
        Its run has no such step, or has it in several stages and none is named.
    """
    of_run = [c for c in checkpoints if c.run == reference.run]
    staged = len({c.stage for c in of_run}) > 1
    fitting = [c for c in of_run if c.step == reference.step and reference.stage in (None, c.stage)]
    if len(fitting) > 1:
        raise EmodriftError(
            f"reference.step {reference.step} comes in several stages of run {reference.run!r}; "
            f"set reference.stage to one of {', '.join(c.stage for c in fitting)}"
        )
    if not fitting:
        stage = f" of stage {reference.stage!r}" if reference.stage else ""
        there = (f"{c.stage} {c.step}" if staged else str(c.step) for c in of_run)
        raise EmodriftError(
            f"reference.step {reference.step}{stage} is not a checkpoint of run "
            f"{reference.run!r}, which has steps {', '.join(there)}"
        )
    return fitting[0]


def find_last_checkpoint(folder: Path) -> Path:
    """Trainer checkpoint directory of the highest step in a folder."""
    return max(folder.glob("checkpoint-*"), key=lambda path: read_step(path.name) or 0)


def _point_at(source: CheckpointSource, folder: Path) -> CheckpointSource:
    """A source of checkpoints that were trained in the study, as one of folders like any other."""
    where = {"path": str(folder / "checkpoint-*"), "organism": None, "training": None}
    return source.model_copy(update=where)


def _keep_steps(found: list[Found], steps: tuple[int, ...], key: str) -> list[Found]:
    """Checkpoints of some steps.

    Raises
    ------
    EmodriftError
        One is not there.
    """
    there = {place.step for place in found}
    missing = [step for step in steps if step not in there]
    if missing:
        raise EmodriftError(
            f"{key}: no checkpoint of step {missing[0]}; there are "
            f"{', '.join(str(step) for step in sorted(s for s in there if s is not None))}"
        )
    return [place for place in found if place.step in steps]


def _find(
    source: CheckpointSource,
    key: str,
    digests: FileDigests,
    allow_pickle: bool,
    revisions: Path | None,
) -> list[Found]:
    if source.repo:
        found = _find_on_hub(source, key, allow_pickle, revisions)
    else:
        assert source.path
        pattern = source.path
        paths = sorted(Path(p) for p in glob.glob(str(expand(pattern, key))))
        paths = [p for p in paths if is_folder(p) or is_gguf(p)]
        if not paths:
            raise EmodriftError(
                f"{key}: no directory matches {pattern!r} (seen from {Path.cwd()}); "
                "check the path, or train the run first"
            )
        found = [read_local(p, key, digests, allow_pickle, source.adapter) for p in paths]
        found.sort(key=lambda f: (f.step is None, f.step, f.location["path"]))
    if source.step is not None:
        if len(found) != 1:
            raise EmodriftError(f"{key}: `step` is given for a pattern of {len(found)} checkpoints")
        found = [replace(found[0], step=source.step)]
    return [
        f if f.adapter is None else add_base(f, source, key, digests, allow_pickle, revisions)
        for f in found
    ]


def _find_on_hub(
    source: CheckpointSource, key: str, allow_pickle: bool, revisions: Path | None
) -> list[Found]:
    assert source.repo
    steps: Sequence[int | None] = source.steps or (None,)
    counts: Sequence[int | None] = source.token_counts or (None,) * len(steps)
    labels = list(zip(steps, counts, strict=True))

    def fill(pattern: str, step: int | None, count: int | None) -> str:
        return pattern.format(step=step, tokens=count)

    places = [(fill(source.revision, *label), fill(source.subfolder, *label)) for label in labels]
    answers = find_revisions(source.repo, places, key, revisions)
    found = []
    for (step, count), place, answer in zip(labels, places, answers, strict=True):
        told = next((n for n in map(read_name, place) if n), None)
        tokens = told.tokens if told else None
        if count is not None:
            tokens = count_tokens(source.revision + source.subfolder, count)
        there = read_hub(source.repo, place[0], place[1], answer, key, allow_pickle, source.adapter)
        step = told.step if step is None and told else step
        found.append(replace(there, step=step, tokens=tokens))
    return found


def _count_tokens(source: CheckpointSource, step: int, told: int | None) -> int | None:
    if source.tokens_per_step:
        return step * source.tokens_per_step
    return told if source.tokens is None else source.tokens


def _refuse_twins(key: str, checkpoints: list[Checkpoint]) -> None:
    seen: dict[tuple[str, int], Checkpoint] = {}
    for checkpoint in checkpoints:
        twin = seen.setdefault((checkpoint.stage, checkpoint.step), checkpoint)
        if twin is not checkpoint:
            raise EmodriftError(
                f"{key}: step {checkpoint.step} comes twice, as {twin.location} and "
                f"{checkpoint.location}; drop one, or give them different `stage` or `step`"
            )
