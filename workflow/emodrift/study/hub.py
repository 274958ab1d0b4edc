"""Hub revisions: which commit a branch or tag stands for, asked once and remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError


def find_revision(
    repo: str, revision: str, subfolder: str, key: str, memory: Path | None
) -> dict[str, Any]:
    """Commit and model config of a hub revision.

    The answer is kept in `memory`, so that planning asks the hub once; delete the file to have
    moving branches looked up again. Without network the local hub cache answers.

    Parameters
    ----------
    repo, revision, subfolder
        Place on the hub.
    key
        Config key to name in errors.
    memory
        JSON file of earlier answers.

    Returns
    -------
    dict
        ``{"commit": str, "config": dict}``.
    """
    name = f"{repo}@{revision}/{subfolder}"
    known = json.loads(memory.read_text()) if memory and memory.exists() else {}
    if name not in known:
        known[name] = _ask_hub(repo, revision, subfolder, key)
        if memory:
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_text(json.dumps(known, indent=1, sort_keys=True))
    return known[name]


def _ask_hub(repo: str, revision: str, subfolder: str, key: str) -> dict[str, Any]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    folder = f"{subfolder}/" if subfolder else ""
    wanted = [f"{folder}config.json", f"{folder}adapter_config.json"]
    try:
        snapshot = Path(snapshot_download(repo, revision=revision, allow_patterns=wanted))
    except RevisionNotFoundError:
        raise EmodriftError(f"{key}: hub repo {repo} has no revision {revision!r}") from None
    except GatedRepoError:
        raise EmodriftError(
            f"{key}: hub repo {repo} is gated; accept its terms and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise EmodriftError(
            f"{key}: hub repo {repo} does not exist, or is private and HF_TOKEN does not open it"
        ) from None
    except LocalEntryNotFoundError:
        raise EmodriftError(
            f"{key}: the hub is out of reach and {repo}@{revision} is not in the local cache; "
            "download it where there is network, or give a local `path`"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise EmodriftError(f"{key}: the hub answered {status} for {repo}@{revision}") from None
    config = snapshot / subfolder / "config.json"
    return {
        "commit": snapshot.name,
        "config": json.loads(config.read_text()) if config.is_file() else {},
    }
