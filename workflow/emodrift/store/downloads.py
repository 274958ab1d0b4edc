"""Checkpoints from the hub: fetched into the hub's own cache, and deleted once measured.

Files lie where every tool of the hub looks for them (``HF_HUB_CACHE``), under their commit. What a
job fetches is noted before it does so, in ``downloads/`` of the store; only weights that are noted
there are ever deleted.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value
from emodrift.store.entry import entry_exists
from emodrift.store.files import write_atomically

NOTES = "downloads"
BESIDE_WEIGHTS = ("*.json", "*.jinja", "*.model", "*.tiktoken", "merges.txt", "vocab.txt")
TRAINING_LOG = "trainer_state.json"
SHARD = r"(-\d+-of-\d+)?"
FORMATS = {
    (False, "safetensors"): rf"model{SHARD}\.safetensors",
    (True, "safetensors"): r"adapter_model\.safetensors",
    (False, "pickle"): rf"pytorch_model{SHARD}\.bin",
    (True, "pickle"): r"adapter_model\.bin",
}
PLACE = ("repo", "commit", "subfolder")
WHOLE = ("model.safetensors", "pytorch_model.bin")


class Download(NamedTuple):
    """Weights of one checkpoint on the hub.

    Parameters
    ----------
    repo, commit, subfolder
        Where they are.
    files
        Path in the repository -> (size in bytes, identity of the content).
    """

    repo: str
    commit: str
    subfolder: str
    files: dict[str, tuple[int, str]]

    @property
    def place(self) -> str:
        """Identity of the place, whatever lies there."""
        return identify_place(self.repo, self.commit, self.subfolder)

    @property
    def contents(self) -> set[tuple[str, str]]:
        """Identities of the files; revisions of a repository share those that did not change."""
        return {(self.repo, content) for _, content in self.files.values()}

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(size for size, _ in self.files.values())


def identify_place(repo: str, commit: str, subfolder: str) -> str:
    """Name of a place on the hub, for notes about it."""
    return digest_value([repo, commit, subfolder])


def list_places(location: Mapping[str, Any]) -> list[str]:
    """Places on the hub that loading from a location reads: its own, its base's."""
    own = [identify_place(*(location[k] for k in PLACE))] if "repo" in location else []
    return own + (list_places(location["base"]) if "base" in location else [])


def pick_weights(names: Sequence[str], adapter: bool, allow_pickle: bool) -> list[str]:
    """Weight files of a folder that a loader reads: safetensors first, a whole file before shards.

    Parameters
    ----------
    names
        Names of the files in the folder.
    adapter
        The folder's adapter is wanted, not a whole model.
    allow_pickle
        Whether pickled weights will do.
    """
    for kind in ("safetensors", "pickle") if allow_pickle else ("safetensors",):
        chosen = sorted(n for n in names if re.fullmatch(FORMATS[adapter, kind], n))
        if chosen:
            return [n for n in chosen if n in WHOLE] or chosen
    return []


def is_weights(name: str) -> bool:
    """Whether a file's name is one of weights, of whatever format."""
    return any(re.fullmatch(pattern, name) for pattern in FORMATS.values())


@contextlib.contextmanager
def explain_hub(prefix: str, repo: str, revision: str) -> Iterator[None]:
    """Turn what the hub's client raises into one line that says how to mend it.

    Parameters
    ----------
    prefix
        Config key or checkpoint to name first.
    repo, revision
        What was asked for.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        problem = (
            f"hub repo {repo} has no revision {revision!r}; `emodrift discover {repo}` lists them"
        )
    except errors.GatedRepoError:
        problem = f"hub repo {repo} is gated; accept its terms on its page and set HF_TOKEN"
    except errors.RepositoryNotFoundError:
        problem = f"hub repo {repo} does not exist, or is private and HF_TOKEN does not open it"
    except errors.HFValidationError:
        problem = f"{repo!r} is neither a directory here nor the name of a hub repo"
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        problem = (
            f"the hub is out of reach and {repo}@{revision} is not in the local cache at "
            f"{find_cache()}; run `emodrift download CONFIG` where there is network, or give a "
            "local `path`"
        )
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        problem = f"the hub answered {status} for {repo}@{revision}" + (
            "; HF_TOKEN is not valid" if status == 401 else ""
        )
    except (OSError, errors.HTTPError) as error:
        problem = (
            f"fetching {repo}@{revision} from the hub failed ({type(error).__name__}: {error}); "
            "start again: files that are complete are kept"
        )
    else:
        return
    raise EmodriftError(f"{prefix}: {problem}") from None


def fetch_snapshot(location: Mapping[str, Any], allow_pickle: bool, label: str) -> Path:
    """Folder of a checkpoint in the hub's cache, downloaded as far as it is not there.

    Nothing is asked of the hub when all is there. A connection that drops is taken up again where
    it broke off.

    Parameters
    ----------
    location
        ``{"repo", "commit", "subfolder"}``; with ``"base"``, it is an adapter.
    allow_pickle
        Whether pickled weights will do.
    label
        Checkpoint to name in errors.
    """
    from huggingface_hub import snapshot_download

    repo, commit, subfolder = (location[k] for k in PLACE)
    with explain_hub(label, repo, commit):
        names = list(list_files(repo, commit, subfolder))
        weights = pick_weights(names, "base" in location, allow_pickle)
        beside = [
            n
            for n in names
            if n != TRAINING_LOG and any(fnmatch.fnmatch(n, p) for p in BESIDE_WEIGHTS)
        ]
        wanted = [f"{subfolder}/{n}" if subfolder else n for n in (*weights, *beside)]
        folder = Path(snapshot_download(repo, revision=commit, allow_patterns=wanted))
    return folder / subfolder


def list_files(repo: str, commit: str, subfolder: str) -> dict[str, tuple[int, str]]:
    """Files of a folder at a commit: name -> (size in bytes, identity of the content).

    The hub is asked once for each commit; without it, what lies in the cache counts.
    """
    from huggingface_hub import snapshot_download

    files = _read_tree(repo, commit)
    if files is None:
        folder = Path(snapshot_download(repo, revision=commit, allow_patterns=["config.json"]))
        files = _read_tree(repo, commit)
    if files is None:
        files = {
            p.relative_to(folder).as_posix(): (p.stat().st_size, p.resolve().name)
            for p in folder.rglob("*")
            if p.is_file()
        }
    start = f"{subfolder}/" if subfolder else ""
    inside = {n.removeprefix(start): f for n, f in files.items() if n.startswith(start)}
    return {n: f for n, f in inside.items() if "/" not in n}


def list_missing(download: Download) -> dict[str, int]:
    """Weight files that are not in the hub's cache -> size in bytes."""
    return {n: size for n, (size, _) in download.files.items() if not _is_cached(download, n)}


