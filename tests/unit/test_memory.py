"""A batch that does not fit is halved; what a killed job has done is not done again."""

import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from emodrift.errors import EmodriftError
from emodrift.grammar.sampling import sample_stories
from emodrift.measure.activations import extract_part
from emodrift.models.loading import load_model
from emodrift.models.memory import (
    MemoryShortageError,
    TokenBudget,
    is_out_of_memory,
    resume_within_memory,
    run_within_memory,
)
from emodrift.store.entry import list_entries, write_entry
from emodrift.store.partial import KeptRows, locate_partial
from emodrift.store.verify import verify_store
from tests.conftest import ROOT, save_checkpoint

LOADING = {"device": "cpu", "allow_pickle": False}
READING = {"pooling": "mean", "from_token": 4}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint-1", seed=0, step=1)


@pytest.fixture(scope="module")
def model(checkpoint):
    return load_model({"path": str(checkpoint)}, LOADING, "float32", "x")


def limit_tokens(model, monkeypatch, most):
    """Let the model run out of memory in batches of more than `most` tokens."""
    forward = model.network.base_model.forward
    sizes = []

    def run(input_ids, **options):
        if input_ids.numel() > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        sizes.append(input_ids.numel())
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model.network.base_model, "forward", run)
    return sizes


def test_a_real_failure_to_allocate_is_recognised_and_other_errors_are_not():
    with pytest.raises(RuntimeError) as failure:
        torch.empty(2**55)
    assert is_out_of_memory(failure.value)
    with pytest.raises(RuntimeError) as failure:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_out_of_memory(failure.value)


def test_rows_come_longest_first_within_the_budget_and_each_once():
    sizes = [3, 9, 5, 9, 1, 2]
    batches = list(run_within_memory(sizes, TokenBudget(10), sum, str))
    assert [rows for rows, _ in batches] == [[1], [3], [2, 0], [5, 4]]
    assert [found for _, found in batches] == [1, 3, 2, 9]


def test_a_batch_ends_where_padding_would_be_a_tenth_of_a_row_unless_it_is_small():
    sizes = [100, 50, 98, 91, 89, 48, 20, 10]
    batches = [rows for rows, _ in run_within_memory(sizes, TokenBudget(4096), len, str)]
    assert batches == [[0, 2, 3], [4, 1, 5], [6, 7]]


def test_a_batch_that_does_not_fit_is_halved_and_the_budget_kept(caplog):
    tried = []

    def work(rows):
        tried.append(len(rows))
        if len(rows) > 3:
            raise MemoryError
        return rows

    budget = TokenBudget(160)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            done = [
                row for rows, _ in run_within_memory([10] * 16, budget, work, str) for row in rows
            ]
            assert sorted(done) == list(range(16))
    assert tried == [16, 8, 4, *[2] * 8, *[2] * 8]
    assert len(caplog.records) == 1 and "compute.batch_tokens" in caplog.text


def test_a_row_that_does_not_fit_alone_is_named_with_the_keys_that_help():
    def work(_rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(
        MemoryShortageError, match=r"prompt 7 has 12 tokens.*batch_tokens.*compute\.dtype"
    ):
        list(run_within_memory([12], TokenBudget(64), work, lambda row: "prompt 7"))


def test_a_row_too_large_inside_a_batch_halves_the_batch():
    def work(rows):
        def condition(_conditions):
            if len(rows) > 2:
                raise MemoryError
            return 1.0

        inner = run_within_memory([len(rows)] * 5, budget, condition, str)
        return sum(len(conditions) for conditions, _ in inner)

    budget = TokenBudget(8)
    done = list(run_within_memory([1] * 8, budget, work, str))
    assert [len(rows) for rows, _ in done] == [2, 2, 2, 2]
    assert {found for _, found in done} == {5}


def test_an_error_that_is_not_about_memory_is_passed_on():
    def work(_rows):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        list(run_within_memory([1], TokenBudget(8), work, str))


def test_activations_do_not_change_when_memory_runs_out(model, monkeypatch, caplog):
    stories = sample_stories(0, 6)
    expected = extract_part(model, stories, READING, 2_000, "x")
    sizes = limit_tokens(model, monkeypatch, 300)
    found = extract_part(model, stories, READING, 2_000, "x")
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-5)
    assert max(sizes) <= 300 and len(sizes) > 2
    assert caplog.text.count("out of memory") == 1


