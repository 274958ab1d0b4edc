"""The tables of docs/validation.md, between its markers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from validation.calibration import CAUTIOUS
from validation.figures import REQUIRED
from validation.parts import fill_parts


def fill_page(tables: dict[str, pd.DataFrame], page: Path) -> None:
    """Write the tables into the page.

    Parameters
    ----------
    tables
        coverage, uniformity, smallest, intervals.
    page
        Markdown with markers ``<!-- name: begin -->`` and ``<!-- name: end -->``.
    """
    parts = {
        "coverage": list_coverage(tables["coverage"]),
        "short": list_short(tables["coverage"]),
        "uniformity": list_uniformity(tables["uniformity"]),
        "power": list_power(tables["smallest"]),
        "finite": describe_finite(tables["intervals"]),
    }
    text = page.read_text(encoding="utf-8")
    page.write_text(fill_parts(text, parts), encoding="utf-8")


def list_coverage(coverage: pd.DataFrame) -> str:
    """A row for each quantity, over its planted values."""
    rows = []
    promised = coverage[coverage["promised"] & (coverage["repetitions"] > 0)]
    for label, cells in promised.groupby("label", sort=False):
        low, high = REQUIRED
        inside = cells["coverage"].between(low, high)
        rows.append(
            {
                "quantity": label,
                "planted": _join(cells["planted"], "{:.3g}"),
                "repetitions of each": int(cells["repetitions"].min()),
                "bias": _span(cells["bias"], "{:+.3f}"),
                "coverage": _join(cells["coverage"], "{:.3f}"),
                f"within {low:.2f}–{high:.2f}": f"{inside.sum()} of {len(cells)}",
            }
        )
    return _format(rows)


def list_short(coverage: pd.DataFrame) -> str:
    """A row for each quantity that does not estimate what is planted."""
    rows = [
        {
            "quantity": label,
            "planted": _join(cells["planted"], "{:.3g}"),
            "bias": _join(cells["bias"], "{:+.3f}"),
            "coverage": _join(cells["coverage"], "{:.2f}"),
        }
        for label, cells in coverage[~coverage["promised"]].groupby("label", sort=False)
    ]
    return _format(rows)


def list_uniformity(uniformity: pd.DataFrame) -> str:
    """A row for each p-value."""
    rows = [
        {
            "p-value": row["test"],
            "repetitions": row["repetitions"],
            "KS p": f"{row['ks_p']:.3f}" if row["ks_p"] >= 0.001 else "< .001",
            "p ≤ .05": f"{row['below_05']:.3f} ({row['lowest']:.3f}–{row['highest']:.3f})",
            "": "cautious" if any(c in row["test"] for c in CAUTIOUS) else "",
        }
        for _, row in uniformity.iterrows()
    ]
    return _format(rows)


def list_power(smallest: pd.DataFrame) -> str:
    """Smallest turns by topics and stories."""
    rows = []
    for topics, cells in smallest.groupby("topics"):
        row: dict[str, object] = {"topics": topics}
        for _, cell in cells.iterrows():
            name = f"{cell['checkpoints']}, {cell['stories']} a topic"
            row[name] = f"{cell['smallest_turn']:.1f}°"
        rows.append(row)
    return _format(rows)


def describe_finite(intervals: pd.DataFrame) -> str:
    """How slopes follow the read-out in planted models, and how finite steering agrees."""
    rows = intervals[intervals["quantity"] == "model: finite over exact slope"]
    scaled = intervals[intervals["quantity"] == "model: scaled slope"]
    error = (scaled["estimate"] / scaled["truth"] - 1).abs().max()
    low, high = rows["estimate"].min(), rows["estimate"].max()
    return (
        f"In models whose read-out is halved or doubled, slopes are so to within {error:.0e}, and "
        f"finite steering by a twentieth of the residual norm gives {low:.3f} to {high:.3f} of "
        f"them (correlation over prompts and directions at least {rows['correlation'].min():.4f})."
    )


def _join(values: pd.Series, form: str) -> str:
    return " ".join(form.format(v) for v in values)


def _span(values: pd.Series, form: str) -> str:
    ends = [form.format(v) for v in (values.min(), values.max())]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def _format(rows: Sequence[Mapping[str, object]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(v) for v in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
