"""Which checkpoint an eval was run on: by its directory, commit, revision or step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from emodrift.checkpoints.names import read_name
from emodrift.errors import EmodriftError
from emodrift.evals.records import Reading, Told


class Place(NamedTuple):
    """A checkpoint as evals may name it.

    Parameters
    ----------
    run, step, stage
        Labels.
    digest
        Identity; two places of one digest are the same weights.
    path, repo, commit
        Where its weights lie.
    """

    run: str
    step: int
    stage: str
    digest: str
    path: str = ""
    repo: str = ""
    commit: str = ""

    def __str__(self) -> str:
        return f"{self.run} {self.stage} step {self.step}"


def join_checkpoint(
    reading: Reading, places: Sequence[Place], run: str | None = None, stage: str | None = None
) -> list[int]:
    """Numbers of the checkpoints that a reading is about: several are the same weights.

    What names weights (a directory, a commit) comes before what names a step (a revision, the
    folder's name, a step). All that a file tells must agree.

    Parameters
    ----------
    reading
        What a file says.
    places
        All checkpoints of the study.
    run, stage
        The run and stage that the config names for the source.

    Returns
    -------
    list of int
        Empty where no checkpoint fits.

    Raises
    ------
    EmodriftError
        Two things that the file tells name two checkpoints, or one names two of different weights.
    """
    told = reading.told
    allowed = [
        i
        for i, place in enumerate(places)
        if run in (None, place.run) and stage in (None, place.stage)
    ]
    by_weights = [i for i in allowed if _names_weights(told, places[i])]
    step = _find_step(told)
    by_step = [i for i in allowed if step == places[i].step and _shares_repo(told, places[i])]
    fitting = by_weights or by_step
    if by_weights and told.step is not None:
        fitting = [i for i in by_weights if places[i].step == told.step]
        if not fitting:
            raise EmodriftError(
                f"evals: {reading.file} tells {told}: its model is {places[by_weights[0]]}, and "
                f"its step that of {_list(by_step, places) or 'no checkpoint'}; correct the file, "
                "or the step of the run"
            )
    if len({places[i].digest for i in fitting}) > 1:
        raise EmodriftError(
            f"evals: {reading.file} tells {told}, which fits {_list(fitting, places)}; name the "
            "`run` (and `stage`) of this source"
        )
    return fitting


def _names_weights(told: Told, place: Place) -> bool:
    if told.revision and place.commit and told.revision == place.commit:
        return True
    if not told.model or not place.path:
        return False
    named, there = Path(told.model).expanduser(), Path(place.path).expanduser()
    if named.resolve() == there.resolve():
        return True
    parts = named.parts
    return not named.is_absolute() and there.resolve().parts[-len(parts) :] == parts


def _shares_repo(told: Told, place: Place) -> bool:
    """Whether a step counts there: a repository's own revision means no other repository's."""
    if told.step is None and told.revision and place.repo and told.model:
        return told.model.startswith(place.repo)
    return True


def _find_step(told: Told) -> int | None:
    if told.step is not None:
        return told.step
    names = [told.revision or "", Path(told.model).name if told.model else ""]
    return next((found.step for found in map(read_name, names) if found), None)


def _list(numbers: Sequence[int], places: Sequence[Place]) -> str:
    return " and ".join(str(places[i]) for i in numbers[:2])
