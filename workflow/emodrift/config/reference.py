"""The config reference and JSON schema, generated from the config sections.

``python -m emodrift.config.reference`` (or ``make docs``) writes both; a test fails when they have
drifted from the sections.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from emodrift.config.study import Study

ROOT = Path(__file__).parents[3]
README = ROOT / "config" / "README.md"
SCHEMA = ROOT / "workflow" / "schemas" / "study.schema.json"
LONGEST_DEFAULT = 100
INTRODUCTION = """\
# Configuration

<!-- Made by `make docs` from workflow/emodrift/config/; do not edit. -->

A study is one YAML file: `config.yaml` is the default, `examples/` has others. Run another with
`make study STUDY=config/examples/pythia.yaml` or `snakemake --configfile FILE`. Unknown keys fail,
and errors name the key. Editors check against `workflow/schemas/study.schema.json`.
"""


def write_reference() -> None:
    """Write the config reference and the JSON schema."""
    README.write_text(render_reference(), encoding="utf-8")
    SCHEMA.parent.mkdir(parents=True, exist_ok=True)
    SCHEMA.write_text(render_schema(), encoding="utf-8")


def render_schema() -> str:
    """JSON schema of a study's config, for editors.

    It asks for no key: what is shipped and a config that is extended fill in what is left out.
    """
    return json.dumps(_ask_for_nothing(Study.model_json_schema()), indent=1) + "\n"


def _ask_for_nothing(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_ask_for_nothing(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _ask_for_nothing(value)
        for key, value in schema.items()
        if key != "required" or not isinstance(value, list)
    }


def render_reference() -> str:
    """Markdown of every section and key, in the order of the config."""
    chapters = [INTRODUCTION]
    for section in _list_sections(Study, []):
        chapters.append(_render_section(section))
    return "\n".join(chapters)


def _render_section(section: type[BaseModel]) -> str:
    lines = [
        f"## {section.__name__}",
        "",
        _first_paragraph(section.__doc__),
        "",
        "| key | values | default | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in section.model_fields.items():
        meaning = " ".join((field.description or _describe_target(field)).split())
        cells = (f"`{name}`", _describe_type(field.annotation), _describe_default(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _list_sections(section: type[BaseModel], seen: list[type[BaseModel]]) -> list[type[BaseModel]]:
    if section not in seen:
        seen.append(section)
        for field in section.model_fields.values():
            for target in _find_sections(field.annotation):
                _list_sections(target, seen)
    return seen


def _find_sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _find_sections(argument)


def _describe_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_describe_type(a) for a in arguments if a is not type(None))
    sections = list(dict.fromkeys(_find_sections(annotation)))
    if sections:
        links = " or ".join(f"[{s.__name__}](#{s.__name__.lower()})" for s in sections)
        return {dict: f"name → {links}", tuple: f"list of {links}"}.get(origin, links)
    if origin is typing.Annotated:
        return _describe_type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in arguments)
    if origin is tuple:
        return f"list of {_describe_type(arguments[0])}"
    if origin is dict:
        return f"name → {_describe_type(arguments[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "`true` or `false`"}
    return names.get(annotation, str(annotation))


def _describe_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel):
        return "its defaults"
    if value is None:
        return "none"
    if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        return f"`{json.dumps([v.model_dump(mode='json', exclude_defaults=True) for v in value])}`"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    if isinstance(value, str) and len(value) > LONGEST_DEFAULT:
        return f"`{value.splitlines()[0]}` …"
    return f"`{json.dumps(value)}`"


def _describe_target(field: FieldInfo) -> str:
    sections = list(_find_sections(field.annotation))
    return _first_paragraph(sections[0].__doc__) if sections else ""


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().partition("\n\n")[0].split())


if __name__ == "__main__":
    write_reference()
