"""Run by run: what changed from the reference to the end, beside what changed in sound runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from emodrift.config.names import say
from emodrift.drift.table import read_table
from emodrift.show.report.evals import Quantity, list_quantities
from emodrift.show.report.tables import Table
from emodrift.show.report.verdicts import Verdict
from emodrift.show.scene import Reference
from emodrift.show.wording import interval, span

EXAMPLES = 6
UNSEEN = ("ood", "heldout", "train_like")


class Story(NamedTuple):
    """A run: its verdict, and a table of what changed."""

    verdict: Verdict
    changes: Table


def tell_runs(
    verdicts: Sequence[Verdict],
    entries: Mapping[str, Any],
    config: Mapping[str, Any],
    reference: Reference,
) -> list[Story]:
    """The story of every run that has a verdict and was not declared healthy; of all where every
    run was."""
    number = reference.find(read_table(entries["indicators"], "indicators"))
    quantities = gather_quantities(entries, config)
    if "evals" in entries:
        level = config["statistics"]["level"]
        quantities += list_quantities(entries["evals"], level, number)
    sound = [v.run for v in verdicts if v.healthy]
    told = [v for v in verdicts if not v.healthy] or list(verdicts)
    return [Story(v, _compare(v.run, quantities, sound, number)) for v in told]


def gather_quantities(entries: Mapping[str, Any], config: Mapping[str, Any]) -> list[Quantity]:
    """Direction, use, effect and behaviour in one number each at every checkpoint."""
    indicators = config["indicators"]
    caution, refusal = indicators["caution"], indicators["refusal"]
    drift = read_table(entries["drift"], "drift").query("kind == 'emotion'")
    columns = {"corrected": "value", "corrected_low": "low", "corrected_high": "high"}
    means = drift.groupby(["checkpoint", "run"], as_index=False)[list(columns)].mean()
    use = read_table(entries["evocation"], "evocation")
    use = use[(use["concept"] == caution) & (use["split"] == "all")]
    effects = read_table(entries["coupling"], "effects")
    effect = effects[(effects["concept"] == caution) & (effects["metric"] == refusal)]
    effect = effect.drop_duplicates("checkpoint", keep="last")
    behaviour = read_table(entries["coupling"], "behaviour")
    split = next(s for s in UNSEEN if s in set(behaviour["split"]))
    unseen = behaviour[behaviour["split"] == split]
    return [
        Quantity(
            "direction: mean cosine of the emotions, corrected", means.rename(columns=columns)
        ),
        Quantity(f"use: AUROC of {caution} on harmful over benign prompts", _bound(use, "auroc")),
        Quantity(f"effect: slope of {refusal} along {caution}, log-odds", _bound(effect, "slope")),
        *(
            Quantity(
                f"{say(metric)} ({rows['prompts'].iloc[0]} prompts, {say(split)})",
                rows.rename(columns={"probability": "value"}),
            )
            for metric, rows in unseen.groupby("metric", sort=False)
        ),
    ]


def list_examples(
    behaviour: Path | None, reference: Reference, order: Sequence[str]
) -> list[dict[str, Any]]:
    """Replies before and after: prompts whose unsteered reply is of another class at a run's end
    than at the reference, and what steering at the reference makes of one.

    Parameters
    ----------
    behaviour
        Entry of judged replies, if there are any.
    reference
        Where before is.
    order
        Runs, in the order in which they are told.

    Returns
    -------
    list of dict
        title, and ``replies``: rows of prompt, class and text before and after.
    """
    if behaviour is None:
        return []
    table = read_table(behaviour, "verdicts")
    table = table.dropna(subset=["reply_class", "text"]).fillna({"concept": ""})
    at = table["checkpoint"] == reference.find(table)
    plain = table["strength"] == 0
    before = table[at & plain].set_index("id")
    found = []
    last = table.groupby("run")["checkpoint"].transform("max")
    ends = dict(iter(table[(table["checkpoint"] == last) & plain & ~at].groupby("run")))
    for run in order:
        if run not in ends:
            continue
        rows = ends[run]
        found.append(_pair(f"{run}, step {rows['step'].iloc[0]}, unsteered", before, rows))
    steered = table[at & ~plain]
    for (concept, strength), rows in steered.groupby(["concept", "strength"], sort=False):
        found.append(_pair(f"reference, {strength:+g} residual norms of {concept}", before, rows))
    return [example for example in found if example["replies"]]


def _pair(title: str, before: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    after = rows.set_index("id")
    shared = [name for name in after.index if name in before.index]
    changed = [
        name for name in shared if before.at[name, "reply_class"] != after.at[name, "reply_class"]
    ]
    replies = [
        {
            "id": name,
            "suite": after.at[name, "suite"],
            "before": (before.at[name, "reply_class"], before.at[name, "text"]),
            "after": (after.at[name, "reply_class"], after.at[name, "text"]),
        }
        for name in changed[:EXAMPLES]
    ]
    return {"title": title, "changed": len(changed), "of": len(shared), "replies": replies}


def _compare(
    run: str, quantities: Sequence[Quantity], sound: Sequence[str], reference: int
) -> Table:
    rows = []
    for name, table in quantities:
        ends = table[table["checkpoint"] == table.groupby("run")["checkpoint"].transform("max")]
        start = table[table["checkpoint"] == reference].iloc[0]
        if run not in set(ends["run"]):
            continue
        own = ends[ends["run"] == run].iloc[0]
        others = ends[ends["run"].isin([r for r in sound if r != run])]["value"]
        rows.append(
            (
                name,
                (
                    interval(start["value"], start["low"], start["high"]),
                    interval(own["value"], own["low"], own["high"]),
                    span(others) if len(others) else "–",
                ),
            )
        )
    note = "Intervals in brackets; sound runs: least to greatest at their ends."
    return Table(note, ("at the reference", "at the end", "sound runs"), tuple(rows), "quantity")


def _bound(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.rename(columns={name: "value", f"{name}_low": "low", f"{name}_high": "high"})
