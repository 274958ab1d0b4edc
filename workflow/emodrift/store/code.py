"""The code that a key rests on: the definitions that a stage reaches, and nothing beside them.

From an adapter or a function, names are followed through the library, definition by definition: a
function that is never called, another constant of the same module, an importer beside a reader play
no part. What cannot change a result is left out of a definition too: comments, docstrings and
strings that stand alone; annotations (those of validated sections apart); what is logged; the words
of an error; and checks, which are called ``check_…`` or ``refuse_…`` and whose outcome nothing
uses. Definitions that were edited and give what they gave before are listed in
:mod:`emodrift.store.same`.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emodrift.store.digest import digest_bytes, digest_value
from emodrift.store.memory import Memory
from emodrift.store.same import SAME

PACKAGE = __name__.partition(".")[0]
LIBRARY = Path(__file__).parents[2]
BOOKKEEPING = (f"{PACKAGE}.store", f"{PACKAGE}.errors")
"""Modules that decide where results lie and what is said of them, not what they are."""
CHECKS = ("check_", "_check_", "refuse_", "_refuse_")
WHOLE, LOOSE = "*", ""
"""All of a module; its statements that define nothing."""
UNVALIDATED = ("NamedTuple", "dataclass")
"""Bases and decorators of classes whose annotations nothing reads."""


@dataclass(frozen=True)
class Source:
    """A module, taken apart.

    Parameters
    ----------
    imported
        Local name -> (module, name in it), or (module, ``WHOLE``) where the module is meant.
    defined
        Name -> the statements at the top level that bind it.
    loose
        Other statements at the top level, which run whatever is used.
    """

    imported: dict[str, tuple[str, str]]
    defined: dict[str, list[ast.stmt]]
    loose: list[ast.stmt]


@functools.cache
def digest_code(*roots: str) -> str:
    """Digest of the code that roots reach.

    Parameters
    ----------
    roots
        ``module``, all that it defines; ``module:name``, one definition; or the path of an adapter.

    Returns
    -------
    str
        Hex digest.
    """
    names = "|".join([*sorted(_name(root) for root in roots), *map(str, SAME.items())])
    memory = _open_memory()
    match memory.recall(names):
        case {"files": dict(known), "digest": str(digest)} if _stamp(known) == known:
            return digest
    reached = _follow(roots)
    digest = digest_value(reached)
    modules = {root.partition(":")[0] for root in roots}
    modules |= {place.partition(":")[0] for place in reached if ".py:" not in place}
    files = {os.path.relpath(str(_find_file(module)), LIBRARY) for module in modules}
    memory.learn(names, {"files": _stamp(sorted(files)), "digest": digest})
    memory.save()
    return digest


@functools.cache
def _open_memory() -> Memory:
    """What is remembered of digests, beside the compiled library if that is not read-only."""
    folder = LIBRARY / PACKAGE / "__pycache__"
    writable = os.access(folder if folder.is_dir() else folder.parent, os.W_OK)
    return Memory(folder / "code_digests.json" if writable else None)


def _stamp(files: Iterable[str]) -> dict[str, list[int]]:
    """Size, time and inode of files, named as seen from the library; none of one that is gone."""
    stamps: dict[str, list[int]] = {}
    for file in files:
        with contextlib.suppress(OSError):
            state = (LIBRARY / file).stat()
            stamps[file] = [state.st_size, state.st_mtime_ns, state.st_ino]
    return stamps


def list_modules(*roots: str) -> list[str]:
    """Modules of the library that roots reach, in order; see :func:`digest_code`."""
    reached = {place.partition(":")[0] for place in _follow(roots)}
    return sorted(name for name in reached if name.partition(".")[0] == PACKAGE)


def clear_memory() -> None:
    """Forget what was read, for files that changed since."""
    for known in (digest_code, _open_memory, _read_source, _digest_definition, _find_file):
        known.cache_clear()


def _follow(roots: Iterable[str]) -> dict[str, str]:
    """Digest of every definition that roots reach, by ``module:name``."""
    seen: dict[str, str] = {}
    waiting = [_open_root(root) for root in roots]
    while waiting:
        module, name = waiting.pop()
        place = f"{_name(module)}:{name}"
        if place in seen or module.startswith(BOOKKEEPING) or _find_file(module) is None:
            continue
        source = _read_source(module)
        if name == WHOLE:
            waiting.extend((module, each) for each in (*source.defined, LOOSE))
        elif name != LOOSE and name not in source.defined:
            waiting.append(source.imported.get(name, (f"{module}.{name}", WHOLE)))
        else:
            seen[place], reached = _digest_definition(module, name)
            waiting.extend([*reached, (module, LOOSE)] if source.loose else reached)
    return seen


def _open_root(root: str) -> tuple[str, str]:
    module, _, name = root.partition(":")
    return module, name or WHOLE


def _name(module: str) -> str:
    """A module's name; an adapter's, wherever the project lies."""
    return Path(module).name if module.endswith(".py") else module


def digest_definition(place: str) -> str:
    """Digest of one definition, ``module:name``, as it stands."""
    return _digest_statements(_strip(*_open_root(place)))


@functools.cache
def _digest_definition(module: str, name: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Digest of a definition, or of a module's loose statements, and what it reaches."""
    source, stripped = _read_source(module), _strip(module, name)
    digest = _digest_statements(stripped)
    reached = [place for tree in stripped for place in _list_reached(tree, module, source)]
    return SAME.get((f"{_name(module)}:{name}", digest), digest), tuple(dict.fromkeys(reached))


