"""Stages over all checkpoints, found where their modules declare them."""

from __future__ import annotations

import ast
import functools
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from emodrift.errors import EmodriftError
from emodrift.stage import OPTIONAL, Stage

LIBRARY = Path(__file__).parents[1]
NAME = "STAGE"


@functools.cache
def list_stages() -> dict[str, Stage]:
    """Module -> the stage that it declares, each after those that it reads.

    Raises
    ------
    EmodriftError
        Two modules declare one stage, or stages read each other in a circle.
    """
    declared: dict[str, tuple[str, Stage]] = {}
    for path in sorted(LIBRARY.glob("*/*.py")):
        text = path.read_text(encoding="utf-8")
        if f"\n{NAME} = " not in text:
            continue
        module = f"{LIBRARY.name}.{path.parent.name}.{path.stem}"
        stage = read_declaration(text, module)
        if stage.name in declared:
            raise EmodriftError(
                f"{module} and {declared[stage.name][0]} both declare stage {stage.name!r}; "
                "rename one"
            )
        declared[stage.name] = module, stage
    read = {
        name: [s for source in stage.reads.values() if (s := name_entry(source)) in declared]
        for name, (_, stage) in declared.items()
    }
    try:
        order = list(TopologicalSorter(read).static_order())
    except CycleError as error:
        raise EmodriftError(f"stages read each other: {' -> '.join(error.args[1])}") from None
    return dict(declared[name] for name in order)


def name_entry(source: str | Sequence[str]) -> str | None:
    """Name of an entry that a stage reads, whether or not it can do without; None of readings."""
    return source.removesuffix(OPTIONAL) if isinstance(source, str) else None


def read_declaration(text: str, module: str) -> Stage:
    """The stage that a module's source declares.

    Raises
    ------
    EmodriftError
        The declaration is no call of ``Stage`` with literal arguments.
    """
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == NAME:
            call = statement.value
            try:
                assert isinstance(call, ast.Call)
                given = [ast.literal_eval(argument) for argument in call.args]
                named = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
                return Stage(*given, **named)
            except (AssertionError, ValueError, TypeError):
                break
    raise EmodriftError(
        f"{module}: {NAME} must be a call of Stage whose arguments are literals; the plan reads it "
        "without importing the module"
    )
