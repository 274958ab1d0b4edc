"""Chat templates that a study borrows: from a file, a checkpoint's folder, or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emodrift.checkpoints.files import expand, is_folder, shorten
from emodrift.checkpoints.hub import find_revision
from emodrift.checkpoints.templates import FILES, check_template, find_template, read_text
from emodrift.config.measuring import Activations
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value
from emodrift.store.memory import Memory

KEY = "activations.chat_template"


def describe_chat(section: Activations, store: Path) -> dict[str, Any]:
    """How prompts go through a chat template: its text, system message and arguments.

    Parameters
    ----------
    section
        Config.
    store
        Root of the store, where what the hub answered is kept.

    Returns
    -------
    dict
        ``template`` (None: the checkpoint's own), ``system_prompt``, ``template_arguments``.

    Raises
    ------
    EmodriftError
        The template cannot be found, or is refused; see
        :func:`emodrift.checkpoints.templates.check_template`.
    """
    source = section.chat_template
    memory = Memory(store / "templates.json")
    template = None if source is None else _read_template(source, memory)
    others = section.model_dump(mode="json", include={"system_prompt", "template_arguments"})
    described = {"template": template, **others}
    mark = f"in order {digest_value(described)}"
    if template and section.prompt_format != "plain" and not memory.recall(mark):
        check_template(template, f"{KEY}: {shorten(source)}", section)
        memory.learn(mark, True)
        memory.save()
    return described


def _read_template(source: str, memory: Memory) -> str:
    place = expand(source, KEY)
    if place.is_file():
        return read_text(place, KEY)
    if is_folder(place):
        found = find_template(place, KEY)
    elif source.endswith(".jinja") or source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise EmodriftError(
            f"{KEY}: there is no file or folder {shorten(source)} (seen from {Path.cwd()}); give a "
            ".jinja file, a checkpoint's folder, or a hub repository as owner/name or "
            "owner/name@revision"
        )
    else:
        found = _ask_hub(source, memory)
    if found is None:
        raise EmodriftError(
            f"{KEY}: {source} has no chat template (looked into {', '.join(FILES)}); name a "
            "checkpoint that was trained to chat, or a .jinja file"
        )
    return found


def _ask_hub(source: str, memory: Memory) -> str | None:
    template = memory.recall(source)
    if not isinstance(template, str):
        from huggingface_hub import snapshot_download

        repo, _, revision = source.partition("@")
        commit = find_revision(repo, revision or "main", "", KEY, None)["commit"]
        folder = snapshot_download(repo, revision=commit, allow_patterns=list(FILES))
        template = find_template(Path(folder), KEY)
        memory.learn(source, template)
        memory.save()
    return template
