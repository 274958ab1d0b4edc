"""Reading a study's config: what is shipped filled in, errors in one line that names the key."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from emodrift.config.study import Study
from emodrift.config.texts import Rating
from emodrift.config.variants import find_fixed, list_varied, merge_changes
from emodrift.errors import EmodriftError

RESOURCES = Path(__file__).parents[3] / "resources"
SHOWN, LONGEST, LONGEST_KEY = 3, 320, 80
"""Problems that one error names, their letters together, and those of a key."""


def read_study(path: Path) -> Study:
    """Read and check a study config.

    Raises
    ------
    EmodriftError
        One line that names the file, the key and what is wrong with it.

    Examples
    --------
    >>> study = read_study(Path("config/mine.yaml"))
    >>> study.name, study.reference.step
    ('mine', 0)
    """
    if not path.is_file():
        raise EmodriftError(f"config file {path} does not exist; pass --configfile PATH")
    return parse_study(_read_values(path), str(path))


def parse_study(values: Any, origin: str = "config") -> Study:
    """Check a study config given as plain values; see :func:`read_study`."""
    try:
        values = add_shipped(extend_base(values, origin))
        study = Study.model_validate(values)
    except ValidationError as error:
        raise EmodriftError(f"{origin}: {_explain(error, values)}") from None
    except RecursionError:
        raise EmodriftError(f"{origin}: is nested too deeply for a config") from None
    make_variants(study, f"{origin}: ")
    return study


def extend_base(values: Any, origin: str, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A config laid over the one that it extends, if it names one.

    Parameters
    ----------
    values
        As the file holds them.
    origin
        What errors begin with, such as the config file.
    above
        Files on the way here.

    Raises
    ------
    EmodriftError
        One of them is no config, or not there, or extends itself.
    """
    if not isinstance(values, dict):
        raise EmodriftError(f"{origin} is empty or not a mapping; see config/README.md")
    own = {key: value for key, value in values.items() if key != "extends"}
    named = values.get("extends")
    if named is None:
        return own
    key = f"{origin}: extends"
    path = Path(named) if isinstance(named, str) else None
    try:
        if path is None or not path.is_file():
            found = shorten_text(repr(named), LONGEST_KEY)
            raise EmodriftError(
                f"{key}: {found} is no file; name one config, as seen from the folder in which the "
                "command is called"
            )
    except OSError as error:
        raise EmodriftError(f"{key}: cannot be looked for ({error.strerror})") from None
    if path.resolve() in above:
        raise EmodriftError(f"{key}: {path} extends itself; remove the key in one of them")
    base = extend_base(_read_values(path), str(path), (*above, path.resolve()))
    return merge_changes(base, own)


def make_variants(study: Study, origin: str = "") -> dict[str, Study]:
    """The variants that `sensitivity` names, each a whole study of its own.

    Parameters
    ----------
    study
        The study.
    origin
        What errors begin with, such as the config file.

    Raises
    ------
    EmodriftError
        A variant changes what may not be changed, or is no valid study.
    """
    named = study.sensitivity.variants if study.sensitivity else {}
    own = study.model_dump(exclude={"sensitivity"})
    variants = {}
    for name, changes in named.items():
        key = f"{origin}sensitivity.variants.{name}"
        fixed = find_fixed(changes)
        if fixed or not changes:
            found = f"{key}.{fixed}: cannot be varied" if fixed else f"{key}: changes nothing"
            raise EmodriftError(f"{found}; a variant changes keys of {list_varied()}")
        changed = merge_changes(own, changes)
        try:
            variants[name] = Study.model_validate(changed)
        except ValidationError as error:
            raise EmodriftError(_explain(error, changed, f"{key}.")) from None
    return variants


def add_shipped(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in the shipped emotions, bundles, ratings and metrics where a config names none."""
    contrasts, behaviours = (values.get(name) or {} for name in ("contrasts", "behaviours"))
    if not isinstance(contrasts, dict) or not isinstance(behaviours, dict):
        return values  # validation says so
    contrasts, behaviours = dict(contrasts), dict(behaviours)
    if not {"emotions", "bundles", "ratings"} <= set(contrasts):
        taxonomy = _read_shipped("emotions.yaml")
        core = {name: word for name, word in taxonomy["emotions"].items() if word["core"]}
        emotions = _list_names(contrasts.setdefault("emotions", list(core)))
        known = {e: word for e, word in taxonomy["emotions"].items() if e in emotions}
        grouped: dict[str, list[str]] = {}
        for name in emotions:
            if name in core:
                grouped.setdefault(core[name]["bundle"], []).append(name)
        contrasts.setdefault("bundles", grouped)
        ratings = {e: {k: word[k] for k in Rating.model_fields} for e, word in known.items()}
        contrasts.setdefault("ratings", ratings)
    if "metrics" not in behaviours:
        bundles = contrasts["bundles"] if isinstance(contrasts["bundles"], dict) else {}
        behaviours["metrics"] = {
            name: metric | {"bundles": [b for b in metric["bundles"] if b in bundles]}
            for name, metric in _read_shipped("behaviours/metrics.yaml").items()
        }
    return {**values, "contrasts": contrasts, "behaviours": behaviours}


def _read_values(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise EmodriftError(f"{path} is not valid YAML: {shorten_text(str(error))}") from None
    except RecursionError:
        raise EmodriftError(f"{path} is nested too deeply for a config") from None
    except OSError as error:
        raise EmodriftError(f"{path} cannot be read ({error.strerror})") from None


@functools.cache
def _read_shipped(name: str) -> dict[str, Any]:
    return yaml.safe_load((RESOURCES / name).read_text(encoding="utf-8"))


def _list_names(value: Any) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _explain(error: ValidationError, values: Any, prefix: str = "") -> str:
    found: dict[tuple[Any, ...], list[str]] = {}
    for problem in error.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown key; remove it or see config/README.md for the keys there are"
        elif problem["type"] == "missing":
            message = "missing; add it (config/README.md says what it means)"
        place = _find_place(problem["loc"], values, problem["type"] == "missing")
        found.setdefault(place, []).append(message)
    lines = []
    for place, messages in found.items():
        if any(place == other[: len(place)] != other for other in found):
            continue  # the value is of another of the kinds that may stand there
        key = prefix + shorten_text(".".join(map(str, place)) or "study", LONGEST_KEY)
        lines.append(f"{key}: {shorten_text(', or: '.join(messages))}")
    shown = lines[:SHOWN]
    while len(shown) > 1 and sum(map(len, shown)) > LONGEST:
        shown.pop()
    rest = len(lines) - len(shown)
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")


def _find_place(loc: tuple[Any, ...], values: Any, missing: bool) -> tuple[int | str, ...]:
    """Keys of a config that lead to a problem, without the kinds of value that pydantic names."""
    place: list[int | str] = []
    for number, part in enumerate(loc):
        item = isinstance(values, list | tuple) and isinstance(part, int)
        if item or (isinstance(values, dict) and part in values):
            place.append(part)
            values = values[part]
        elif number == len(loc) - 1 and (missing or part == "[key]"):
            place.append(part)
    return tuple(place)


def shorten_text(text: str, length: int = 220) -> str:
    """A text on one line, cut where it would leave no room for others."""
    clean = " ".join(text.split())
    return clean if len(clean) <= length else f"{clean[: length - 1]}…"