def test_a_text_that_does_not_fit_is_named(model, monkeypatch):
    limit_tokens(model, monkeypatch, 3)
    with pytest.raises(EmodriftError, match=r"sft step 3: text 'emotion-.*does not fit in memory"):
        extract_part(model, sample_stories(0, 1), READING, 100, "sft step 3")


def make_rows(rows):
    return {"value": np.array([[row, row**2] for row in rows], np.float32)}


def test_kept_rows_are_done_once(tmp_path):
    recipe = ["square", 6]
    with pytest.raises(RuntimeError), KeptRows(tmp_path, recipe) as kept:
        for rows, _ in resume_within_memory([1] * 6, TokenBudget(2), make_rows, str, kept):
            if 3 in rows:
                raise RuntimeError("killed")
    asked = []

    def work(rows):
        asked.extend(rows)
        return make_rows(rows)

    table = np.zeros((6, 2), np.float32)
    with KeptRows(tmp_path, recipe) as kept:
        for rows, found in resume_within_memory([1] * 6, TokenBudget(2), work, str, kept):
            table[rows] = found["value"]
    assert sorted(asked) == [4, 5]
    np.testing.assert_array_equal(table, make_rows(range(6))["value"])


def test_rows_kept_under_another_recipe_or_damaged_are_not_read(tmp_path):
    with KeptRows(tmp_path, "float32") as kept:
        kept.keep([0, 1], make_rows([0, 1]))
        kept.flush()
        kept.keep([2], make_rows([2]))
    assert list(KeptRows(tmp_path, "bfloat16").restore(range(3))) == []
    kept = list(KeptRows(tmp_path, "float32").restore(range(1, 9)))
    assert sorted(row for rows, _ in kept for row in rows) == [1, 2]
    blocks = sorted(tmp_path.rglob("*.npz"))
    blocks[0].write_bytes(blocks[0].read_bytes()[:-40])
    (blocks[0].parent / "half.tmp").write_bytes(b"PK")
    assert len(list(KeptRows(tmp_path, "float32").restore(range(3)))) == 1


def test_kept_rows_go_with_the_entry_and_are_no_entry(tmp_path):
    path = tmp_path / "store/stage/abc"
    with KeptRows(locate_partial(path), 1) as kept:
        kept.keep([0], make_rows([0]))
    assert list_entries(tmp_path / "store") == [] and verify_store(tmp_path / "store") == []
    with pytest.raises(RuntimeError), write_entry(path, {}):
        raise RuntimeError
    assert list(locate_partial(path).rglob("*.npz"))
    with write_entry(path, {}):
        pass
    assert [p.name for p in path.parent.iterdir()] == ["abc"]


JOB = """
import sys, time
from pathlib import Path
from emodrift.grammar.sampling import sample_stories
from emodrift.measure import activations
from emodrift.models.loading import load_model
from emodrift.store import partial
from tests.unit.test_memory import LOADING, READING

partial.SECONDS_BETWEEN_BLOCKS = 0
pool = activations.pool_residual

def pool_slowly(model, encoded, weights):
    print(len(encoded), flush=True)
    time.sleep(0.1)
    return pool(model, encoded, weights)

activations.pool_residual = pool_slowly
model = load_model({"path": sys.argv[1]}, LOADING, "float32", "x")
activations.extract_part(model, sample_stories(0, 6), READING, 200, "x", Path(sys.argv[2]))
"""


def test_a_job_killed_with_kill_9_goes_on_at_the_block_where_it_stopped(
    model, checkpoint, tmp_path, monkeypatch
):
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'workflow'}:{ROOT}"}
    command = [sys.executable, "-c", JOB, str(checkpoint), str(tmp_path)]
    job = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 180
        while len(list(tmp_path.rglob("*.npz"))) < 3:
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        job.send_signal(signal.SIGKILL)
        job.wait()
    stories = sample_stories(0, 6)
    kept = KeptRows(tmp_path, ["activation", len(stories), "torch.float32"])
    done = [row for rows, _ in kept.restore(range(len(stories))) for row in rows]
    assert 0 < len(done) < len(stories)

    asked = []
    forward = model.network.base_model.forward

    def count(input_ids, **options):
        asked.append(len(input_ids))
        return forward(input_ids=input_ids, **options)

    expected = extract_part(model, stories, READING, 200, "x")
    monkeypatch.setattr(model.network.base_model, "forward", count)
    found = extract_part(model, stories, READING, 200, "x", tmp_path)
    assert sum(asked) == len(stories) - len(done)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-5)
