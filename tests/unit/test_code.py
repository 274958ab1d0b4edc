"""A key rests on the code that a stage reaches, and on nothing beside it."""

import shutil

import pytest
import yaml

from emodrift.plan.chain import FITTING, JUDGING
from emodrift.plan.declarations import list_stages
from emodrift.plan.entries import SCRIPTS, TOGETHER
from emodrift.plan.measurements import CODE, LOADING
from emodrift.plan.publication import DRAWING
from emodrift.store import code
from emodrift.store.code import digest_code, digest_definition, list_modules
from emodrift.store.same import SAME
from tests.conftest import ROOT

RECORD = ROOT / "tests/unit/key_modules.yaml"
STAGE = '''"""Doc."""
import logging
from typing import NamedTuple
from emodrift.errors import EmodriftError
from emodrift.helper import Number, add, check_number
from emodrift import tools

LIMIT = 3
"""Largest number."""
UNUSED = 1


class Pair(NamedTuple):
    left: Number
    right: "Number"


def run(x: Number) -> Pair:
    """Doc."""
    here: int = LIMIT
    check_number(x)
    logging.info("running %s", x)
    if x > here:
        raise EmodriftError(f"{x} is too large")
    return Pair(add(x), tools.double(x))


def spare():
    return UNUSED
'''
HELPER = """
from emodrift.far import ONE

Number = int

def add(x):
    return x + ONE

def check_number(x):
    assert x

def other():
    return 2
"""
ADAPTER = """
from emodrift.stage import run
from emodrift.store.job import PLACE
run(1)
"""
FILES = {
    "emodrift/__init__.py": "",
    "emodrift/errors.py": "class EmodriftError(Exception): pass\n",
    "emodrift/stage.py": STAGE,
    "emodrift/helper.py": HELPER,
    "emodrift/far.py": "ONE = 1\nTWO = 2\n",
    "emodrift/tools.py": "def double(x):\n    return 2 * x\n\ndef halve(x):\n    return x / 2\n",
    "emodrift/figure.py": "def draw():\n    return _paint()\n\ndef _paint():\n    return 1\n",
    "emodrift/store/job.py": "PLACE = 1\n",
    "scripts/stage.py": ADAPTER,
}


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """Digests of a stand-in library's stage before and after an edit of one of its files."""
    root = tmp_path / "workflow"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(code, "LIBRARY", root)

    def take(file=None, old="", new="", roots=("adapter",)):
        if file:
            path = root / "emodrift" / file
            assert path.read_text().count(old) == 1
            path.write_text(path.read_text().replace(old, new))
        code.clear_memory()
        return digest_code(
            *(str(root / "scripts/stage.py") if r == "adapter" else r for r in roots)
        )

    yield take
    code.clear_memory()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stage.py", '"""Doc."""\nimport', '"""Other words."""\n# a remark\nimport'),
        ("stage.py", '    """Doc."""', '    """Other words."""'),
        ("stage.py", '"""Largest number."""', '"""The largest number there is."""'),
        ("stage.py", 'right: "Number"', "right: Number"),
        ("stage.py", "x: Number) -> Pair", 'x: "float") -> "Pair"'),
        ("stage.py", "here: int", "here: float"),
        ("stage.py", "is too large", "exceeds the limit"),
        ("stage.py", '"running %s", x', '"with %s", x'),
        ("stage.py", "    check_number(x)\n", ""),
        ("stage.py", "UNUSED = 1", "UNUSED = 2"),
        ("stage.py", "return UNUSED", "return 5"),
        ("helper.py", "Number = int", "Number = float"),
        ("helper.py", "assert x", "assert x > 0"),
        ("helper.py", "return 2", "return 3"),
        ("helper.py", "return x + ONE", "return (x   +   ONE)"),
        ("far.py", "TWO = 2", "TWO = 3"),
        ("tools.py", "x / 2", "x / 3"),
        ("figure.py", "return 1", "return 2"),
        ("store/job.py", "1", "2"),
        ("errors.py", "Exception", "ValueError"),
    ],
)
def test_what_cannot_change_a_result_is_no_part_of_a_key(digest, file, old, new):
    before = digest()
    assert digest(file, old, new) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stage.py", "LIMIT = 3", "LIMIT = 4"),
        ("stage.py", "x > here", "x >= here"),
        ("stage.py", "tools.double(x)", "tools.halve(x)"),
        ("helper.py", "x + ONE", "x - ONE"),
        ("far.py", "ONE = 1", "ONE = 2"),
        ("tools.py", "2 * x", "3 * x"),
        ("tools.py", "def double", "print(1)\n\ndef double"),
    ],
)
def test_what_may_change_a_result_is_part_of_a_key(digest, file, old, new):
    before = digest()
    assert digest(file, old, new) != before


def test_a_field_of_a_validated_section_is_part_of_a_key_and_its_quotes_are_not(digest):
    section = "class Section(Model):\n    number: int = 1\n"
    roots = ("emodrift.far:Section",)
    digest("far.py", "TWO = 2\n", section)
    before = digest(roots=roots)
    assert digest("far.py", "number: int", 'number: "int"', roots) == before
    assert digest("far.py", '"int"', "float", roots) != before


def test_a_whole_module_counts_where_it_is_named_without_a_definition(digest):
    roots = ("adapter", "emodrift.figure")
    before = digest(roots=roots)
    assert digest("figure.py", "return 1", "return 2", roots) != before


def test_a_key_does_not_depend_on_where_the_project_lies(digest, tmp_path, monkeypatch):
    before = digest()
    (tmp_path / "workflow").rename(tmp_path / "elsewhere")
    monkeypatch.setattr(code, "LIBRARY", tmp_path / "elsewhere")
    code.clear_memory()
    assert digest_code(str(tmp_path / "elsewhere/scripts/stage.py")) == before


def test_what_is_remembered_of_one_copy_is_not_taken_for_another(digest, tmp_path, monkeypatch):
    before = digest()
    copied = tmp_path / "copy"
    shutil.copytree(tmp_path / "workflow", copied)  # with its memory
    monkeypatch.setattr(code, "LIBRARY", copied)
    path = copied / "emodrift/far.py"
    path.write_text(path.read_text().replace("ONE = 1", "ONE = 2"))
    code.clear_memory()
    assert digest_code(str(copied / "scripts/stage.py")) != before


def test_an_edit_that_is_listed_as_changing_nothing_leaves_a_key_as_it_is(digest, monkeypatch):
    before = digest()
    former = digest_definition("emodrift.helper:add")
    assert digest("helper.py", "return x + ONE", "return ONE + x") != before
    now = digest_definition("emodrift.helper:add")
    monkeypatch.setattr(code, "SAME", {("emodrift.helper:add", now): former})
    assert digest() == before
    assert digest("helper.py", "return ONE + x", "return ONE - x") != before


@pytest.mark.parametrize(("place", "listed"), SAME)
def test_what_is_listed_as_changing_nothing_is_in_force(place, listed):
    assert digest_definition(place) == listed


def list_roots():
    """Stage -> roots of the code in its key."""
    roots = {stage: (function, LOADING) for stage, function in CODE.items()}
    roots |= {s.name: (f"{module}:{s.function}",) for module, s in list_stages().items()}
    roots |= {"vectors": (FITTING,), "verdicts": (JUDGING,), "figure": (DRAWING,)}
    summaries = {stage.name for stage in list_stages().values()}
    no_stages = {"visit", "summary", *TOGETHER.values()}
    scripts = {path.stem for path in SCRIPTS.glob("*.py")} - no_stages - summaries
    return roots | {name: (str(SCRIPTS / f"{name}.py"),) for name in scripts}


def test_the_modules_in_every_key_are_those_on_record():
    """To take down a wanted change: ``python -m tests.unit.test_code``."""
    assert describe_keys() == yaml.safe_load(RECORD.read_text())


def describe_keys():
    return {
        stage: [m.removeprefix("emodrift.") for m in list_modules(*roots) if ".py" not in m]
        for stage, roots in sorted(list_roots().items())
    }


def test_no_measurement_rests_on_making_texts_on_judging_or_on_what_others_measure():
    keys = describe_keys()
    for stage in ("activations", "gradients", "responses", "replies"):
        rooms = {module.partition(".")[0] for module in keys[stage]}
        assert not rooms & {"contrasts", "grammar", "judging", "plan", "config", "drift", "warning"}
    for stage in ("activations", "gradients", "responses"):
        assert "measure.generation" not in keys[stage]


def test_declared_stages_are_what_their_modules_hold():
    import importlib

    for module, stage in list_stages().items():
        assert stage == importlib.import_module(module).STAGE
        assert callable(getattr(importlib.import_module(module), stage.function))


if __name__ == "__main__":
    head = "# Modules of the library in every key: python -m tests.unit.test_code\n"
    RECORD.write_text(head + yaml.safe_dump(describe_keys()))
