"""Nobody's config, specifier or checkpoint ends in a traceback, a page of text, or never.

500 cases in the ordinary suite, always the same; `make fuzz` tries 20 times as many others.
"""

import contextlib
import copy
import json
import os
import shutil
import signal
import struct
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emodrift.checkpoints.checkpoint import list_checkpoints
from emodrift.checkpoints.discovery import discover
from emodrift.config.reading import parse_study, read_study
from emodrift.config.runs import Run
from emodrift.errors import EmodriftError
from emodrift.plan.study import plan_study
from emodrift.store.memory import FileDigests
from tests.conftest import STUDY, save_checkpoint

FACTOR = int(os.environ.get("EMODRIFT_FUZZ", "1"))
SECONDS, STUCK = 20, 300
CASES = {
    "test_any_config_is_taken_or_refused_in_one_line": 150,
    "test_any_file_is_read_as_a_config_or_refused_in_one_line": 50,
    "test_any_study_is_planned_or_refused_in_one_line": 80,
    "test_any_source_of_checkpoints_is_found_or_refused_in_one_line": 100,
    "test_any_place_is_discovered_or_refused_in_one_line": 40,
    "test_any_json_in_a_checkpoint_is_read_or_refused_in_one_line": 50,
    "test_any_weights_file_is_read_or_refused_in_one_line": 20,
    "test_any_gguf_file_is_read_or_refused_in_one_line": 10,
}
"""Test -> random cases in the ordinary suite."""


def try_cases(test):
    return settings(
        max_examples=CASES[test.__name__] * FACTOR,
        derandomize=FACTOR == 1,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )(test)


@contextlib.contextmanager
def survive():
    """One line or none, in good time; any other exception is a test that fails."""

    def ring(*_):
        raise TimeoutError("a case hangs")

    before, started = signal.signal(signal.SIGALRM, ring), time.process_time()
    signal.alarm(STUCK)
    try:
        yield
    except EmodriftError as error:
        line = str(error)
        line.encode()
        assert line.isprintable() and 10 < len(line) <= 500
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert time.process_time() - started < SECONDS


NASTY = [
    "",
    " ",
    "~",
    "~no-such-person",
    "*",
    "**/*",
    "[",
    "{step}",
    "{step[0]}",
    "{step:>99999999}",
]
NASTY += [
    "{",
    "{}",
    "{0}",
    "{tokens}",
    "..",
    "a/b",
    "a/b@c",
    "a@b@c",
    "null",
    "\0",
    "\ud800",
    "1e999",
]
NASTY += ["../" * 50, "x" * 3000, "\x1b[31m", "\N{RIGHT-TO-LEFT OVERRIDE}", "-1", "NaN", "café"]
TEXTS = st.sampled_from(NASTY) | st.text(max_size=30)
NUMBERS = st.integers() | st.sampled_from([-1, 0, 2**63, 10**30, 10**400]) | st.floats()
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inside: (
        st.lists(inside, max_size=4) | st.dictionaries(TEXTS | st.integers(), inside, max_size=4)
    ),
    max_leaves=8,
)


def list_places(value, place=()):
    """Keys of everything in nested mappings and lists."""
    yield place
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = enumerate(value) if isinstance(value, list) else pairs
    for key, inside in pairs:
        yield from list_places(inside, (*place, key))


