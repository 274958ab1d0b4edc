"""The house keeps its order."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.reliability import END, FAULTS, PAGE, START, Fault, locate

LIBRARY = ROOT / "workflow" / "emodrift"
ROOMS = ("store", "stats", "config", "checkpoints", "grammar", "corpus", "contrasts", "models")
ROOMS += ("measure", "judging", "vectors", "drift", "warning", "benchmark", "evals", "show")
ROOMS += ("organisms", "plan", "exports", "watching", "training", "cost", "cli")


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
    allowed = {*ROOMS[: ROOMS.index(room) + 1], "errors", "stage"}
    for path in (LIBRARY / room).rglob("*.py"):
        rooms = {m.split(".")[1] for m in list_imports(path) if m.startswith("emodrift.")}
        assert rooms <= allowed, path.name


def test_planning_and_its_estimate_load_no_library_that_measures():
    heavy = {"torch", "transformers", "xarray", "pandas", "scipy", "matplotlib"}
    rules = (ROOT / "Snakefile").read_text()
    lines = [line for line in rules.splitlines() if line.startswith("from emodrift")]
    assert len(lines) > 5
    lines += ["import sys", "import emodrift.cost.telling", "print(*sys.modules)"]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())


def test_adapters_stay_thin():
    for path in (ROOT / "workflow" / "scripts").glob("*.py"):
        assert len(path.read_text().splitlines()) < 40, path.name


def test_no_rule_runs_python_in_place():
    for path in [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]:
        assert "run:" not in path.read_text().split(), path.name


def list_faults():
    return [fault for faults in FAULTS.values() for fault in faults]


@pytest.mark.parametrize("fault", list_faults(), ids=lambda fault: fault.fault[:40])
def test_every_fault_of_the_table_is_tried_by_tests_that_there_are(fault: Fault):
    for place in locate(fault):
        file, _, name = place.partition("::")
        names = {n.name for n in ast.parse((ROOT / file).read_text()).body if hasattr(n, "name")}
        assert not name or name in names, place


def test_the_fault_table_is_up_to_date_and_all_survived():
    table = PAGE.read_text().partition(START)[2].partition(END)[0]
    rows = [line.strip("| ").split(" | ") for line in table.strip().splitlines()[2:]]
    told = [(row[-4], row[-3]) for row in rows]
    assert told == [(f.fault, f.outcome) for f in list_faults()], "run `make reliability`"
    assert all(row[-1] == row[-2] and int(row[-1]) > 0 for row in rows)