def _strip(module: str, name: str) -> list[ast.stmt]:
    """Statements of a definition without what cannot change a result."""
    source = _read_source(module)
    statements = source.loose if name == LOOSE else source.defined[name]
    return [_Stripper().visit(statement) for statement in statements]


def _digest_statements(stripped: Iterable[ast.stmt]) -> str:
    return digest_bytes("".join(map(ast.dump, stripped)).encode())


def _list_reached(tree: ast.AST, module: str, source: Source) -> Iterator[tuple[str, str]]:
    """(module, name) of every definition of the library that a tree names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from (place for _, place in _list_imports(node))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            place = source.imported.get(node.value.id)
            if place and _is_module(place):
                yield _join(place), node.attr
        elif isinstance(node, ast.Name):
            if node.id in source.defined:
                yield module, node.id
            elif (place := source.imported.get(node.id)) and not _is_module(place):
                yield place


def _is_module(place: tuple[str, str]) -> bool:
    return _find_file(_join(place)) is not None


def _join(place: tuple[str, str]) -> str:
    return ".".join(part for part in place if part not in (WHOLE, LOOSE))


@functools.cache
def _read_source(module: str) -> Source:
    file = _find_file(module)
    assert file is not None
    imported: dict[str, tuple[str, str]] = {}
    defined: dict[str, list[ast.stmt]] = {}
    loose: list[ast.stmt] = []
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            imported |= dict(_list_imports(statement))
        elif names := list(_list_bound(statement)):
            for name in names:
                defined.setdefault(name, []).append(statement)
        elif not (_says_nothing(statement) or _is_for_others(statement)):
            loose.append(statement)
    return Source(imported, defined, loose)


def _is_for_others(statement: ast.stmt) -> bool:
    """Whether a statement runs for type checkers, or from the command line, alone."""
    test = ast.unparse(statement.test) if isinstance(statement, ast.If) else ""
    return test == "TYPE_CHECKING" or test.startswith("__name__ ==")


def _list_bound(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement at the top level defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            for target in targets:
                yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.AugAssign(target=ast.Name(id=name)):
            yield name


def _list_imports(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, str]]]:
    """Local name and place of what a statement imports of this package."""
    if isinstance(node, ast.ImportFrom):
        if node.module and node.module.partition(".")[0] == PACKAGE:
            for alias in node.names:
                yield alias.asname or alias.name, (node.module, alias.name)
        return
    for alias in node.names:
        if alias.name.partition(".")[0] == PACKAGE:
            yield alias.asname or alias.name, (alias.name, WHOLE)


class _Stripper(ast.NodeTransformer):
    """Takes out of a statement what cannot change a result."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        marks = [ast.unparse(m).partition("(")[0] for m in (*node.bases, *node.decorator_list)]
        read = not any(mark.rpartition(".")[2] in UNVALIDATED for mark in marks)
        fields = [s for s in node.body if isinstance(s, ast.AnnAssign)]
        annotations = [_unquote(field.annotation) for field in fields]
        self.generic_visit(node)
        for field, annotation in zip(fields, annotations, strict=True):
            field.annotation = annotation if read else field.annotation
        node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _says_nothing(node) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        if not node.body and not node.orelse:
            return None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        node.cause = None
        return node


def _unquote(annotation: ast.expr) -> ast.expr:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ast.parse(annotation.value, mode="eval").body
    return annotation


def _says_nothing(statement: ast.stmt) -> bool:
    """Whether a statement is a string, a log line or a check that stands alone."""
    if not isinstance(statement, ast.Expr):
        return isinstance(statement, ast.Pass)
    value = statement.value
    if not isinstance(value, ast.Call):
        return isinstance(value, ast.Constant)
    called = ast.unparse(value.func)
    return called.startswith("logging.") or called.rpartition(".")[2].startswith(CHECKS)


@functools.cache
def _find_file(module: str) -> Path | None:
    """File of a module of the library, or of an adapter, which is named by its path."""
    if module.endswith(".py"):
        return Path(module)
    if module.partition(".")[0] != PACKAGE:
        return None
    place = LIBRARY.joinpath(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
