"""Digests of values, files, directories and library code: what content keys are made of."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]
LIBRARY = Path(__file__).parents[2]
BOOKKEEPING = (f"{PACKAGE}.store", f"{PACKAGE}.errors")
KEY_LENGTH = 20


def digest_bytes(data: bytes) -> str:
    """Hex digest of a byte string (BLAKE2b, 160 bit)."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def digest_value(value: Any) -> str:
    """Digest of a JSON-able value; mappings are ordered by key, sequences keep their order."""
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def make_key(**parts: Any) -> str:
    """Content key of a store entry: the digest of everything that determines its content."""
    return digest_value(parts)[:KEY_LENGTH]


def digest_file(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


@functools.cache
def digest_code(script: Path, *modules: str) -> str:
    """Digest of a stage's code: its adapter and every library module it leads to.

    Comments, docstrings and formatting do not count. Imports of this package are followed
    transitively, the store excepted: it decides where results lie, not what they are.

    Parameters
    ----------
    script
        The stage's adapter, ``workflow/scripts/<stage>.py``.
    modules
        Modules that the adapter loads by name.

    Returns
    -------
    str
        Hex digest.
    """
    seen: dict[str, str] = {}
    waiting = [*modules, *_imports_of(_parse(script))]
    while waiting:
        module = waiting.pop()
        source = _find_source(module)
        if module in seen or source is None or module.startswith(BOOKKEEPING):
            continue
        tree, imports = _read_module(source)
        seen[module] = tree
        waiting.extend(imports)
    return digest_value({"adapter": _dump(_parse(script)), "modules": seen})


@functools.cache
def _read_module(source: Path) -> tuple[str, tuple[str, ...]]:
    tree = _parse(source)
    return digest_bytes(_dump(tree).encode()), tuple(_imports_of(tree))


def _parse(source: Path) -> ast.Module:
    return ast.parse(source.read_text(), filename=str(source))


def _dump(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


def _imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.partition(".")[0] == PACKAGE)


def _find_source(module: str) -> Path | None:
    place = LIBRARY.joinpath(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
