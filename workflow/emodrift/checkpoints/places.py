"""Places of checkpoints: what a directory or a hub revision holds, told without loading it.

A local checkpoint is identified by the content of its weight, tokenizer and config files, a hub
checkpoint by its commit.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emodrift.checkpoints.files import expand, is_folder, read_count, read_object, shorten
from emodrift.checkpoints.found import Found
from emodrift.checkpoints.gguf import SUFFIX, is_gguf, read_gguf
from emodrift.checkpoints.hub import find_revisions
from emodrift.checkpoints.templates import find_template
from emodrift.checkpoints.tensors import check_tensors, read_index
from emodrift.config.runs import CheckpointSource
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value
from emodrift.store.downloads import Download, is_weights, pick_weights
from emodrift.store.memory import FileDigests

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
IDENTITY = re.compile("|".join(map(fnmatch.translate, IDENTITY_FILES)))
TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")
PROMPT_ADAPTERS = ("PROMPT", "PREFIX", "P_TUNING", "CPT", "CARTRIDGE")
LARGEST_SIZE = 1_000_000
IN_ORDER = "files 1"
"""Mark of checkpoints that were checked; another number has them checked again."""
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
    names = list_names(path, key)
    as_adapter = _is_adapter(names, adapter)
    config = "adapter_config.json" if as_adapter else "config.json"
    if config not in names:
        also = "" if adapter is not None else " nor adapter_config.json with an adapter's weights"
        raise EmodriftError(
            f"{key}: {path} is no checkpoint (no {config}{also} in it); "
            "point at the folder that save_pretrained or the Trainer wrote"
        )
    weights = _check_weights(names, as_adapter, allow_pickle, str(path), key)
    _check_shards(path, names, key)
    if not as_adapter:
        _check_tokenizer(names, str(path), key)
    log = path / "trainer_state.json"
    state, settings = read_object(log, key), read_object(path / config, key)
    step = read_count(state, "global_step", log, key)
    digest = digests.digest_tree(path, [path / name for name in names if is_identity(name)])
    if not digests.is_noted(f"{IN_ORDER} {digest}"):
        check_checkpoint_files(path, names, weights, key)
        digests.note(f"{IN_ORDER} {digest}")
    return Found(
        location={"path": str(path)},
        digest=digest,
        shape={} if as_adapter else read_shape(settings, str(path), key),
        step=read_step(path.name) if step is None else step,
        tokens=read_count(state, "num_input_tokens_seen", log, key) or None,
        adapter=settings if as_adapter else None,
    )


def list_names(path: Path, key: str) -> list[str]:
    """Names of a checkpoint's files, sorted.

    Raises
    ------
    EmodriftError
        The folder cannot be read, or something that is no file has the name of one that counts.
    """
    try:
        with os.scandir(path) as listed:
            inside = sorted(listed, key=lambda entry: entry.name)
        odd = [p for p in inside if not p.is_file() and not p.is_dir() and is_identity(p.name)]
    except OSError as error:
        raise EmodriftError(f"{key}: {path} cannot be read ({error.strerror})") from None
    if odd:
        raise EmodriftError(
            f"{key}: {odd[0].path} is no regular file, or a link to none; put the file itself there"
        )
    return [p.name for p in inside if p.is_file()]


def is_identity(name: str) -> bool:
    """Whether a file of this name is part of a checkpoint's identity."""
    return name not in NOT_WEIGHTS and IDENTITY.match(name) is not None


def check_checkpoint_files(
    path: Path, names: Sequence[str], weights: Sequence[str], key: str
) -> None:
    """Read headers of weights and all small files of a checkpoint before anything is loaded.

    Weights that links bring from outside the folder are followed, as caches of the hub need it, and
    the log says so.

    Parameters
    ----------
    path
        The folder.
    names
        Its files.
    weights
        Those that a loader reads weights from.
    key
        Config key to name in errors.

    Raises
    ------
    EmodriftError
        A file is cut off, no JSON object, or does not hold what another says of it.
    """
    if all(name.endswith(".safetensors") for name in weights):
        check_tensors(path, weights, key)
    for name in names:
        if is_identity(name) and name.endswith(".json"):
            read_object(path / name, key)
    find_template(path, key)
    root = path.resolve()
    outside = [n for n in weights if root not in (path / n).resolve().parents]
    if outside:
        logging.warning(
            "%s: %s is a link to %s outside its folder, and is followed",
            key,
            path / outside[0],
            (path / outside[0]).resolve(),
        )


def read_shape(config: dict[str, Any], origin: str, key: str) -> dict[str, int]:
    """Residual width and number of blocks from a model's config."""
    config = config.get("text_config", config)
    if not isinstance(config, dict):
        raise EmodriftError(
            f"{key}: text_config of {origin} is {shorten(config)} where an object should be; copy "
            "its config.json again"
        )
    shape = {}
    for dim, names in SHAPE_KEYS.items():
        values = [v for n in names if type(v := config.get(n)) is int and 0 < v <= LARGEST_SIZE]
        if not values:
            raise EmodriftError(
                f"{key}: config.json of {origin} gives none of {', '.join(names)} as a number that "
                "can be; is it a decoder that transformers knows?"
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
    assert found.adapter is not None
    kind = str(found.adapter.get("peft_type", "LORA"))[:40]
    if found.adapter.get("megatron_config"):
        raise EmodriftError(
            f"{key}: the adapter {found.location} is one of Megatron, whose code would be run; "
            "convert it to a plain one"
        )
    if any(word in kind for word in PROMPT_ADAPTERS):
        raise EmodriftError(
            f"{key}: the adapter {found.location} is of type {kind}, which adds a prompt and "
            "cannot be merged into weights; only adapters of weights, such as LORA, can be measured"
        )
    under = read_model(
        source.base or _name_base(found, key),
        f"{key}: base {source.base!r} of an adapter" if source.base else f"{key}: base",
        digests,
        allow_pickle,
        revisions,
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
    place = expand(model, key)
    if is_folder(place) or is_gguf(place):
        return read_local(place, key, digests, allow_pickle, adapter=False)
    if place.suffix == SUFFIX:
        raise EmodriftError(f"{key}: there is no file {model} (seen from {Path.cwd()})")
    repo, _, revision = model.partition("@")
    revision = revision or "main"
    (answer,) = find_revisions(repo, [(revision, "")], key, revisions)
    return read_hub(repo, revision, "", answer, key, allow_pickle, adapter=False)


def _name_base(found: Found, key: str) -> str:
    assert found.adapter is not None
    name, revision = (found.adapter.get(k) for k in ("base_model_name_or_path", "revision"))
    if not name:
        raise EmodriftError(f"{key}: the adapter {found.location} names no base; set `base`")
    if not isinstance(name, str) or not isinstance(revision, str | None):
        raise EmodriftError(
            f"{key}: the adapter {found.location} names its base as {shorten(name)}, revision "
            f"{shorten(revision)}, which are no texts; set `base`"
        )
    here = is_folder(Path(name)) or is_gguf(Path(name))
    return f"{name}@{revision}" if revision and not here else name


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
        missing = sorted({*read_index(path / index, key).values()} - {*names})
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
