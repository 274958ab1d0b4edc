"""Files of a checkpoint's folder, read with care: they are somebody else's, and may be anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emodrift.errors import EmodriftError

LARGEST_JSON = 1 << 30


def expand(place: str, key: str) -> Path:
    """A path of the config, with ``~`` filled in.

    Raises
    ------
    EmodriftError
        It is no path, or names the home of somebody who has none here.
    """
    if "\0" in place:
        raise EmodriftError(f"{key}: {shorten(place)} is no path; it holds a zero byte")
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise EmodriftError(
            f"{key}: {shorten(place)} begins with a home that is not on this machine; write the "
            "path out"
        ) from None


def is_folder(path: Path) -> bool:
    """Whether a directory lies at a path; a path that no file system takes is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def shorten(value: Any, length: int = 80) -> str:
    """A value as it may stand in an error: printable, and not long."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 2]}…'"


def read_object(path: Path, key: str) -> dict[str, Any]:
    """A file's JSON object; an empty one where there is no file.

    Parameters
    ----------
    path
        The file.
    key
        Config key to name in errors.

    Raises
    ------
    EmodriftError
        It is no regular file, cannot be read, or holds anything but a JSON object.
    """
    if not path.exists():
        return {}
    if not path.is_file():
        raise EmodriftError(f"{key}: {path} is no regular file; put the file itself there")
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError("it is larger than 1 GB")
        value = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        problem = "is not encoded as UTF-8"
    except RecursionError:
        problem = "is nested too deeply"
    except ValueError as error:
        problem = f"is not valid JSON ({str(error)[:100]})"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    else:
        if isinstance(value, dict):
            return value
        problem = f"holds {_name_kind(value)} where a JSON object should be"
    raise EmodriftError(f"{key}: {path} {problem}; copy it again")


def read_count(values: dict[str, Any], name: str, path: Path, key: str) -> int | None:
    """A whole number of a JSON object; None where it is not given.

    Raises
    ------
    EmodriftError
        It is something else.
    """
    value = values.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise EmodriftError(
        f"{key}: {name} of {path} is {shorten(value)}, which is no whole number; mend the file, or "
        "remove it and give `step`"
    )


def _name_kind(value: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
