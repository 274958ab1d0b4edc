"""Tables of all runs, written into docs/benchmarks.md between its markers.

Times of a CPU are shown as ratios within the run alone, for they tell little elsewhere; the result
files have them.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestants import BARE, CONTESTANTS, OURS
from benchmarks.targets import Row, check_targets, compare_rates, compare_seconds, find_rows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "results" / "benchmarks"
OF_GPUS = ("tokens/s", "conditions/s", "seconds", "share of matrix throughput")
OPENS, CLOSES = "<!-- tables -->", "<!-- end of tables -->"


def main() -> None:
    """Render every result, and say which targets were missed."""
    paths = sorted(RESULTS.glob("*.json"))
    if not paths:
        sys.exit(f"no results in {RESULTS}; run `make bench` first")
    runs = [json.loads(path.read_text()) for path in paths]
    PAGE.write_text(replace_tables(PAGE.read_text(), "\n\n".join(map(render_run, runs))))
    for path, run in zip(paths, runs, strict=True):
        for target in check_targets(run["rows"]):
            if not target.met:
                print(f"{path.name}: missed: {target.what}: {target.found:.3g}")


def replace_tables(page: str, tables: str) -> str:
    """The page with other tables between its markers."""
    before, _, rest = page.partition(OPENS)
    _, _, after = rest.partition(CLOSES)
    return f"{before}{OPENS}\n{tables}\n{CLOSES}{after}"


def render_run(run: dict[str, Any]) -> str:
    """All tables of a run."""
    rows = run["rows"]
    parts = [
        render_heading(run),
        "Targets:\n\n" + render_targets(rows),
        "Extraction: pooled activations of all layers.\n\n" + render_extraction(run),
    ]
    for task, title in (
        ("generate", "Steered generation, greedy replies to all prompts under each condition"),
        ("score", "Steered log-odds of all classes of reply, for all prompts"),
    ):
        if find_rows(rows, task=task):
            parts.append(f"{title}.\n\n" + render_steering(run, task))
    if find_rows(rows, task="slopes"):
        parts.append("Slope matrix, seven metrics.\n\n" + render_slopes(run))
    if find_rows(rows, task="growth"):
        parts.append("How emodrift's cost grows.\n\n" + render_growth(run))
    return "\n\n".join(parts)


def render_heading(run: dict[str, Any]) -> str:
    """What ran where."""
    shape, machine = run["shape"], run["machine"]
    place = machine.get("accelerator", machine["processor"])
    versions = {
        CONTESTANTS[name].label: ", ".join(
            f"{package} {version}" for package, version in worker["versions"].items()
        )
        for name, worker in run["workers"].items()
        if name != BARE
    }
    quick = " (a quick trial, of no worth as a measurement)" if run["quick"] else ""
    return "\n\n".join(
        [
            f"## {run['model']} on {place}{quick}",
            f"Random weights, {shape['layers']} layers × {shape['hidden']}, vocabulary "
            f"{shape['vocabulary']:,}, {run['dtype']}; {machine['threads']} threads of "
            f"{machine['cores']} cores, {machine['memory_gib']:.0f} GiB; {run['tokens']:,} tokens "
            f"in {run['amounts']['stories']} texts; {run['started']} UTC.",
            "Versions: " + "; ".join(f"{who}: {what}" for who, what in versions.items()) + ".",
        ]
    )


def render_targets(rows: Sequence[Row]) -> str:
    """Each target with what was found."""
    return _render_table(
        ("target", "bound", "found", "met"),
        (
            (
                target.what,
                f"{'≥' if target.at_least else '≤'} {target.bound:g}",
                f"{target.found:.4g}",
                "yes" if target.met else "**no**",
            )
            for target in check_targets(rows)
        ),
    )


def render_extraction(run: dict[str, Any]) -> str:
    """Speed of every contestant."""
    found = find_rows(run["rows"], task="extract")
    ours = find_rows(found, contestant=OURS)[0]
    work = 2 * run["shape"]["block_weights"] / run["matrix_flops"]
    return _render_measured(
        run,
        (
            "contestant",
            "texts",
            "batch",
            "tokens/s",
            "emodrift is × as fast",
            "share of matrix throughput",
            "memory added, MiB",
            "contrasts' least cosine",
        ),
        (
            (
                CONTESTANTS[row["contestant"]].label,
                "sorts itself" if row["contestant"] in (OURS, BARE) else row["order"],
                f"{row['batch']} {'tokens' if row['contestant'] in (OURS, BARE) else 'rows'}",
                f"{_find_rate(row):,.0f}",
                f"{compare_rates(ours, row):.2f}",
                f"{_find_rate(row) * work:.2f}",
                _find_memory(row),
                f"{row['agreement']:.6f}" if "agreement" in row else "",
            )
            for row in found
        ),
    )


def render_steering(run: dict[str, Any], task: str) -> str:
    """Speed of every contestant."""
    found = find_rows(run["rows"], task=task)
    ours = find_rows(found, contestant=OURS)[0]
    agreement = {"generate": "same replies", "score": "largest difference, nats"}[task]
    return _render_measured(
        run,
        (
            "contestant",
            "conditions",
            "conditions/s",
            "emodrift is × as fast",
            "memory added, MiB",
            agreement,
        ),
        (
            (
                CONTESTANTS[row["contestant"]].label,
                f"{row['amount']:g}" + (" at once" if row is ours else ", one at a time"),
                f"{_find_rate(row):.3g}",
                f"{compare_rates(ours, row):.2f}",
                _find_memory(row),
                f"{row['agreement']:.3g}" if "agreement" in row else "",
            )
            for row in found
        ),
    )


def render_slopes(run: dict[str, Any]) -> str:
    """Cost of the slope matrix by either way, in forward passes."""
    found = {row["order"]: row for row in find_rows(run["rows"], task="slopes")}
    forward, finite = found["forward"], found["finite"]
    lines = [_render_cost("forward passes over the prompts", forward, forward, 1)]
    for order, row in found.items():
        if order.startswith("gradients"):
            emotions = row["amount"]
            scale = emotions / finite["amount"]
            lines.append(_render_cost(f"{emotions} emotions, gradients", row, forward, 1))
            what = f"{emotions} emotions, finite steering (from {finite['amount']} of them)"
            lines.append(_render_cost(what, finite, forward, scale))
    return _render_measured(run, ("what", "seconds", "forward passes", "memory added, MiB"), lines)


def render_growth(run: dict[str, Any]) -> str:
    """Cost against amounts."""
    found = find_rows(run["rows"], task="growth")
    least: dict[str, Row] = {}
    for row in found:
        least.setdefault(row["along"], row)
    return _render_measured(
        run,
        ("number of", "amount", "× amount", "seconds", "× time", "memory added, MiB"),
        (
            (
                row["along"],
                row["amount"],
                f"{row['amount'] / least[row['along']]['amount']:.1f}",
                f"{_find_seconds(row):.2f}",
                f"{_find_seconds(row) / _find_seconds(least[row['along']]):.2f}",
                _find_memory(row),
            )
            for row in found
        ),
    )


def _render_cost(what: str, row: Row, forward: Row, scale: float) -> tuple[str, ...]:
    seconds, passes = scale * _find_seconds(row), scale * compare_seconds(row, forward)
    return what, f"{seconds:.1f}", f"{passes:.1f}", _find_memory(row)


def _find_seconds(row: Row) -> float:
    return statistics.median(turn["seconds"] for turn in row["rounds"])


def _find_rate(row: Row) -> float:
    return row["amount"] / _find_seconds(row)


def _find_memory(row: Row) -> str:
    return f"{max(turn['added_mib'] for turn in row['rounds']):.0f}"


def _render_measured(
    run: dict[str, Any], head: Sequence[str], lines: Iterable[Sequence[Any]]
) -> str:
    """A table; times and what depends on them alone are left out if they are of a CPU."""
    shown = [run["device"] != "cpu" or name not in OF_GPUS for name in head]
    kept = (list(itertools.compress(cells, shown)) for cells in (head, *lines))
    return _render_table(next(kept), kept)


def _render_table(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    table = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in table)


if __name__ == "__main__":
    main()
