"""Places of checkpoints: what a directory or a hub revision holds, told without loading it.

A local checkpoint is identified by the content of its weight, tokenizer and config files, a hub
checkpoint by its commit.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emodrift.checkpoints.found import Found
from emodrift.checkpoints.gguf import SUFFIX, is_gguf, read_gguf
from emodrift.checkpoints.hub import find_revisions
from emodrift.config.runs import CheckpointSource
from emodrift.errors import EmodriftError
from emodrift.store.digest import FileDigests, digest_value
from emodrift.store.downloads import Download, is_weights, pick_weights

IDENTITY_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "config.json",
    "adapter_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
)
TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
PROMPT_ADAPTERS = ("PROMPT", "PREFIX", "P_TUNING", "CPT", "CARTRIDGE")
NOT_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin")
SHAPE_KEYS = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
}


def read_local(
    path: Path, key: str, digests: FileDigests, allow_pickle: bool, adapter: bool | None = None
) -> Found:
    """Read what a local checkpoint is, without loading it.

    Parameters
    ----------
    path
        Its directory, or a GGUF file.
    key
        Config key to name in errors.
    digests
        Memory of file digests.
    allow_pickle
        Accept ``*.bin`` weights.
    adapter
        Whether it is to be an adapter; None leaves it to what is found.

    Raises
    ------
    EmodriftError
        It is no checkpoint, or lacks weights or a tokenizer.
    """
    if is_gguf(path):
        return read_gguf(path, key, digests)
    names = sorted(p.name for p in path.iterdir() if p.is_file())
    as_adapter = _is_adapter(names, adapter)
    config = "adapter_config.json" if as_adapter else "config.json"
    if config not in names:
        also = "" if adapter is not None else " nor adapter_config.json with an adapter's weights"
        raise EmodriftError(
            f"{key}: {path} is no checkpoint (no {config}{also} in it); "
            "point at the folder that save_pretrained or the Trainer wrote"
        )
    _check_weights(names, as_adapter, allow_pickle, str(path), key)
    _check_shards(path, names, key)
    if not as_adapter:
        _check_tokenizer(names, str(path), key)
    files = sorted(
        {f for pattern in IDENTITY_FILES for f in path.glob(pattern) if f.name not in NOT_WEIGHTS}
    )
    state = _read_json(path / "trainer_state.json", key)
    settings = _read_json(path / config, key)
    return Found(
        location={"path": str(path)},
        digest=digests.digest_tree(path, files),
        shape={} if as_adapter else read_shape(settings, str(path), key),
        step=state.get("global_step", read_step(path.name)),
        tokens=state.get("num_input_tokens_seen") or None,
        adapter=settings if as_adapter else None,
    )


def read_shape(config: dict[str, Any], origin: str, key: str) -> dict[str, int]:
    """Residual width and number of blocks from a model's config."""
    config = config.get("text_config", config)
    shape = {}
    for dim, names in SHAPE_KEYS.items():
        values = [config[n] for n in names if isinstance(config.get(n), int)]
        if not values:
            raise EmodriftError(
                f"{key}: config.json of {origin} has none of {', '.join(names)}; "
                "is it a decoder that transformers knows?"
            )
        shape[dim] = values[0]
    return shape


def read_step(name: str) -> int | None:
    """Number at the end of a name."""
    digits = re.search(r"(\d+)$", name)
    return int(digits.group(1)) if digits else None


def read_hub(
    repo: str,
    revision: str,
    subfolder: str,
    answer: dict[str, Any],
    key: str,
    allow_pickle: bool,
    adapter: bool | None = None,
) -> Found:
    """Read what a checkpoint on the hub is from what :func:`find_revisions` answered.

    Parameters
    ----------
    repo, revision, subfolder
        Place on the hub.
    answer
        Its commit, configs and files.
    key, allow_pickle, adapter
        As in :func:`read_local`.

    Raises
    ------
    EmodriftError
        It is no checkpoint, or lacks weights or a tokenizer.
    """
    origin = f"hub repo {repo}@{revision}" + (f", folder {subfolder}" if subfolder else "")
    names = list(answer["files"])
    as_adapter = _is_adapter(names, adapter)
    settings = answer["adapter" if as_adapter else "config"]
    if not settings:
        missing = "adapter_config.json" if as_adapter else "config.json"
        raise EmodriftError(
            f"{key}: {origin} is no checkpoint (no {missing} in it); `emodrift discover {repo}` "
            "lists what there is"
        )
    weights = _check_weights(names, as_adapter, allow_pickle, origin, key)
    if not as_adapter:
        _check_tokenizer(names, origin, key)
    location = {"repo": repo, "commit": answer["commit"], "subfolder": subfolder}
    start = f"{subfolder}/" if subfolder else ""
    files = {f"{start}{name}": tuple(answer["files"][name]) for name in weights}
    return Found(
        location=location,
        digest=digest_value(location),
        shape={} if as_adapter else read_shape(settings, origin, key),
        step=None,
        tokens=None,
        adapter=settings if as_adapter else None,
        downloads=(Download(repo, answer["commit"], subfolder, files),),
    )


