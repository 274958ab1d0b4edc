"""Benchmark rows become ratios, verdicts and tables; prompts are spread as they are said to be."""

import copy

import numpy as np
import pytest

from benchmarks.agreement import compare_contrasts, compare_replies
from benchmarks.contestants import CONTESTANTS
from benchmarks.models import SHAPES
from benchmarks.prompts import draw_stories, train_tokenizer
from benchmarks.report import render_run, replace_tables
from benchmarks.targets import check_targets, compare_rates


def make_row(task, contestant, seconds, amount=1_000, order="", **more):
    turns = [{"seconds": s, "cpu_seconds": s, "peak_mib": 900, "added_mib": 40} for s in seconds]
    row = {"task": task, "contestant": contestant, "order": order, "batch": 16, "amount": amount}
    return row | {"unit": "", "rounds": turns} | more


RUN = {
    "model": "small",
    "shape": SHAPES["small"]._asdict() | {"block_weights": SHAPES["small"].block_weights},
    "device": "cuda",
    "dtype": "float32",
    "quick": False,
    "amounts": {"stories": 96},
    "tokens": 1_000,
    "machine": {"processor": "Abacus", "cores": 2, "threads": 2, "memory_gib": 24.0},
    "matrix_flops": 2e11,
    "workers": {name: {"versions": {"torch": "2.13.0"}} for name in CONTESTANTS},
    "started": "2026-01-01 10:00",
    "seconds": 600,
    "rows": [
        make_row("extract", "emodrift", [1.0, 2.0, 1.0], order="file"),
        make_row("extract", "bare", [0.98, 1.94, 0.8], order="file"),
        make_row("extract", "plain", [2.2, 4.8, 2.4], order="file", agreement=1.0),
        make_row("extract", "repeng", [2.5, 5.1, 2.6], order="file", agreement=0.9999),
        make_row("extract", "plain", [1.5, 2.6, 1.2], order="sorted", agreement=1.0),
        make_row("generate", "emodrift", [4.0, 4.0, 4.0], 24),
        make_row("generate", "plain", [2.0, 2.2, 2.1], 3, agreement=0.98),
        make_row("score", "emodrift", [4.0, 4.0, 4.0], 24),
        make_row("score", "plain", [1.2, 1.2, 1.2], 3, agreement=1e-6),
        make_row("slopes", "emodrift", [1.0, 1.0, 1.0], 0, order="forward"),
        make_row("slopes", "emodrift", [2.4, 2.5, 2.6], 24, order="gradients-24"),
        make_row("slopes", "emodrift", [2.4, 2.5, 2.6], 171, order="gradients-171"),
        make_row("slopes", "emodrift", [5.0, 5.0, 5.0], 2, order="finite", agreement=0.999),
        {**make_row("growth", "emodrift", [1.2], 24), "along": "texts"},
        {**make_row("growth", "emodrift", [3.0], 96), "along": "texts"},
    ],
}


def test_a_ratio_is_the_median_over_rounds_that_ran_side_by_side():
    ours, theirs = (make_row("extract", "x", s) for s in ([1.0, 9.0, 1.0], [2.0, 27.0, 4.0]))
    assert compare_rates(ours, theirs) == 3


def test_a_ratio_counts_conditions_and_not_calls():
    ours, theirs = make_row("score", "x", [4.0], 24), make_row("score", "y", [1.0], 2)
    assert compare_rates(ours, theirs) == 3


def test_every_target_is_judged_by_the_fastest_peer():
    found = {
        target.what: (round(target.found, 3), target.met) for target in check_targets(RUN["rows"])
    }
    assert found == {
        "extraction over the fastest peer, texts in file order": (2.4, True),
        "extraction over the fastest peer, texts sorted by length": (1.3, True),
        "extraction over a bare forward pass, same batches": (0.97, True),
        "least cosine of an emotion's contrast with a peer's": (1.0, True),
        "steered generation over the fastest peer, one condition at a time": (4.2, True),
        "steered log-odds over the fastest peer, one condition at a time": (2.4, False),
        "slope matrix of 171 emotions, in forward passes": (2.5, True),
        "slope matrix of 171 emotions over finite steering": (171.0, True),
        "correlation of slopes with finite steering": (0.999, True),
    }


def test_targets_that_a_run_did_not_measure_are_not_judged():
    some = [row for row in RUN["rows"] if row["contestant"] == "emodrift"][:1]
    assert check_targets(some) == []


@pytest.mark.parametrize(
    "line",
    [
        "| steered log-odds over the fastest peer, one condition at a time | ≥ 3 | 2.4 | **no** |",
        "| plain transformers | file | 16 rows | 417 | 2.40 | 0.16 | 40 | 1.000000 |",
        "| emodrift | 24 at once | 6 | 1.00 | 40 |  |",
        "| plain transformers | 3, one at a time | 1.43 | 4.20 | 40 | 0.98 |",
        "| 171 emotions, gradients | 2.5 | 2.5 | 40 |",
        "| 171 emotions, finite steering (from 2 of them) | 427.5 | 427.5 | 40 |",
        "| texts | 96 | 4.0 | 3.00 | 2.50 | 40 |",
    ],
)
def test_tables_hold_what_was_measured(line):
    assert line in render_run(RUN).splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "| plain transformers | file | 16 rows | 2.40 | 40 | 1.000000 |",
        "| plain transformers | 3, one at a time | 4.20 | 40 | 0.98 |",
        "| 171 emotions, gradients | 2.5 | 40 |",
        "| texts | 96 | 4.0 | 2.50 | 40 |",
    ],
)
def test_times_of_a_cpu_are_told_as_ratios_alone(line):
    page = render_run(RUN | {"device": "cpu"})
    assert line in page.splitlines()
    assert "tokens/s" not in page and "seconds" not in page


def test_a_run_of_a_few_tasks_is_rendered_without_the_others():
    run = copy.deepcopy(RUN)
    run["rows"] = [row for row in RUN["rows"] if row["task"] == "extract"]
    assert "Steered" not in render_run(run)


def test_tables_replace_those_of_an_earlier_run():
    page = "before\n<!-- tables -->\nold\n<!-- end of tables -->\nafter\n"
    expected = "before\n<!-- tables -->\nnew\n<!-- end of tables -->\nafter\n"
    assert replace_tables(page, "new") == expected


def test_agreement_sees_one_wrong_contrast_and_leaves_out_the_last_layer():
    rng = np.random.default_rng(0)
    ours = rng.normal(size=(12, 4, 8))
    labels = ["calm", "sad", "proud"] * 4
    theirs = ours[:, 1:].copy()
    theirs[:, -1] = 7
    assert compare_contrasts(ours, theirs, labels) == pytest.approx(1)
    theirs[1::3, 0] += 5 * rng.normal(size=8)
    assert compare_contrasts(ours, theirs, labels) < 0.9


def test_agreement_of_replies_is_a_share_of_replies():
    ours = np.zeros((2, 2, 3), int)
    theirs = ours.copy()
    theirs[0, 1, 2] = 5
    assert compare_replies(ours, theirs) == 0.75


def test_texts_have_the_lengths_they_are_drawn_with_and_emotions_take_turns():
    tokenizer = train_tokenizer(4_000)
    stories = draw_stories(tokenizer, 48, seed=0)
    lengths = np.array([len(tokenizer(story["text"])["input_ids"]) for story in stories])
    assert lengths.min() >= 12 and lengths.max() <= 330
    assert 50 < np.median(lengths) < 90
    assert len({story["label"] for story in stories}) == 24
    assert stories == draw_stories(tokenizer, 48, seed=0)
