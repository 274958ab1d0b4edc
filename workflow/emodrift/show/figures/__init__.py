"""The figures, one module each: what it reads, how it is drawn, what its caption says.

A module declares as literals ``READS``, stage -> names of the tables it draws, and ``CHAPTER``, the
chapter of the report it belongs to, and has ``draw(tables, scene)``. Nothing else lists figures:
the plan, the report and the publication take them from here.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CHAPTERS = ("warning", "direction", "use", "effect", "robustness")


class Declaration(NamedTuple):
    """Stage -> tables that a figure draws, and its chapter in the report."""

    reads: Mapping[str, Sequence[str]]
    chapter: str


@functools.cache
def list_figures() -> dict[str, Declaration]:
    """Name -> declaration of every figure, in the order of the report's chapters.

    The modules are read, not imported: a plan needs to know them, and should not have to wait for
    a drawing library.

    Examples
    --------
    >>> list_figures()["layer_map"].chapter
    'direction'
    """
    found = {path.stem: _read_module(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
    known = {name: declared for name, declared in found.items() if declared}
    return dict(sorted(known.items(), key=lambda item: CHAPTERS.index(item[1].chapter)))


def _read_module(path: Path) -> Declaration | None:
    literals = {
        node.targets[0].id: node.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if not {"READS", "CHAPTER"} <= set(literals):
        return None
    return Declaration(*(ast.literal_eval(literals[name]) for name in ("READS", "CHAPTER")))
