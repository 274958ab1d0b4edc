"""Discovery on the hub: revisions and folders of a repository that are checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emodrift.checkpoints.found import Found
from emodrift.checkpoints.hub import find_revisions
from emodrift.checkpoints.names import Named, read_name
from emodrift.checkpoints.places import read_hub
from emodrift.checkpoints.series import (
    Series,
    Sighting,
    describe_found,
    guess_stage,
    measure_downloads,
)
from emodrift.errors import EmodriftError
from emodrift.store.downloads import explain_hub

KEY = "discover"
ALIKE = 0.01
MAIN = "main"


def see_repo(repo: str, last_only: bool) -> list[Series]:
    """Checkpoints of a repository: its revisions that tell a step, else folders that do, else main.

    Parameters
    ----------
    repo
        Hub repository.
    last_only
        Take its main revision alone.
    """
    from huggingface_hub import HfApi

    with explain_hub(KEY, repo, MAIN):
        refs = HfApi().list_repo_refs(repo)
    commits = {ref.name: ref.target_commit for ref in (*refs.tags, *refs.branches)}
    told = {name: named for name in commits if (named := read_name(name))}
    if last_only:
        single = see_revision(repo, MAIN)
        note = f"{repo} has {len(told)} more revisions with steps; discover it alone to list them"
        return [replace(single, notes=(note,) if told else ())]
    if not told:
        return _see_folders(repo) or [see_revision(repo, MAIN)]
    groups: dict[tuple[str, str], dict[str, Named]] = {}
    for name, named in told.items():
        groups.setdefault((named.stage, named.pattern), {})[name] = named
    series = [_see_revisions(repo, commits, group) for _, group in sorted(groups.items())]
    others = ", ".join(name for name in commits if name not in told)
    notes = (f"revisions that tell no step are left out: {others}",) if others else ()
    return [*series[:-1], replace(series[-1], notes=notes)]


def see_revision(repo: str, revision: str) -> Series:
    """A single revision of a repository.

    Raises
    ------
    EmodriftError
        It is no checkpoint that can be measured.
    """
    (seen,) = _see_places(repo, [(revision, "")])
    if seen.problem:
        raise EmodriftError(seen.problem)
    named = read_name(revision)
    sighting = replace(
        seen,
        place=revision,
        step=named.step if named else None,
        tokens=named.tokens if named else None,
        source={"repo": repo, **_name_revision(revision)},
    )
    return Series(repo, named.stage if named else guess_stage(repo), (sighting,))


def _see_revisions(repo: str, commits: dict[str, str], told: dict[str, Named]) -> Series:
    names = sorted(told, key=lambda name: told[name].step)
    ends = list(dict.fromkeys((names[0], names[-1])))
    asked = dict(zip(ends, _see_places(repo, [(name, "") for name in ends]), strict=True))
    if not _look_alike(list(asked.values())):
        seen = _see_places(repo, [(name, "") for name in names])
        asked = dict(zip(names, seen, strict=True))
    like = replace(asked[names[0]], size=None)
    sightings = tuple(
        replace(
            asked.get(name, like),
            place=name,
            identity=commits[name],
            step=told[name].step,
            tokens=told[name].tokens,
            source={"repo": repo, "revision": name},
        )
        for name in names
    )
    pattern = _find_pattern(told)
    return Series(
        origin=repo,
        stage=told[names[0]].stage or guess_stage(repo),
        sightings=sightings,
        pattern={"repo": repo, "revision": pattern} if pattern else None,
    )


def _see_folders(repo: str) -> list[Series]:
    from huggingface_hub import HfApi

    with explain_hub(KEY, repo, MAIN):
        paths = [f.path for f in HfApi().list_repo_tree(repo, revision=MAIN, recursive=True)]
    groups: dict[str, dict[str, Named]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        parent, _, last = folder.rpartition("/")
        if name in ("config.json", "adapter_config.json") and (named := read_name(last)):
            groups.setdefault(parent, {})[folder] = named
    return [_see_siblings(repo, parent, told) for parent, told in sorted(groups.items())]


def _see_siblings(repo: str, parent: str, told: dict[str, Named]) -> Series:
    folders = sorted(told, key=lambda folder: told[folder].step)
    start = f"{parent}/" if parent else ""
    told = {folder: n._replace(pattern=f"{start}{n.pattern}") for folder, n in told.items()}
    sightings = tuple(
        replace(
            seen,
            place=folder,
            step=told[folder].step,
            tokens=told[folder].tokens,
            source={"repo": repo, "subfolder": folder, "step": told[folder].step},
        )
        for folder, seen in zip(
            folders, _see_places(repo, [(MAIN, folder) for folder in folders]), strict=True
        )
    )
    pattern = _find_pattern(told)
    return Series(
        origin=repo,
        stage=parent.replace("/", "-") or guess_stage(repo),
        sightings=sightings,
        pattern={"repo": repo, "subfolder": pattern} if pattern else None,
    )


def _find_pattern(told: dict[str, Named]) -> str | None:
    """The pattern that gives all names back when it is filled in, if there is one."""
    named = list(told.values())
    pattern = named[0].pattern
    if any(n.digits > len(str(n.step)) for n in named):
        pattern = pattern.replace("{step}", f"{{step:0{min(n.digits for n in named)}d}}")
    filled = {pattern.format(step=n.step, tokens=n.spelled) for n in named}
    return pattern if filled == {*told} else None


def _look_alike(sightings: Sequence[Sighting]) -> bool:
    sizes = [s.size or 0 for s in sightings]
    kinds = {(s.kind, s.problem) for s in sightings}
    return len(kinds) == 1 and max(sizes) - min(sizes) <= ALIKE * max(sizes)


def _see_places(repo: str, places: Sequence[tuple[str, str]]) -> list[Sighting]:
    sightings = []
    for place, answer in zip(places, find_revisions(repo, places, KEY, None), strict=True):
        try:
            found: Found | EmodriftError = read_hub(
                repo, place[0], place[1], answer, KEY, allow_pickle=False
            )
        except EmodriftError as error:
            found = error
        size = measure_downloads(getattr(found, "downloads", ()))
        sightings.append(
            Sighting(
                place=place[0],
                identity=answer["commit"],
                source={},
                size=size,
                **describe_found(found, KEY),
            )
        )
    return sightings


def _name_revision(revision: str) -> dict[str, str]:
    return {} if revision == MAIN else {"revision": revision}