def look_alike(value):
    """Values of the same kind."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(-1, 300) | st.sampled_from([2**31, 2**63, 10**30])
    if isinstance(value, str):
        return st.just(value) | TEXTS
    if isinstance(value, list) and value:
        return st.lists(st.sampled_from(value), max_size=5)
    return st.just(value)


@st.composite
def change(draw, whole, more=(), ways=("replace", "remove", "add", "alike")):
    """A value with one to three of its parts replaced, removed, or joined by others."""
    value = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        places = [p for p in list_places(value) if p]
        if not places:
            break
        *above, last = draw(st.sampled_from(places))
        parent = value
        for key in above:
            parent = parent[key]
        what = draw(st.sampled_from(ways))
        if what == "remove":
            del parent[last]
        elif what == "alike":
            parent[last] = draw(look_alike(parent[last]))
        elif what == "add" and isinstance(parent, dict):
            parent[draw(TEXTS | st.sampled_from([*more, "extra"]))] = draw(VALUES)
        else:
            parent[last] = draw(VALUES)
    return value


KEYS = ("contrasts", "vectors", "generation", "sensitivity", "organism", "compute", "chat_template")
CONFIGS = change(STUDY, KEYS)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with three checkpoints of one run."""
    folder = tmp_path_factory.mktemp("fuzz")
    save_checkpoint(folder / "runs/sft/checkpoint-0", seed=0, step=0)
    for step in (10, 20):
        twin = shutil.copytree(
            folder / "runs/sft/checkpoint-0", folder / f"runs/sft/checkpoint-{step}"
        )
        (twin / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@try_cases
@given(values=CONFIGS | VALUES)
def test_any_config_is_taken_or_refused_in_one_line(values):
    with survive():
        parse_study(values, "study.yaml")


@try_cases
@given(
    content=st.binary(max_size=60)
    | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_file_is_read_as_a_config_or_refused_in_one_line(place, content):
    (place / "study.yaml").write_bytes(content)
    with survive():
        read_study(place / "study.yaml")


@try_cases
@given(values=change(STUDY, ways=["alike"]))
def test_any_study_is_planned_or_refused_in_one_line(place, values):
    with survive():
        plan_study(parse_study(values, "study.yaml"), place / "results")


SOURCE = {"repo": "a/b", "revision": "step{step}", "steps": [1, 2], "step": None, "stage": "sft"}
SOURCES = change(SOURCE, ("path", "base", "adapter", "subfolder", "token_counts", "tokens"))


@try_cases
@given(source=SOURCES | TEXTS | st.lists(TEXTS, max_size=3))
def test_any_source_of_checkpoints_is_found_or_refused_in_one_line(place, source):
    with survive():
        study = parse_study({**STUDY, "runs": {"sft": {"checkpoints": source}}}, "study.yaml")
        list_checkpoints("sft", study.runs["sft"], FileDigests(place / "memo.json"))


@try_cases
@given(text=TEXTS)
def test_any_place_is_discovered_or_refused_in_one_line(place, text):
    with survive():
        discover(text, FileDigests(place / "memo.json"))


def list_found(folder, name, content):
    broken = folder / "broken/checkpoint-1"
    shutil.copytree(folder / "runs/sft/checkpoint-0", broken)
    try:
        (broken / name).write_bytes(content)
        run = Run.model_validate({"checkpoints": str(broken)})
        list_checkpoints("sft", run, FileDigests(folder / "memo.json"))
    finally:
        shutil.rmtree(folder / "broken")


CONFIG = {"hidden_size": 32, "num_hidden_layers": 3, "model_type": "llama", "text_config": {}}
STATE = {"global_step": 1, "num_input_tokens_seen": 3, "log_history": []}
TOKENIZER = {"chat_template": [{"name": "default", "template": "{{ 1 }}"}], "model_max_length": 9}


@try_cases
@given(
    file=st.one_of(
        st.tuples(st.just("config.json"), change(CONFIG) | VALUES),
        st.tuples(st.just("trainer_state.json"), change(STATE) | VALUES),
        st.tuples(st.just("tokenizer_config.json"), change(TOKENIZER) | VALUES),
    )
)
def test_any_json_in_a_checkpoint_is_read_or_refused_in_one_line(place, file):
    name, value = file
    with survive():
        list_found(place, name, json.dumps(value).encode())


TENSORS = {"__metadata__": {"format": "pt"}}
TENSORS |= {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
LENGTHS = st.sampled_from([0, 1, 7, 2**20, 2**42, 2**63, 2**64 - 1])


@try_cases
@given(header=change(TENSORS) | VALUES, length=st.none() | LENGTHS, data=st.binary(max_size=20))
def test_any_weights_file_is_read_or_refused_in_one_line(place, header, length, data):
    text = json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if length is None else length)
    with survive():
        list_found(place, "model.safetensors", start + text + data)


@try_cases
@given(numbers=st.lists(st.sampled_from([0, 1, 3, 8, 9, 2**32 - 1]), max_size=40), rest=st.binary())
def test_any_gguf_file_is_read_or_refused_in_one_line(place, numbers, rest):
    file = place / "model-1.gguf"
    file.write_bytes(b"GGUF" + struct.pack(f"<{len(numbers)}I", *numbers) + rest)
    run = Run.model_validate({"checkpoints": str(file)})
    with survive():
        list_checkpoints("sft", run, FileDigests(place / "memo.json"))
    file.unlink()
