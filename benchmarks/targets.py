"""What emodrift is meant to reach, and whether a run reached it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.contestants import BARE, OURS

Row = dict[str, Any]
SAME_CONTRASTS = 0.999


class Target(NamedTuple):
    """A target: what is compared, what was found, and the bound.

    at_least: whether the bound is a lower one.
    """

    what: str
    found: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound


def check_targets(rows: Sequence[Row]) -> list[Target]:
    """Every target that the rows of a run can tell about."""
    return [*_check_extraction(rows), *_check_steering(rows), *_check_slopes(rows)]


def compare_rates(ours: Row, theirs: Row) -> float:
    """How many times as fast `ours` is, by amount: the median over rounds that ran side by side."""
    share = ours["amount"] / theirs["amount"]
    return share * compare_seconds(theirs, ours)


def compare_seconds(one: Row, other: Row) -> float:
    """Seconds of one row over those of another: the median over rounds that ran side by side."""
    pairs = zip(one["rounds"], other["rounds"], strict=True)
    return statistics.median(a["seconds"] / b["seconds"] for a, b in pairs)


def find_rows(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """Rows with these entries."""
    return [row for row in rows if all(row.get(name) == value for name, value in wanted.items())]


def _check_extraction(rows: Sequence[Row]) -> Iterator[Target]:
    found = find_rows(rows, task="extract")
    ours = find_rows(found, contestant=OURS)
    for order, bound in (("file", 2.0), ("sorted", 1.2)):
        peers = [r for r in find_rows(found, order=order) if r["contestant"] not in (OURS, BARE)]
        if ours and peers:
            least = min(compare_rates(ours[0], peer) for peer in peers)
            yield Target(f"extraction over the fastest peer, texts {_name(order)}", least, bound)
    for bare in find_rows(found, contestant=BARE):
        share = compare_rates(ours[0], bare)
        yield Target("extraction over a bare forward pass, same batches", share, 0.95)
    agreements = [row["agreement"] for row in found if "agreement" in row]
    if agreements:
        what = "least cosine of an emotion's contrast with a peer's"
        yield Target(what, min(agreements), SAME_CONTRASTS)


def _check_steering(rows: Sequence[Row]) -> Iterator[Target]:
    for task, what in (("generate", "steered generation"), ("score", "steered log-odds")):
        found = find_rows(rows, task=task)
        ours = find_rows(found, contestant=OURS)
        peers = [row for row in found if row["contestant"] != OURS]
        if ours and peers:
            least = min(compare_rates(ours[0], peer) for peer in peers)
            yield Target(f"{what} over the fastest peer, one condition at a time", least, 3.0)


def _check_slopes(rows: Sequence[Row]) -> Iterator[Target]:
    found = {row["order"]: row for row in find_rows(rows, task="slopes")}
    if not {"forward", "finite", "gradients-171"} <= set(found):
        return
    exact, finite = found["gradients-171"], found["finite"]
    passes = compare_seconds(exact, found["forward"])
    yield Target("slope matrix of 171 emotions, in forward passes", passes, 4.0, False)
    times = compare_seconds(finite, exact) * exact["amount"] / finite["amount"]
    yield Target("slope matrix of 171 emotions over finite steering", times, 50.0)
    yield Target("correlation of slopes with finite steering", finite["agreement"], 0.98)


def _name(order: str) -> str:
    return {"file": "in file order", "sorted": "sorted by length"}[order]
