"""Discovery: what checkpoints a folder or a hub repository holds."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from emodrift.checkpoints.files import expand, is_folder
from emodrift.checkpoints.gguf import SUFFIX, is_gguf
from emodrift.checkpoints.hub_discovery import see_repo, see_revision
from emodrift.checkpoints.names import read_name
from emodrift.checkpoints.places import read_local
from emodrift.checkpoints.series import REPO, Series, Sighting, describe_found, guess_stage
from emodrift.errors import EmodriftError
from emodrift.store.downloads import pick_weights
from emodrift.store.memory import FileDigests

KEY = "discover"
CONFIGS = ("config.json", "adapter_config.json")


def discover(place: str, digests: FileDigests, *, last_only: bool = False) -> list[Series]:
    """Checkpoints in a folder, behind a glob, in a GGUF file, or in a hub repository.

    Parameters
    ----------
    place
        Path, glob, or ``repo`` or ``repo@revision``.
    digests
        Memory of file digests.
    last_only
        Of a hub repository take the main revision alone.

    Raises
    ------
    EmodriftError
        There is no such place, it holds no checkpoint, or the hub does not open it.

    Examples
    --------
    >>> (series,) = discover("runs/sft", FileDigests(Path("digests.json")))
    >>> [(sighting.place, sighting.step, sighting.kind) for sighting in series.sightings]
    [('runs/sft/checkpoint-500', 500, 'full')]
    """
    path = expand(place, KEY)
    if is_folder(path) or path.suffix == SUFFIX or glob.has_magic(place):
        found = _see_local(path, digests)
        if not found:
            raise EmodriftError(
                f"{place} holds no checkpoint, nor a folder that does (config.json, "
                "adapter_config.json, or a .gguf file); point at what save_pretrained or the "
                "Trainer wrote"
            )
        return found
    repo, _, revision = place.partition("@")
    if not REPO.fullmatch(repo):
        raise EmodriftError(
            f"{place!r} is neither a directory here (seen from {Path.cwd()}) nor the name of a hub "
            "repo, such as EleutherAI/pythia-70m"
        )
    return [see_revision(repo, revision)] if revision else see_repo(repo, last_only)


def _see_local(path: Path, digests: FileDigests) -> list[Series]:
    if glob.has_magic(str(path)):
        folders = [Path(p) for p in sorted(glob.glob(str(path)))]
    elif path.suffix == SUFFIX:
        folders = [path]
    else:
        folders = [p for p in _list_inside(path) if not p.is_dir()]
        for below in sorted(p for p in path.iterdir() if p.is_dir()):
            folders += _list_inside(below) or [below]
        if not any(map(_is_checkpoint, folders)):
            folders = [path]
    groups: dict[Path, list[Path]] = {}
    for folder in filter(_is_checkpoint, folders):
        groups.setdefault(folder.parent, []).append(folder)
    return [_see_siblings(parent, inside, digests) for parent, inside in groups.items()]


def _list_inside(path: Path) -> list[Path]:
    """Checkpoints in a folder; GGUF files beside a checkpoint's own are copies of it."""
    own = _is_checkpoint(path)
    return [p for p in sorted(path.iterdir()) if _is_checkpoint(p) and (p.is_dir() or not own)]


def _is_checkpoint(path: Path) -> bool:
    return is_gguf(path) or any((path / name).is_file() for name in CONFIGS)


def _see_siblings(parent: Path, folders: Sequence[Path], digests: FileDigests) -> Series:
    seen = [_see_folder(folder, digests) for folder in folders]
    numbered = all(s.step is not None for s in seen)
    seen.sort(key=lambda s: (s.step or 0, s.place) if numbered else s.place)
    if not numbered and len(seen) > 1:
        seen = [replace(s, step=k, source=s.source | {"step": k}) for k, s in enumerate(seen)]
    stem = re.sub(r"\d+$", "", folders[0].name)
    pattern = f"{parent}/{stem}*"
    whole = len(seen) > 1 and {Path(p) for p in glob.glob(pattern)} == {*folders}
    alone = len(folders) == 1 and not read_name(folders[0].name)
    origin = folders[0] if alone else parent
    notes: tuple[str, ...] = ()
    if origin == parent and _is_checkpoint(parent):
        own = _see_folder(parent, digests)
        twin = next((s.place for s in seen if s.identity == own.identity), None)
        like = f"the same as {Path(twin).name}" if twin else "another than those inside"
        notes = (f"{parent} itself holds a model, {like}; it is left out",)
    return Series(
        origin=str(origin),
        stage=guess_stage(origin.name),
        sightings=tuple(seen),
        pattern={"path": pattern} if whole and numbered else None,
        notes=notes,
    )


def _see_folder(path: Path, digests: FileDigests) -> Sighting:
    try:
        found = read_local(path, KEY, digests, allow_pickle=False)
    except EmodriftError as error:
        return Sighting(str(path), "", {"path": str(path)}, **describe_found(error, KEY))
    if path.is_dir():
        names = [p.name for p in path.iterdir() if p.is_file()]
        weights = [path / n for n in pick_weights(names, bool(found.adapter), allow_pickle=False)]
    else:
        weights = [path]
    return Sighting(
        place=str(path),
        identity=found.digest,
        source={"path": str(path)},
        step=found.step,
        tokens=found.tokens,
        size=sum(file.stat().st_size for file in weights),
        **describe_found(found, KEY),
    )