def find_cache() -> Path:
    """Folder of the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def measure_free_space() -> int:
    """Bytes free where the hub's cache lies."""
    folder = find_cache().absolute()
    return shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free


def note_downloads(needs: Mapping[str, Mapping[str, Any]], store: Path, entry: str) -> None:
    """Note which weights a job will have to fetch, so that they may be deleted later.

    Parameters
    ----------
    needs
        Place -> ``download`` and ``entries``; see :func:`release_downloads`.
    store
        Root of the store.
    entry
        Place of the job's entry below the store.
    """
    for place, need in needs.items():
        if entry in need["entries"]:
            missing = list_missing(Download(*need["download"]))
            if missing:
                _write_note(store, place, sorted({*_read_note(store, place), *missing}))


def release_downloads(needs: Mapping[str, Mapping[str, Any]], store: Path) -> int:
    """Delete noted weights that no unfinished entry needs from the hub's cache.

    A file whose content another revision in the cache, or a place with unfinished entries, shares
    stays. Files that were in the cache before a job came are not noted, and stay.

    Parameters
    ----------
    needs
        Place -> ``download``, a :class:`Download`, and ``entries``, places below the store of the
        entries whose jobs load it.
    store
        Root of the store.

    Returns
    -------
    int
        Bytes freed.
    """
    waiting = {
        place
        for place, need in needs.items()
        if not all(entry_exists(store / entry) for entry in need["entries"])
    }
    held = set().union(*(Download(*needs[place]["download"]).contents for place in waiting))
    freed = 0
    for place in needs.keys() - waiting:
        download, noted = Download(*needs[place]["download"]), _read_note(store, place)
        free = [n for n in noted if (download.repo, download.files[n][1]) not in held]
        if free:
            freed += _delete_files(download, free, store)
            _write_note(
                store, place, [n for n in noted if n not in free or _is_cached(download, n)]
            )
    return freed


def _delete_files(download: Download, names: Sequence[str], store: Path) -> int:
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.utils import WeakFileLock

    with WeakFileLock(store / NOTES / ".lock"), _forgive_deletion(download):
        cached = scan_cache_dir(find_cache())
        strategy = cached.delete_files(
            *(
                file
                for repo in cached.repos
                if (repo.repo_type, repo.repo_id) == ("model", download.repo)
                for revision in repo.revisions
                if revision.commit_hash == download.commit
                for file in revision.files
                if file.file_path.relative_to(revision.snapshot_path).as_posix() in names
            )
        )
        strategy.execute()
        if strategy.files:
            logging.info(
                "deleted the weights of %s@%s from the hub's cache: %s freed",
                download.repo,
                download.commit[:8],
                format_size(strategy.expected_freed_size),
            )
        return strategy.expected_freed_size
    return 0


@contextlib.contextmanager
def _forgive_deletion(download: Download) -> Iterator[None]:
    from huggingface_hub.errors import CacheNotFound

    try:
        yield
    except (CacheNotFound, OSError) as error:
        logging.warning("cannot delete the weights of %s@%s: %s", *download[:2], error)


def format_size(size: float) -> str:
    """Bytes in words, such as ``"1.8 GB"``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.3g} {unit}"
        size /= 1000
    raise AssertionError


def _is_cached(download: Download, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(download.repo, name, revision=download.commit), str)


def _read_tree(repo: str, commit: str) -> dict[str, tuple[int, str]] | None:
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    with contextlib.suppress(CachedRepoTreeNotFoundError):
        tree = get_cached_repo_tree(repo, revision=commit)
        return {file.path: (file.size, file.blob_id) for file in tree}
    return None


def _note_path(store: Path, place: str) -> Path:
    return store / NOTES / f"{place}.json"


def _read_note(store: Path, place: str) -> list[str]:
    try:
        names = json.loads(_note_path(store, place).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []  # what is not noted is not deleted
    return names if isinstance(names, list) else []


def _write_note(store: Path, place: str, names: Sequence[str]) -> None:
    path = _note_path(store, place)
    if names:
        write_atomically(path, json.dumps(names))
    else:
        path.unlink(missing_ok=True)
