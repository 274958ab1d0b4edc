"""The house keeps its order."""

import ast

import pytest

from tests.conftest import ROOT

LIBRARY = ROOT / "workflow" / "emodrift"
ROOMS = ("store", "stats", "config", "checkpoints", "grammar", "contrasts", "models", "measure")
ROOMS += ("judging", "vectors", "drift", "warning", "show", "organisms", "plan")


def list_imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_room_is_in_the_order():
    assert {p.parent.name for p in LIBRARY.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_rooms_above_it(room):
    allowed = {*ROOMS[: ROOMS.index(room) + 1], "errors"}
    for path in (LIBRARY / room).rglob("*.py"):
        rooms = {m.split(".")[1] for m in list_imports(path) if m.startswith("emodrift.")}
        assert rooms <= allowed, path.name


def test_adapters_stay_thin():
    for path in (ROOT / "workflow" / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) < 40, path.name


def test_no_rule_runs_python_in_place():
    for path in [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]:
        assert "run:" not in path.read_text().split(), path.name
