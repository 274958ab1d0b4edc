"""Checkpoints: where they are, which step they stand for, and what identifies them.

A local checkpoint is identified by the content of its weight, tokenizer and config files, a hub
checkpoint by its commit. Names, paths and steps are labels: two names for the same weights share
every result.
"""

from __future__ import annotations

import glob
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError
from emodrift.store.digest import FileDigests, digest_value
from emodrift.study.config import CheckpointSource, Run
from emodrift.study.hub import find_revision

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
NOT_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin")
SHAPE_KEYS = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
}


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run.

    Parameters
    ----------
    run, step, stage, tokens
        Labels: the run's name, training step, training stage, training tokens seen (or None).
    location
        What a loader needs: ``{"path"}`` or ``{"repo", "commit", "subfolder"}``, and for adapters
        ``"base"``; with ``"initialise"``, a seed, random weights in its shape.
    digest
        Identity: content digest, or the hub's commit.
    hidden, layers
        Residual width and number of blocks, from its config.
    """

    run: str
    step: int
    stage: str
    tokens: int | None
    location: dict[str, Any]
    digest: str
    hidden: int
    layers: int

    @property
    def label(self) -> str:
        """Human name, such as ``"healthy step 160"``."""
        return f"{self.run} step {self.step}"


@dataclass(frozen=True)
class Found:
    """A checkpoint on disk or hub before it has a place in a run."""

    location: dict[str, str]
    digest: str
    shape: dict[str, int]
    step: int | None
    tokens: int | None


def list_checkpoints(
    name: str,
    run: Run,
    digests: FileDigests,
    *,
    allow_pickle: bool = False,
    organisms: dict[str, Path] | None = None,
    revisions: Path | None = None,
) -> list[Checkpoint]:
    """Checkpoints of a run in training order.

    Parameters
    ----------
    name, run
        The run and its config section.
    digests
        Memory of file digests.
    allow_pickle
        Accept checkpoints without safetensors files.
    organisms
        Embedded run -> directory that holds its ``checkpoint-*`` folders.
    revisions
        Memory of resolved hub revisions.

    Raises
    ------
    EmodriftError
        No directory matches, a directory is no checkpoint, a step is unknown or comes twice.
    """
    key = f"runs.{name}.checkpoints"
    listed: list[Checkpoint] = []
    for source in run.checkpoints:
        found = _find(source, key, digests, allow_pickle, organisms or {}, revisions)
        for place in found:
            step = place.step
            if step is None:
                if len(found) > 1:
                    raise EmodriftError(
                        f"{key}: cannot tell the step of {place.location}; name folders like "
                        "checkpoint-100, keep trainer_state.json, or list each with `step:`"
                    )
                step = len(listed)
            listed.append(
                Checkpoint(
                    run=name,
                    step=step,
                    stage=source.stage or run.stage or name,
                    tokens=place.tokens if source.tokens is None else source.tokens,
                    location=place.location,
                    digest=place.digest,
                    hidden=place.shape["hidden"],
                    layers=place.shape["layers"],
                )
            )
    _refuse_twins(key, listed)
    return listed


def check_shapes(checkpoints: list[Checkpoint]) -> None:
    """Refuse a study whose checkpoints differ in width or depth: their vectors do not compare."""
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if (other.hidden, other.layers) != (first.hidden, first.layers):
            raise EmodriftError(
                f"runs mix models: {first.label} has hidden size {first.hidden} and "
                f"{first.layers} layers, {other.label} has {other.hidden} and {other.layers}; "
                "put models of different shape in studies of their own"
            )


def find_reference(checkpoints: list[Checkpoint], run: str, step: int) -> Checkpoint:
    """The reference among the checkpoints."""
    of_run = [c for c in checkpoints if c.run == run]
    for checkpoint in of_run:
        if checkpoint.step == step:
            return checkpoint
    raise EmodriftError(
        f"reference.step {step} is not a checkpoint of run {run!r}, which has steps "
        f"{', '.join(str(c.step) for c in of_run)}"
    )


def find_last_checkpoint(folder: Path) -> Path:
    """Trainer checkpoint directory of the highest step in a folder."""
    return max(folder.glob("checkpoint-*"), key=lambda path: _read_step(path.name))


def read_local(path: Path, key: str, digests: FileDigests, allow_pickle: bool) -> Found:
    """Read what a local checkpoint directory is, without loading it.

    Parameters
    ----------
    path
        The directory.
    key
        Config key to name in errors.
    digests
        Memory of file digests.
    allow_pickle
        Accept ``*.bin`` weights.
    """
    adapter = path / "adapter_config.json"
    if not (path / "config.json").is_file() and not adapter.is_file():
        raise EmodriftError(
            f"{key}: {path} is no checkpoint (neither config.json nor adapter_config.json in it); "
            "point at the folder that save_pretrained or the Trainer wrote"
        )
    if not any(path.glob("*.safetensors")) and not allow_pickle:
        others = sorted(p.name for p in path.glob("*.bin"))
        raise EmodriftError(
            f"{key}: {path} holds no *.safetensors file"
            + (f" (found {', '.join(others)})" if others else "")
            + "; save it again with safe_serialization, or set compute.allow_pickle: true if you "
            "trust its author"
        )
    files = sorted(
        {f for pattern in IDENTITY_FILES for f in path.glob(pattern) if f.name not in NOT_WEIGHTS}
    )
    state = _read_json(path / "trainer_state.json", key)
    return Found(
        location={"path": str(path)},
        digest=digests.digest_tree(path, files),
        shape=read_shape(_read_json(path / "config.json", key), str(path), key)
        if not adapter.is_file()
        else {},
        step=state.get("global_step", _read_step(path.name)),
        tokens=state.get("num_input_tokens_seen") or None,
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


def _find(
    source: CheckpointSource,
    key: str,
    digests: FileDigests,
    allow_pickle: bool,
    organisms: dict[str, Path],
    revisions: Path | None,
) -> list[Found]:
    if source.repo:
        found = _find_on_hub(source, key, revisions)
    else:
        pattern = source.path or str(organisms[source.organism] / "checkpoint-*")
        paths = sorted(Path(p) for p in glob.glob(str(Path(pattern).expanduser())))
        paths = [p for p in paths if p.is_dir()]
        if not paths:
            raise EmodriftError(
                f"{key}: no directory matches {pattern!r} (seen from {Path.cwd()}); "
                "check the path, or train the run first"
            )
        found = [read_local(p, key, digests, allow_pickle) for p in paths]
        found.sort(key=lambda f: (f.step is None, f.step, f.location["path"]))
    if source.step is not None:
        if len(found) != 1:
            raise EmodriftError(f"{key}: `step` is given for a pattern of {len(found)} checkpoints")
        found = [_replace_step(found[0], source.step)]
    return [_add_base(f, source, key, digests, allow_pickle, revisions) for f in found]


def _find_on_hub(source: CheckpointSource, key: str, revisions: Path | None) -> list[Found]:
    counts = source.token_counts or (None,) * len(source.steps)
    places = list(zip(source.steps, counts, strict=True)) or [(None, None)]
    found = []
    for step, count in places:
        fill = {"step": step, "tokens": count}
        revision = source.revision.format(**fill)
        subfolder = source.subfolder.format(**fill)
        known = find_revision(source.repo, revision, subfolder, key, revisions)
        location = {"repo": source.repo, "commit": known["commit"], "subfolder": subfolder}
        found.append(
            Found(
                location=location,
                digest=digest_value(location),
                shape={} if source.adapter else read_shape(known["config"], source.repo, key),
                step=step,
                tokens=None,
            )
        )
    return found


def _add_base(
    found: Found,
    source: CheckpointSource,
    key: str,
    digests: FileDigests,
    allow_pickle: bool,
    revisions: Path | None,
) -> Found:
    is_adapter = source.adapter or not found.shape
    if not is_adapter:
        return found
    base = source.base or _read_base_name(found, key)
    if Path(base).expanduser().is_dir():
        under = read_local(Path(base).expanduser(), key, digests, allow_pickle)
        location = under.location["path"]
    else:
        repo, _, revision = base.partition("@")
        known = find_revision(repo, revision or "main", "", key, revisions)
        location = f"{repo}@{known['commit']}"
        under = Found(
            {}, digest_value(location), read_shape(known["config"], repo, key), None, None
        )
    return Found(
        location={**found.location, "base": location},
        digest=digest_value([found.digest, under.digest]),
        shape=under.shape,
        step=found.step,
        tokens=found.tokens,
    )


def _read_base_name(found: Found, key: str) -> str:
    path = found.location.get("path")
    name = (
        _read_json(Path(path) / "adapter_config.json", key).get("base_model_name_or_path")
        if path
        else None
    )
    if not name:
        raise EmodriftError(f"{key}: the adapter {found.location} names no base; set `base`")
    return name


def _replace_step(found: Found, step: int) -> Found:
    return Found(found.location, found.digest, found.shape, step, found.tokens)


def _read_json(path: Path, key: str) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise EmodriftError(f"{key}: {path} is not valid JSON ({error}); copy it again") from None


def _read_step(name: str) -> int | None:
    digits = re.search(r"(\d+)$", name)
    return int(digits.group(1)) if digits else None


def _refuse_twins(key: str, checkpoints: list[Checkpoint]) -> None:
    seen: dict[tuple[str, int], Checkpoint] = {}
    for checkpoint in checkpoints:
        twin = seen.setdefault((checkpoint.stage, checkpoint.step), checkpoint)
        if twin is not checkpoint:
            raise EmodriftError(
                f"{key}: step {checkpoint.step} comes twice, as {twin.location} and "
                f"{checkpoint.location}; drop one, or give them different `stage` or `step`"
            )
