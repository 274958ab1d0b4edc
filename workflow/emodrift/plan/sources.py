"""Sources of contrast data as the plan sees them: files and folders, and models that write."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from emodrift.checkpoints.files import expand, is_folder
from emodrift.checkpoints.gguf import is_gguf
from emodrift.checkpoints.hub import find_revision
from emodrift.checkpoints.places import read_local
from emodrift.config.running import Compute
from emodrift.config.texts import Source
from emodrift.config.writer import Writer
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value
from emodrift.store.memory import FileDigests

HELDOUT = 0.3
RECIPE = ("generator", "seed", "amount")
LABELS = ("name", "file", "writer")


class Writing(NamedTuple):
    """A writing job: what determines the stories, their leaves, and what does not.

    A model that is loaded here is known by its content: its name is in the context alone.
    """

    params: dict[str, Any]
    leaves: dict[str, str]
    context: dict[str, Any]


def list_files(key: str, pattern: str) -> list[Path]:
    """Files and folders that a pattern names, seen from the project's folder or absolute."""
    files = [Path(name) for name in sorted(glob.glob(str(expand(pattern, key))))]
    if not files:
        raise EmodriftError(f"{key}: no file matches {pattern!r} (seen from {Path.cwd()})")
    return files


def find_file(key: str, pattern: str) -> Path:
    """The first file that a pattern names; see :func:`list_files`."""
    for path in list_files(key, pattern):
        if path.is_file():
            return path
    raise EmodriftError(f"{key}: {pattern!r} names a folder; name a file in it")


def digest_source(key: str, path: Path, digests: FileDigests) -> str:
    """Digest of a file, or of all files of a folder that ``datasets`` saved."""
    if not path.is_dir():
        return digests.digest(path)
    if (path / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in path.iterdir() if p.is_dir())
        raise EmodriftError(
            f"{key}: {path} holds several data sets ({', '.join(splits)}); name one of them, "
            f"such as {path / splits[0] if splits else path}"
        )
    if not (path / "state.json").is_file():
        raise EmodriftError(
            f"{key}: {path} is no folder that datasets' save_to_disk wrote (no state.json); "
            "give a file, or a pattern such as folder/*.jsonl"
        )
    return digests.digest_tree(path, sorted(p for p in path.rglob("*") if p.is_file()))


def describe_part(kind: str, source: Source) -> dict[str, Any]:
    """What determines a part's records beside its file; keys left at their defaults stay out."""
    values = source.model_dump(mode="json", exclude=set(LABELS))
    given = source.model_dump(mode="json", exclude_defaults=True)
    return {"kind": kind, **{k: v for k, v in values.items() if k in RECIPE or k in given}}


def name_parts(source: Source, files: Sequence[Path]) -> list[str]:
    """Names of a source's parts: its own, its files', or its generator's."""
    if not files:
        return [source.name or str(source.generator)]
    if source.name and len(files) == 1:
        return [source.name]
    return [f"{source.name}-{file.stem}" if source.name else file.stem for file in files]


def describe_writing(
    key: str,
    source: Source,
    emotions: Sequence[str],
    compute: Compute,
    digests: FileDigests,
    revisions: Path,
) -> Writing:
    """What a model is asked to write, and where it is.

    Parameters
    ----------
    key
        Config key to name in errors.
    source
        The source, with a writer.
    emotions
        Emotions of the study.
    compute
        Where and how a local model runs.
    digests, revisions
        Memories of file digests and of hub revisions.

    Raises
    ------
    EmodriftError
        Topics, synonyms or the model are missing.
    """
    writer = source.writer
    assert writer
    taxonomy = _read_taxonomy(key, writer.taxonomy)
    settings = writer.list_settings()
    params = {
        "writer": settings,
        "topics": _list_topics(key, writer.topics),
        "heldout": HELDOUT if source.heldout is None else source.heldout,
        "amount": source.amount,
        "seed": source.seed,
        "forbidden": {e: _list_forbidden(key, e, writer, taxonomy) for e in emotions},
        "homographs": sorted(taxonomy.get("homographs", [])),
        "dtype": None if writer.endpoint else compute.weights,
    }
    context: dict[str, Any] = {"parallel": writer.parallel}
    if writer.endpoint:
        context |= {"key_variable": writer.key_variable, "timeout": writer.timeout}
        return Writing(params, {}, {"connection": context, "model": None})
    settings["model"] = None
    location, digest = _locate_model(key, writer.model, compute, digests, revisions)
    loading = compute.model_dump(mode="json", exclude={"dtype"})
    context |= {"location": location, "loading": loading}
    known = {"connection": context, "model": digest, "locations": [location]}
    return Writing(params, {"model": digest}, known)


def _locate_model(
    key: str, model: str, compute: Compute, digests: FileDigests, revisions: Path
) -> tuple[dict[str, str], str]:
    key = f"{key}.writer.model"
    folder = expand(model, key)
    if is_folder(folder) or is_gguf(folder):
        found = read_local(folder, key, digests, compute.allow_pickle)
        habits = folder / "generation_config.json"
        known = [found.digest, digests.digest(habits) if habits.is_file() else None]
        return found.location, digest_value(known)
    repo, _, revision = model.partition("@")
    commit = find_revision(repo, revision or "main", "", key, revisions)["commit"]
    location = {"repo": repo, "commit": commit, "subfolder": ""}
    return location, digest_value(location)


def _list_topics(key: str, topics: Sequence[str] | str) -> list[str]:
    if isinstance(topics, str):
        file = find_file(f"{key}.writer.topics", topics)
        topics = file.read_text(encoding="utf-8").splitlines()
    listed = [clean for topic in topics if (clean := " ".join(topic.split()))]
    twins = sorted({t for t in listed if listed.count(t) > 1})
    if twins:
        raise EmodriftError(f"{key}.writer.topics: {twins[0]!r} comes twice; drop one")
    if len(listed) < 2:
        raise EmodriftError(f"{key}.writer.topics: found {len(listed)} topics; give two or more")
    return listed


def _read_taxonomy(key: str, path: str) -> dict[str, Any]:
    file = find_file(f"{key}.writer.taxonomy", path)
    taxonomy = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(taxonomy, dict) or not isinstance(taxonomy.get("emotions"), dict):
        raise EmodriftError(
            f"{key}.writer.taxonomy: {file} has no `emotions`; see resources/emotions.yaml"
        )
    return taxonomy


def _list_forbidden(key: str, emotion: str, writer: Writer, taxonomy: dict[str, Any]) -> list[str]:
    known = taxonomy["emotions"].get(emotion)
    if known is None and emotion not in writer.synonyms:
        raise EmodriftError(
            f"{key}.writer.synonyms: {writer.taxonomy} has no emotion {emotion!r}; list the words "
            "that its stories must not use"
        )
    words = (known or {}).get("synonyms", ())
    return list(dict.fromkeys([emotion, *words, *writer.synonyms.get(emotion, ())]))
