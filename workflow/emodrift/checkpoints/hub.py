"""Hub revisions: which commit a branch or tag stands for, asked once and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emodrift.checkpoints.files import read_object
from emodrift.store.downloads import explain_hub, is_weights, list_files
from emodrift.store.memory import Memory

QUESTIONS_AT_A_TIME = 8


class _NoBar(tqdm):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"disable": True})


def find_revision(
    repo: str, revision: str, subfolder: str, key: str, memory: Path | None
) -> dict[str, Any]:
    """Commit, configs and files of one hub revision; see :func:`find_revisions`."""
    return find_revisions(repo, [(revision, subfolder)], key, memory)[0]


def find_revisions(
    repo: str, places: Sequence[tuple[str, str]], key: str, memory: Path | None
) -> list[dict[str, Any]]:
    """Commits, configs and files of hub revisions.

    The answers are kept in `memory`, so that planning asks the hub once; delete the file to have
    moving branches looked up again. Without network the local hub cache answers.

    Parameters
    ----------
    repo
        Hub repository.
    places
        Revision and subfolder of each.
    key
        Config key to name in errors.
    memory
        JSON file of earlier answers.

    Returns
    -------
    list of dict
        ``{"commit": str, "config": dict, "adapter": dict, "files": dict}``: `config` and `adapter`
        are config.json and adapter_config.json, empty where there is none; `files` are those of
        the folder, name -> [size in bytes, identity of the content].
    """
    names = [f"{repo}@{revision}/{subfolder}" for revision, subfolder in places]
    answers = Memory(memory)
    known = {n: a for n in names if _is_answer(a := answers.recall(n))}
    asked = {n: place for n, place in zip(names, places, strict=True) if n not in known}
    if asked:
        with ThreadPoolExecutor(QUESTIONS_AT_A_TIME) as pool:
            told = pool.map(lambda place: _ask_hub(repo, place[0], place[1], key), asked.values())
            known |= dict(zip(asked, told, strict=True))
        for name in asked:
            # an answer without weights comes from a cache of but a part: ask again next time
            if any(map(is_weights, known[name]["files"])):
                answers.learn(name, known[name])
        answers.save()
    return [known[name] for name in names]


def _is_answer(value: Any) -> bool:
    kinds = {"commit": str, "config": dict, "adapter": dict, "files": dict}
    return isinstance(value, dict) and all(isinstance(value.get(k), t) for k, t in kinds.items())


def _ask_hub(repo: str, revision: str, subfolder: str, key: str) -> dict[str, Any]:
    from huggingface_hub import snapshot_download

    folder = f"{subfolder}/" if subfolder else ""
    wanted = [f"{folder}config.json", f"{folder}adapter_config.json"]
    with explain_hub(key, repo, revision):
        snapshot = Path(
            snapshot_download(repo, revision=revision, allow_patterns=wanted, tqdm_class=_NoBar)
        )
        files = list_files(repo, snapshot.name, subfolder)
    return {
        "commit": snapshot.name,
        "config": read_object(snapshot / wanted[0], key),
        "adapter": read_object(snapshot / wanted[1], key),
        "files": {name: list(file) for name, file in files.items()},
    }
