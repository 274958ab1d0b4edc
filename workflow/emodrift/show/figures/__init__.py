"""The figures, one module each: what it reads, how it is drawn, what its caption says.

A module declares as literals ``READS``, stage -> names of the tables it draws (a stage that ends in
``?`` is left out where a study has it not), and ``CHAPTER``, the chapter of the report it belongs
to, and has ``draw(tables, scene)``. Nothing else lists figures: the plan, the report and the
publication take them from here.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from emodrift.stage import OPTIONAL

CHAPTERS = ("warning", "evals", "direction", "use", "effect", "robustness")
Result = TypeVar("Result")


class Declaration(NamedTuple):
    """Stage -> tables that a figure draws, and its chapter in the report."""

    reads: Mapping[str, Sequence[str]]
    chapter: str

    @property
    def needed(self) -> set[str]:
        """Stages without which the figure is not drawn."""
        return {stage for stage in self.reads if not stage.endswith(OPTIONAL)}

    def pick(self, results: Mapping[str, Result]) -> dict[str, Result]:
        """Of a study's results by stage, those that the figure draws."""
        wanted = [stage.removesuffix(OPTIONAL) for stage in self.reads]
        return {stage: results[stage] for stage in wanted if stage in results}


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
