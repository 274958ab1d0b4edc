"""Chat templates: where a folder keeps its own, and whether it writes prompts at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emodrift.checkpoints import rendering
from emodrift.checkpoints.files import read_object
from emodrift.config.measuring import Activations
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value
from emodrift.store.memory import FileDigests

if TYPE_CHECKING:
    from emodrift.checkpoints.checkpoint import Checkpoint

FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
LARGEST = 1_000_000
SECONDS = 60
PROBE = "Sample words by which a prompt is known"
CLOCKS = (-signal.SIGXCPU, -signal.SIGKILL)
HELP = (
    "borrow another template with activations.chat_template, or set activations.prompt_format to "
    "plain"
)


def find_template(folder: Path, key: str) -> str | None:
    """Chat template of a checkpoint's folder, or None.

    Raises
    ------
    EmodriftError
        A file that may hold it cannot be read.
    """
    plain, *tables = (folder / name for name in FILES)
    if plain.is_file():
        return read_text(plain, key)
    for table in tables:
        found = read_object(table, key).get("chat_template")
        if isinstance(found, list):
            named = {e.get("name"): e.get("template") for e in found if isinstance(e, dict)}
            found = named.get("default")
        if found and not isinstance(found, str):
            raise EmodriftError(f"{key}: chat_template of {table} is no text; {HELP}")
        if found:
            return found
    return None


def read_text(path: Path, key: str) -> str:
    """A template's file.

    Raises
    ------
    EmodriftError
        It is too long, not encoded as UTF-8, or cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise EmodriftError(f"{key}: {path} is too long for a chat template; {HELP}")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise EmodriftError(f"{key}: {path} is not encoded as UTF-8; save it as UTF-8") from None
    except OSError as error:
        raise EmodriftError(f"{key}: {path} cannot be read ({error.strerror})") from None


def check_templates(
    checkpoints: Iterable[Checkpoint], section: Activations, digests: FileDigests
) -> None:
    """Try the chat templates that checkpoints on this machine bring along, each once.

    Parameters
    ----------
    checkpoints
        Of a study.
    section
        Config: `activations`. A borrowed template, or plain prompts, leave them unused.
    digests
        Memory, where those that are in order are noted.

    Raises
    ------
    EmodriftError
        See :func:`check_template`.
    """
    if section.chat_template is not None or section.prompt_format == "plain":
        return
    for checkpoint in checkpoints:
        key = f"runs.{checkpoint.run}.checkpoints"
        folders = (checkpoint.location, checkpoint.location.get("base", {}))
        paths = (Path(place["path"]) for place in folders if "path" in place)
        found = ((path, find_template(path, key)) for path in paths)
        path, template = next(((p, t) for p, t in found if t), (None, None))
        if template:
            mark = digest_value([template, section.system_prompt, section.template_arguments])
            if not digests.is_noted(f"template {mark}"):
                check_template(template, f"{key}: the chat template of {path}", section)
                digests.note(f"template {mark}")


def check_template(template: str, what: str, section: Activations) -> None:
    """Refuse a chat template that cannot be read, does not come to an end, or drops the prompt.

    What it says against the messages is left to be seen with the tokenizer.

    Parameters
    ----------
    template
        Its text.
    what
        What to call it in errors, with the config key.
    section
        Config: `activations`.

    Raises
    ------
    EmodriftError
        It is one of these.
    """
    messages = [{"role": "user", "content": PROBE}]
    if section.system_prompt is not None:
        messages.insert(0, {"role": "system", "content": section.system_prompt})
    answer = _try_template(template, messages, section.template_arguments)
    if "syntax" in answer:
        raise EmodriftError(f"{what} is no valid template ({answer['syntax'][:150]}); {HELP}")
    if "limit" in answer:
        raise EmodriftError(f"{what} needs too much {answer['limit']} for one prompt; {HELP}")
    if PROBE not in answer.get("text", PROBE):
        raise EmodriftError(f"{what} does not write the prompt that it is given; {HELP}")


def _try_template(
    template: str, messages: list[dict[str, str]], arguments: Mapping[str, Any]
) -> dict[str, str]:
    if len(template) > LARGEST:
        return {"limit": "length"}
    own = {"messages", "add_generation_prompt", "bos_token", "eos_token"}
    question = {
        "template": template,
        "messages": messages,
        "arguments": {n: v for n, v in arguments.items() if n not in own},
    }
    try:
        done = subprocess.run(
            [sys.executable, "-I", rendering.__file__],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return {"limit": "time"}
    if done.returncode in CLOCKS:
        return {"limit": "time"}
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"limit": "memory"}
