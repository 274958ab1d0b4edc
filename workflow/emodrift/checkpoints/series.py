"""Series of checkpoints as discovery sees them, before there is a config."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emodrift.checkpoints.found import Found
from emodrift.checkpoints.gguf import is_gguf
from emodrift.checkpoints.names import read_name
from emodrift.errors import EmodriftError
from emodrift.store.downloads import Download

REPO = re.compile(r"[\w.-]+/[\w.-]+")
STAGES = (
    *("sft", "dpo", "kto", "orpo", "grpo", "ppo", "rlvr", "rlhf", "rl"),
    *("instruct", "chat", "think", "base"),
)
FIRST_STAGE = "base"


@dataclass(frozen=True)
class Sighting:
    """One checkpoint that was found.

    Parameters
    ----------
    place
        Path, revision, or folder in the repository.
    identity
        Content digest, or the hub's commit.
    source
        Config of a source that names it alone.
    kind
        ``full`` (with the types of quantised weights) or ``adapter``; ``?`` where a problem hides
        it.
    step, tokens
        As far as its files or name tell.
    size
        Bytes of its weights; None where they were not asked for.
    base
        Config of a source that names an adapter's base model, if the adapter does.
    problem
        Why it cannot be measured, if so.
    """

    place: str
    identity: str
    source: dict[str, Any]
    kind: str
    step: int | None = None
    tokens: int | None = None
    size: int | None = None
    base: dict[str, Any] | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Series:
    """Checkpoints of one training stage, in order.

    Parameters
    ----------
    origin
        Folder or repository.
    stage
        Training stage, as far as names tell; may be empty.
    sightings
        The checkpoints.
    pattern
        Config of a source that names them all: a glob, or a repository with ``{step}`` (and
        ``{tokens}``). None where none does.
    notes
        What else was seen.
    """

    origin: str
    stage: str
    sightings: tuple[Sighting, ...]
    pattern: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def on_hub(self) -> bool:
        """Whether the checkpoints are to be downloaded."""
        return "repo" in self.sightings[0].source

    @property
    def size(self) -> int:
        """Bytes of all weights; one whose size was not asked for counts as the mean."""
        known = [s.size for s in self.sightings if s.size is not None]
        return round(sum(known) * len(self.sightings) / len(known)) if known else 0


def describe_found(found: Found | EmodriftError, key: str) -> dict[str, Any]:
    """Kind, size, base and problem of a sighting, from what its files tell."""
    if isinstance(found, EmodriftError):
        return {"kind": "?", "problem": str(found).removeprefix(f"{key}: ")}
    if found.adapter is None:
        kept = found.location.get("dequantised")
        return {"kind": f"full, dequantised {kept}" if kept else "full"}
    name, revision = (found.adapter.get(k) for k in ("base_model_name_or_path", "revision"))
    base = None
    if name and (Path(name).is_dir() or is_gguf(Path(name))):
        base = {"path": name}
    elif name and REPO.fullmatch(name):
        base = {"repo": name, **({"revision": revision} if revision else {})}
    return {"kind": "adapter", "base": base}


def measure_downloads(downloads: tuple[Download, ...]) -> int:
    """Bytes of weights on the hub."""
    return sum(download.size for download in downloads)


def guess_stage(name: str) -> str:
    """Training stage that the name of a repository or folder tells, or an empty string."""
    told = [word for word in re.split(r"[^a-z]+", name.lower()) if word in STAGES]
    return told[-1] if told else ""


def thin_out(series: Series, every: int = 1, limit: int | None = None) -> Series:
    """Keep every so many checkpoints, or at most a number, spread evenly; first and last stay.

    Parameters
    ----------
    series
        The series.
    every
        Keep one of so many.
    limit
        Keep at most so many.
    """
    last = len(series.sightings) - 1
    kept = sorted({*range(0, last + 1, every), last})
    if limit and len(kept) > limit:
        kept = [kept[round(k * (len(kept) - 1) / max(1, limit - 1))] for k in range(limit)]
    sightings = tuple(series.sightings[k] for k in kept)
    is_glob = "path" in (series.pattern or {})
    pattern = None if is_glob and len(kept) <= last else series.pattern
    return replace(series, sightings=sightings, pattern=pattern)


def list_sources(series: Series) -> list[dict[str, Any]]:
    """Config of the sources that name a series' checkpoints, less those that have a problem.

    Adapters come after the model that they were trained on, as step 0, where they name it.
    """
    good = [s for s in series.sightings if not s.problem]
    base = good[0].base if good and all(s.step != 0 for s in good) else None
    sources = [{**base, "step": 0}] if base else []
    pattern = series.pattern
    if pattern is None or ("path" in pattern and len(good) < len(series.sightings)):
        return sources + [s.source for s in good]
    if "repo" in pattern:
        pattern = pattern | {"steps": [s.step for s in good]}
        if "{tokens}" in f"{pattern.get('revision')}{pattern.get('subfolder')}":
            named = [read_name(s.place.rpartition("/")[2]) for s in good]
            counts = [name and name.spelled for name in named]
            pattern = pattern | {"token_counts": counts}
    return [*sources, pattern]
