"""The numbers that the report's explorer draws: series over checkpoints, by measure and item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from emodrift.config.names import say
from emodrift.drift.table import read_table
from emodrift.show.report.evals import read_external
from emodrift.show.scene import Reference
from emodrift.show.timeline import Timeline
from emodrift.warning.indicators import TITLES

DIGITS = 4
MOST_ROWS = 20_000


def gather_series(entries: Mapping[str, Any], reference: Reference, level: float) -> dict[str, Any]:
    """Everything that the explorer can show.

    Returns
    -------
    dict
        ``axis``: ticks (place, label) and stages (name, start, end). ``runs``: names in order.
        ``measures``: name, what a value is, and ``items``: name -> rows of run number, place on the
        axis, step, value, low and high (null where there is none).
    """
    drift = read_table(entries["drift"], "drift")
    timeline = Timeline(drift, reference)
    runs = list(dict.fromkeys(drift["run"]))
    measures = [
        {"name": name, "unit": unit, "items": _collect(table, timeline, runs)}
        for name, unit, table in list_measures(entries, level)
    ]
    return {
        "axis": {
            "ticks": sorted(
                {
                    (round(stage.place(step), 3), f"{step:g}")
                    for stage in timeline.stages.values()
                    for step in (stage.steps[0], stage.steps[-1])
                }
            ),
            "stages": [
                (name, stage.start, stage.start + stage.length)
                for name, stage in timeline.stages.items()
            ],
        },
        "runs": runs,
        "measures": measures,
    }


def list_measures(
    entries: Mapping[str, Any], level: float
) -> Iterable[tuple[str, str, pd.DataFrame]]:
    """Name, unit and table of each measure: item, checkpoint, place, value, low, high."""
    drift, evocation, coupling = (entries[n] for n in ("drift", "evocation", "coupling"))
    indicators = read_table(entries["indicators"], "indicators")
    yield (
        "Indicators",
        "value of the indicator",
        indicators.assign(item=indicators["indicator"].map(TITLES)),
    )
    behaviour = read_table(coupling, "behaviour").rename(columns={"probability": "value"})
    yield (
        "Behaviour evals",
        "probability",
        behaviour.assign(item=behaviour["metric"] + ", " + behaviour["split"]),
    )
    if "evals" in entries:
        yield "Evals of other tools", "score", read_external(entries["evals"], level)
    turned = read_table(drift, "drift")
    for column, words in (("corrected", "corrected"), ("same_confounds", "same confounds")):
        yield (
            f"Direction, {words}",
            "cosine with the reference",
            _bound(turned, column).assign(item=turned["concept"]),
        )
    layers = read_table(drift, "layers")
    yield (
        "Direction by layer",
        "mean corrected cosine with the reference",
        _bound(layers, "corrected").assign(item="layer " + layers["layer"].astype(str)),
    )
    used = read_table(evocation, "evocation")
    yield (
        "Use: harmful over benign prompts",
        "AUROC of the projection",
        _bound(used, "auroc").assign(item=used["concept"] + ", " + used["split"]),
    )
    effects = read_table(coupling, "effects")
    if len(effects) > MOST_ROWS:
        effects = effects[effects["bundle"]]
    yield (
        "Effect on behaviour",
        "slope, log-odds per residual norm",
        _bound(effects, "slope").assign(item=effects["concept"] + " → " + effects["metric"]),
    )


def _collect(
    table: pd.DataFrame, timeline: Timeline, runs: list[str]
) -> dict[str, list[list[Any]]]:
    items: dict[str, list[list[Any]]] = {}
    for item, rows in table.groupby("item", sort=False):
        found = items.setdefault(say(str(item)), [])
        for number, run in enumerate(runs):
            trace = timeline.trace(rows, run)
            found += [
                [number, round(row["place"], DIGITS), int(row["step"])]
                + [_shorten(row.get(name)) for name in ("value", "low", "high")]
                for row in trace.to_dict("records")
                if pd.notna(row["value"])
            ]
    return items


def _bound(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A table whose named column is ``value``, with its interval."""
    known = {name: "value", f"{name}_low": "low", f"{name}_high": "high"}
    return table.drop(columns=["low", "high"], errors="ignore").rename(columns=known)


def _shorten(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(f"{value:.{DIGITS}g}")
