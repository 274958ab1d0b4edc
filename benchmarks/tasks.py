"""The measurements of a run: what each contestant is asked, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.agreement import (
    compare_contrasts,
    compare_replies,
    compare_scores,
    compare_slopes,
)
from benchmarks.contestants import BARE, CONTESTANTS, OURS
from benchmarks.inputs import SEED, STRENGTH, Amounts, Inputs, save_depths, write_argument
from benchmarks.models import SHAPES
from benchmarks.pool import Pool

Row = dict[str, Any]
TUNED_SHARE = 3
EMOTIONS = (24, 171)


class Sizes(NamedTuple):
    """Batch sizes to choose from: rows of the peers, tokens of emodrift."""

    extracted_rows: tuple[int, ...]
    extracted_tokens: tuple[int, ...]
    steered_rows: tuple[int, ...]
    steered_tokens: tuple[int, ...]


class Bench(NamedTuple):
    """A run.

    names: contestants. sizes: batch sizes to choose from. take_turns: whether contestants alternate
    within a round.
    """

    pool: Pool
    inputs: Inputs
    amounts: Amounts
    names: tuple[str, ...]
    sizes: Sizes
    take_turns: bool

    @property
    def layer(self) -> int:
        """The steered layer, at two thirds of the depth."""
        return SHAPES[self.inputs.shape].layers * 2 // 3


class Entry(NamedTuple):
    """A contestant with what it is asked in every round."""

    name: str
    order: str
    call: str
    arguments: dict[str, Any]
    amount: float


def time_extraction(bench: Bench) -> list[Row]:
    """Tokens a second of pooled activations of all layers, texts in file order and sorted."""
    inputs = bench.inputs
    orders = {
        "file": np.arange(len(inputs.stories)),
        "sorted": np.argsort(-inputs.lengths, kind="stable"),
    }
    entries = []
    for order, places in orders.items():
        texts = [inputs.stories[i]["text"] for i in places]
        whole = write_argument(inputs.folder, f"stories-{order}", texts)
        some = write_argument(inputs.folder, f"stories-{order}-some", texts[::TUNED_SHARE])
        for name in bench.names:
            own = name in (OURS, BARE)
            if own and order != "file":
                continue
            call = CONTESTANTS[name].calls["extract"]
            sizes = bench.sizes.extracted_tokens if own else bench.sizes.extracted_rows
            if name == BARE:
                sizes = (entries[0].arguments["batch"],)
            batch = _tune(bench, name, call, {"texts": some}, sizes)
            arguments = {"texts": whole, "batch": batch}
            entries.append(Entry(name, order, call, arguments, float(inputs.lengths.sum())))
    rows = _take_rounds(bench, "extract", "tokens", entries)
    labels = [story["label"] for story in inputs.stories]
    ours = {
        pooling: _ask_array(bench, "extract", texts=entries[0].arguments["texts"], pooling=pooling)
        for pooling in ("mean", "last")
    }
    for row in rows:
        contestant = CONTESTANTS[row["contestant"]]
        if row["contestant"] not in (OURS, BARE):
            back = np.argsort(orders[row["order"]])
            theirs = np.load(_name_result(bench, row))[back]
            row["agreement"] = compare_contrasts(ours[contestant.pooling], theirs, labels)
    return rows


def time_generation(bench: Bench) -> list[Row]:
    """Steering conditions a second, a greedy reply to every prompt under each."""
    prompts = write_argument(bench.inputs.folder, "prompts", bench.inputs.prompts)
    arguments = {"prompts": prompts, "new_tokens": bench.amounts.new_tokens}
    rows = _time_steering(bench, "generate", arguments)
    return _compare_steering(bench, rows, compare_replies)


def time_scores(bench: Bench) -> list[Row]:
    """Steering conditions a second, the log-odds of every class of reply under each."""
    some = bench.inputs.prompts[: bench.amounts.scored]
    arguments = {
        "prompts": write_argument(bench.inputs.folder, "scored-prompts", some),
        "replies": write_argument(bench.inputs.folder, "replies", bench.inputs.replies),
    }
    rows = _time_steering(bench, "score", arguments)
    return _compare_steering(bench, rows, compare_scores)


def time_slopes(bench: Bench) -> list[Row]:
    """Seconds of the slope matrix, of forward passes over its prompts, and by finite steering.

    Finite steering takes a sample of directions at one strength and its negative; its amount says
    how many, so that a reader may scale it.
    """
    common = _list_slope_arguments(bench)
    sample = bench.amounts.sample
    entries = [Entry(OURS, "forward", "pass_prompts", common, 0)]
    for emotions in EMOTIONS:
        call = common | {"directions": _write_directions(bench, emotions)}
        entries.append(Entry(OURS, f"gradients-{emotions}", "measure_slopes", call, emotions))
    call = common | {"directions": _write_directions(bench, sample)}
    entries.append(Entry(OURS, "finite", "measure_finite", call, sample))
    rows = _take_rounds(bench, "slopes", "directions", entries)
    exact, finite = (np.load(_name_result(bench, row)) for row in rows[-2:])
    rows[-1]["agreement"] = compare_slopes(exact[:sample], finite)
    return rows


def measure_growth(bench: Bench) -> list[Row]:
    """Seconds against the number of texts, layers, emotions and checkpoints, emodrift alone."""
    inputs, size = bench.inputs, max(bench.sizes.extracted_tokens)
    texts = [story["text"] for story in inputs.stories]
    some = {
        len(texts[::share]): write_argument(inputs.folder, f"texts-{share}", texts[::share])
        for share in (4, 2, 1)
    }
    rows = []

    def add(along: str, amount: int, checkpoint: Path, call: str, **arguments: Any) -> None:
        cost = bench.pool.ask(OURS, checkpoint, call, **arguments)
        rows.append({"task": "growth", "along": along, "amount": amount, "rounds": [cost]})

    for count, argument in some.items():
        add("texts", count, inputs.checkpoint, "extract", texts=argument, batch=size)
    slopes = _list_slope_arguments(bench)
    for emotions in (*EMOTIONS, 1000):
        directions = _write_directions(bench, emotions)
        call = slopes | {"directions": directions}
        add("emotions", emotions, inputs.checkpoint, "measure_slopes", **call)
    fewest = some[min(some)]
    for count in (1, 2, 4):
        argument = {"texts": fewest, "batch": size, "count": count}
        add("checkpoints", count, inputs.checkpoint, "measure_checkpoints", **argument)
    setting = bench.pool.setting
    for layers, checkpoint in save_depths(inputs, setting.device, setting.dtype).items():
        add("layers", layers, checkpoint, "extract", texts=some[len(texts[::2])], batch=size)
    return rows


def _time_steering(bench: Bench, task: str, arguments: dict[str, Any]) -> list[Row]:
    """Rounds of a steering task; emodrift has all conditions at once, peers the first few.

    Batch sizes are chosen with fewer conditions.
    """
    folder, amounts = bench.inputs.folder, bench.amounts
    common = arguments | {"layer": bench.layer}
    asked = {"prompts": common["prompts"], "layer": bench.layer}
    norm = bench.pool.ask(OURS, bench.inputs.checkpoint, "measure_unit", **asked)["norm"]
    directions = _draw_directions(bench, amounts.conditions)

    def argue(count: int) -> dict[str, Any]:
        vectors = (STRENGTH * norm * directions[:count]).astype(np.float32)
        return common | {"vectors": write_argument(folder, f"{task}-vectors-{count}", vectors)}

    entries = []
    for name in bench.names:
        call = CONTESTANTS[name].calls.get(task)
        if call is None:
            continue
        own = name == OURS
        count = amounts.conditions if own else amounts.sample
        sizes = bench.sizes.steered_tokens if own else bench.sizes.steered_rows
        batch = _tune(bench, name, call, argue(max(1, count // TUNED_SHARE)), sizes)
        entries.append(Entry(name, "", call, argue(count) | {"batch": batch}, count))
    return _take_rounds(bench, task, "conditions", entries)


def _compare_steering(
    bench: Bench, rows: list[Row], compare: Callable[[np.ndarray, np.ndarray], float]
) -> list[Row]:
    ours = next(row for row in rows if row["contestant"] == OURS)
    expected = np.load(_name_result(bench, ours))
    for row in rows:
        if row is not ours:
            theirs = np.load(_name_result(bench, row))
            row["agreement"] = compare(expected[: len(theirs)], theirs)
    return rows


def _list_slope_arguments(bench: Bench) -> dict[str, Any]:
    inputs = bench.inputs
    return {
        "prompts": write_argument(inputs.folder, "slope-prompts", inputs.slope_prompts),
        "replies": write_argument(inputs.folder, "replies", inputs.replies),
        "targets": inputs.targets,
        "layer": bench.layer,
        "batch": max(bench.sizes.extracted_tokens),
    }


def _draw_directions(bench: Bench, count: int) -> np.ndarray:
    """Random unit vectors (direction, hidden)."""
    drawn = np.random.default_rng(SEED).normal(size=(count, SHAPES[bench.inputs.shape].hidden))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def _write_directions(bench: Bench, count: int) -> dict[str, str]:
    return write_argument(
        bench.inputs.folder, f"directions-{count}", _draw_directions(bench, count)
    )


def _tune(
    bench: Bench, name: str, call: str, arguments: dict[str, Any], sizes: Sequence[int]
) -> int:
    """The batch size with which a contestant takes the least time."""
    if len(sizes) == 1:
        return sizes[0]
    seconds = {
        size: bench.pool.ask(name, bench.inputs.checkpoint, call, **arguments, batch=size)[
            "seconds"
        ]
        for size in sizes
    }
    return min(seconds, key=seconds.get)


def _take_rounds(bench: Bench, task: str, unit: str, entries: Sequence[Entry]) -> list[Row]:
    rows = [
        {
            "task": task,
            "contestant": entry.name,
            "order": entry.order,
            "batch": entry.arguments["batch"],
            "amount": entry.amount,
            "unit": unit,
            "rounds": [],
        }
        for entry in entries
    ]
    turns = range(bench.amounts.rounds)
    both = list(zip(entries, rows, strict=True))
    schedule = (
        [pair for _ in turns for pair in both]
        if bench.take_turns
        else [pair for pair in both for _ in turns]
    )
    for entry, row in schedule:
        cost = bench.pool.ask(
            entry.name,
            bench.inputs.checkpoint,
            entry.call,
            **entry.arguments,
            out=_name_result(bench, row),
        )
        row["rounds"].append(cost)
        print(task, entry.name, entry.order, f"{cost['seconds']:.2f} s", flush=True)
    return rows


def _name_result(bench: Bench, row: Row) -> Path:
    return bench.inputs.folder / f"{row['task']}-{row['contestant']}-{row['order']}.npy"


def _ask_array(bench: Bench, call: str, **arguments: Any) -> np.ndarray:
    path = bench.inputs.folder / "ours.npy"
    batch = min(bench.sizes.extracted_tokens)
    bench.pool.ask(OURS, bench.inputs.checkpoint, call, **arguments, batch=batch, out=path)
    return np.load(path)