def add_base(
    found: Found,
    source: CheckpointSource,
    key: str,
    digests: FileDigests,
    allow_pickle: bool,
    revisions: Path | None,
) -> Found:
    """Complete an adapter by the model that it is merged into.

    Parameters
    ----------
    found
        The adapter.
    source
        Its config section.
    key, digests, allow_pickle
        As in :func:`read_local`.
    revisions
        Memory of resolved hub revisions.

    Raises
    ------
    EmodriftError
        Its base is not named or cannot be found, or it cannot be merged into weights.
    """
    kind = str(found.adapter.get("peft_type", "LORA"))
    if any(word in kind for word in PROMPT_ADAPTERS):
        raise EmodriftError(
            f"{key}: the adapter {found.location} is of type {kind}, which adds a prompt and "
            "cannot be merged into weights; only adapters of weights, such as LORA, can be measured"
        )
    base = source.base or _name_base(found.adapter)
    if not base:
        raise EmodriftError(f"{key}: the adapter {found.location} names no base; set `base`")
    under = read_model(
        base, f"{key}: base {base!r} of an adapter", digests, allow_pickle, revisions
    )
    return replace(
        found,
        location={**found.location, "base": under.location},
        digest=digest_value([found.digest, under.digest]),
        shape=under.shape,
        downloads=found.downloads + under.downloads,
    )


def read_model(
    model: str, key: str, digests: FileDigests, allow_pickle: bool, revisions: Path | None
) -> Found:
    """Read what a whole model is that a config names in one word.

    Parameters
    ----------
    model
        Directory, GGUF file, or ``repo@revision``.
    key, digests, allow_pickle
        As in :func:`read_local`.
    revisions
        Memory of resolved hub revisions.

    Raises
    ------
    EmodriftError
        It cannot be found, or is no whole model.
    """
    place = Path(model).expanduser()
    if place.is_dir() or is_gguf(place):
        return read_local(place, key, digests, allow_pickle, adapter=False)
    if place.suffix == SUFFIX:
        raise EmodriftError(f"{key}: there is no file {model} (seen from {Path.cwd()})")
    repo, _, revision = model.partition("@")
    at = (revision or "main", "")
    (answer,) = find_revisions(repo, [at], key, revisions)
    return read_hub(repo, *at, answer, key, allow_pickle, adapter=False)


def _name_base(adapter: dict[str, Any]) -> str | None:
    name, revision = adapter.get("base_model_name_or_path"), adapter.get("revision")
    return f"{name}@{revision}" if name and revision and not Path(name).exists() else name


def _is_adapter(names: Sequence[str], wanted: bool | None) -> bool:
    if wanted is not None:
        return wanted
    return "adapter_config.json" in names and bool(pick_weights(names, True, allow_pickle=True))


def _check_weights(
    names: Sequence[str], adapter: bool, allow_pickle: bool, origin: str, key: str
) -> list[str]:
    weights = pick_weights(names, adapter, allow_pickle)
    if not weights:
        others = [n for n in names if is_weights(n)]
        raise EmodriftError(
            f"{key}: {origin} holds no *.safetensors file"
            + (" of an adapter" if adapter else "")
            + (f" (found {', '.join(others[:3])})" if others else "")
            + "; save it again with safe_serialization, or set compute.allow_pickle: true if you "
            "trust its author"
        )
    return weights


def _check_shards(path: Path, names: Sequence[str], key: str) -> None:
    for index in (n for n in names if n.endswith(".safetensors.index.json")):
        if index.removesuffix(".index.json") in names:
            continue
        shards = _read_json(path / index, key).get("weight_map", {}).values()
        missing = sorted({*shards} - {*names})
        if missing:
            raise EmodriftError(
                f"{key}: {path} lacks {missing[0]}"
                + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
                + f", which {index} names; copy the folder again"
            )


def _check_tokenizer(names: Sequence[str], origin: str, key: str) -> None:
    if not any(fnmatch.fnmatch(n, pattern) for n in names for pattern in TOKENIZER_FILES):
        raise EmodriftError(
            f"{key}: {origin} holds no tokenizer; copy the files of the tokenizer it was trained "
            "with into it (AutoTokenizer.from_pretrained(...).save_pretrained(...); the Trainer "
            "saves it when given processing_class)"
        )


def _read_json(path: Path, key: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise EmodriftError(f"{key}: {path} is not valid JSON ({error}); copy it again") from None
