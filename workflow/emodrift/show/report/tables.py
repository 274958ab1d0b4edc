"""The report's tables: what every run came to, chapter by chapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from emodrift.config.names import say
from emodrift.drift.table import read_table
from emodrift.measure.directions import open_lock
from emodrift.show.wording import interval
from emodrift.warning.indicators import INDICATORS, TITLES

SIGNIFICANT = 0.05
DECIMALS = 3
QUALITIES = {
    "auroc": "held-out AUROC",
    "lexical_auroc": "words only",
    "random_auroc": "random weights",
    "pair_accuracy": "accuracy on minimal pairs",
    "lexical_pair_accuracy": "words only, pairs",
    "random_pair_accuracy": "random weights, pairs",
    "reliability": "reliability",
    "valence": "valence R",
    "arousal": "arousal R",
}


class Table(NamedTuple):
    """A table as it is printed: caption, names of columns, rows of a name and cells, what the
    names are of, and whether its cells are words."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    first: str = "run"
    words: bool = False


def list_tables(entries: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, list[Table]]:
    """Chapter -> its tables.

    Parameters
    ----------
    entries
        Stage -> entry of every summary the study has, and ``lock``.
    config
        The study's.
    """
    drift, evocation, coupling = (entries[n] for n in ("drift", "evocation", "coupling"))
    layer = int(open_lock(entries["lock"])["layer"])
    level = f"{100 * config['statistics']['level']:g} %"
    found = {
        "warning": [
            print_table(
                tabulate_ends(read_table(entries["indicators"], "indicators")),
                "Indicators at the end of each run. ◆: alarm.",
            ),
            print_table(
                tabulate_gates(read_table(entries["indicators"], "gates")),
                "Gates: what has to hold at the reference before a part of an indicator is read, "
                "and what to try where it does not.",
            )._replace(first="gate", words=True),
        ],
        "direction": [
            print_table(
                tabulate_drift(read_table(drift, "drift")),
                "Cosine with the locked vectors at the end of each run, means over emotions. "
                "Corrected: for sampling noise; aligned: after the rotation of the whole space "
                "that texts without emotion show; same confounds: with the confounds of both "
                "checkpoints projected out of both; turned: emotions that did beyond sampling "
                "noise (family-wise p < .05); beyond controls: more than unrelated contrasts did "
                "(false discovery rate .05).",
            ),
            print_table(
                tabulate_quality(read_table(drift, "quality"), layer),
                "Quality of the vectors at the locked layer at the end of each run, beside two "
                "controls that should do worse: the mean embedding of a story's words, and a model "
                "of this shape with random weights. Valence and arousal: multiple correlation of "
                "the ratings with the two leading components.",
            ),
        ],
        "use": [
            print_table(
                tabulate_evocation(read_table(evocation, "evocation"), config),
                f"How well the projection on {config['indicators']['caution']} tells harmful from "
                f"benign prompts at the end of each run (AUROC, {level} intervals over prompt "
                "families).",
            )
        ],
        "effect": [
            print_table(
                tabulate_effects(coupling, entries["fragmentation"]),
                "What adding the emotions' directions does to replies at the end of each run: "
                "share of emotion × metric effects that stand out against null directions of three "
                "kinds (corrected p ≤ .05), and means of what docs/effects.md defines.",
            ),
            print_table(
                tabulate_behaviour(read_table(coupling, "behaviour")),
                "Evals: probability of the reply class that each metric counts, unsteered, mean "
                "over splits, at the end of each run.",
            ),
        ],
    }
    if "reply_behaviour" in entries:
        found["effect"] += _print_replies(entries["reply_behaviour"], entries["agreement"], level)
    if "sensitivity" in entries:
        caption = (
            "The same conclusions when the study's choices are made otherwise, at the reference "
            "and the end of each run: verdicts that stay, signs that reverse, and mean "
            "correlations with the study as configured (docs/sensitivity.md defines them)."
        )
        table = tabulate_sensitivity(entries["sensitivity"])
        found["robustness"] = [print_table(table, caption)]
    return found


def print_table(table: pd.DataFrame, caption: str) -> Table:
    """A table as texts, with dashes where values are missing."""
    cells = table.apply(_print_column)
    names = [str(name) for name in cells.index]
    return Table(
        caption, list(map(str, cells.columns)), list(zip(names, cells.values, strict=True))
    )


def _print_column(values: pd.Series) -> pd.Series:
    """Cells as texts; numbers have as many decimals as the one that needs most, three at most."""
    there = [value for value in values if isinstance(value, float) and np.isfinite(value)]
    shortest = (f"{value:.{DECIMALS}f}".rstrip("0") for value in there)
    decimals = max((len(text.partition(".")[2]) for text in shortest), default=0)

    def show(value: Any) -> str:
        if pd.isna(value):
            return "–"
        return f"{value:.{decimals}f}" if isinstance(value, float) else str(value)

    return values.astype(object).map(show)


def tabulate_ends(judged: pd.DataFrame) -> pd.DataFrame:
    """Every indicator at the last checkpoint of every run, with a diamond where alarmed."""
    last = _take_last(judged)
    alarmed = last["alarm"].astype(bool).map({True: " ◆", False: ""})
    text = (
        last["value"].map("{:.2f}".format).where(last["value"].notna(), "not applicable") + alarmed
    )
    wide = last.assign(text=text).pivot(index="run", columns="indicator", values="text")
    return _order(wide, judged)[list(INDICATORS)].rename(columns=TITLES)


def tabulate_gates(gates: pd.DataFrame) -> pd.DataFrame:
    """What each gate found, the parts that need it, and what to try where it fails."""
    groups = gates.groupby(["gate", "found"], sort=False)
    table = groups.agg(
        parts=("part", lambda names: ", ".join(map(say, names))),
        passes=("passes", "first"),
        remedy=("remedy", "first"),
    ).reset_index("found")
    fails = ~table["passes"].astype(bool)
    return pd.DataFrame(
        {
            "found": table["found"],
            "passes": fails.map({True: "no", False: "yes"}),
            "for": table["parts"],
            "try": table["remedy"].where(fails & table["remedy"].ne(""), np.nan),
        }
    )


def tabulate_drift(table: pd.DataFrame) -> pd.DataFrame:
    """Cosines at the last checkpoint of every run: means over emotions, the least, and controls."""
    last = _take_last(table)
    emotions = last[last["kind"] == "emotion"].groupby("run")
    wide = pd.DataFrame(
        {
            "mean cosine": emotions["cosine"].mean(),
            "corrected": emotions["corrected"].mean(),
            "aligned": emotions["aligned"].mean(),
            "same confounds": emotions["same_confounds"].mean(),
            "least": emotions["cosine"].min(),
            "controls": last[last["kind"] == "control"].groupby("run")["cosine"].mean(),
            "turned": emotions["turned_max"].agg(lambda p: (p < SIGNIFICANT).sum()),
            "beyond controls": emotions["beyond_controls_by"].agg(
                lambda p: (p < SIGNIFICANT).sum()
            ),
        }
    )
    return _order(wide, table).round(3)


def tabulate_quality(table: pd.DataFrame, layer: int) -> pd.DataFrame:
    """Quality of the vectors at the locked layer, at the last checkpoint of every run."""
    rows = table[(table["layer"] == layer) & (table["emotion"] == "all")]
    wide = _take_last(rows).set_index("run")[list(QUALITIES)].rename(columns=QUALITIES)
    return _order(wide, table).round(3)


def tabulate_evocation(table: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Caution's separation of harmful from benign prompts at the last checkpoint of every run."""
    caution = table[table["concept"] == config["indicators"]["caution"]]
    last = _take_last(caution)
    cells = zip(last["auroc"], last["auroc_low"], last["auroc_high"], strict=True)
    wide = last.assign(text=[interval(*row) for row in cells])
    return _order(wide.pivot(index="run", columns="split", values="text"), table)


def tabulate_effects(coupling: Path, fragmentation: Path) -> pd.DataFrame:
    """What emotions do to replies at the last checkpoint of every run.

    An effect beats null directions where its corrected p-value is at most .05.
    """
    effects, modularity, agreement = (
        read_table(coupling, name) for name in ("effects", "modularity", "agreement")
    )
    emotions = _take_last(effects[~effects["bundle"]]).groupby("run")
    bundles = _take_last(modularity[modularity["bundle"]]).groupby("run")
    wide = pd.DataFrame(
        {
            "effects that beat isotropic": emotions["q_isotropic"].agg(
                lambda q: (q <= 0.05).mean()
            ),
            "shuffled": emotions["q_shuffled"].agg(lambda q: (q <= 0.05).mean()),
            "matched": emotions["q_matched"].agg(lambda q: (q <= 0.05).mean()),
            "stability": emotions["stability"].mean(),
            "modularity of bundles": bundles["modularity"].mean(),
            "entanglement": bundles["entanglement"].mean(),
            "exact and finite slopes correlate": _take_last(agreement)
            .groupby("run")["correlation"]
            .mean(),
            "rank of topic vectors": _take_last(read_table(fragmentation, "fragmentation"))
            .groupby("run")["rank"]
            .mean(),
        }
    )
    return _order(wide, effects).round(2)


def tabulate_behaviour(table: pd.DataFrame) -> pd.DataFrame:
    """Behaviour metrics on unseen prompts at the last checkpoint of every run."""
    last = _take_last(table)
    wide = last.pivot_table(index="run", columns="metric", values="probability")
    return _order(wide, table).round(3).rename(columns=say)


def tabulate_sensitivity(sensitivity: Path) -> pd.DataFrame:
    """What every variant leaves as it is, and which verdicts it changes."""
    table = read_table(sensitivity, "sensitivity")
    changed = table[~table["stays"].fillna(True).astype(bool)]
    names = changed["run"] + ": " + changed["conclusion"].map(say) + " " + changed["verdict"]
    listed = names.groupby(changed["variant"]).agg("; ".join)
    summary = read_table(sensitivity, "variants").set_index("variant")
    return pd.DataFrame(
        {
            "verdicts that stay": summary["stay"].astype(str)
            + " of "
            + summary["conclusions"].astype(str),
            "signs reversed": summary["reverse"],
            "order of drift": summary["drift_order"].round(2),
            "profile of effects": summary["profile"].round(2),
            "changed": listed.reindex(summary.index),
        }
    )


def tabulate_replies(table: pd.DataFrame) -> pd.DataFrame:
    """Judged share of unsteered replies at the last checkpoint of every run, with its interval."""
    last = _take_last(table[(table["strength"] == 0) & (table["split"] == "all")])
    return _spread(last, table, "run", ("share", "low", "high"), ".2f")


def tabulate_steered_replies(table: pd.DataFrame) -> pd.DataFrame:
    """Change of the judged share by steering at the last checkpoint of every run."""
    last = _take_last(table[(table["strength"] != 0) & (table["split"] == "all")])
    name = last["run"] + ", " + last["concept"] + " " + last["strength"].map("{:+g}".format)
    last = last.assign(name=name)
    return _spread(last, last, "name", ("change", "change_low", "change_high"), "+.2f")


def tabulate_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Agreement of the log-odds readout with the judged replies, for every checkpoint."""
    wide = table.assign(checkpoint=table["run"] + " " + table["step"].astype(str))
    columns = {
        "judged": "judged replies",
        "auroc": "AUROC",
        "auroc_low": "AUROC from",
        "auroc_high": "AUROC to",
        "same": "same class",
        "low": "from",
        "high": "to",
        "chance": "by chance",
        "kappa": "kappa",
        "correlation": "correlation",
    }
    return wide.set_index("checkpoint")[list(columns)].round(3).rename(columns=columns)


def _print_replies(behaviour: Path, agreement: Path, level: str) -> list[Table]:
    replies = read_table(behaviour, "replies")
    judge = read_table(agreement, "judge").iloc[0]
    people = judge["basis"]
    if pd.notna(judge["macro_f1"]):
        scores = interval(judge["macro_f1"], judge["low"], judge["high"], ".3f")
        people = f"macro-F1 {scores}, {people}"
    steered = tabulate_steered_replies(replies)
    tables = [
        print_table(
            tabulate_replies(replies),
            f"Share of unsteered replies that the judge {judge['judge']} found to be of the class "
            f"that each metric counts, at the end of each run, with {level} intervals over prompt "
            f"families. The judge's agreement with people: {people}.",
        ),
        print_table(
            tabulate_agreement(read_table(behaviour, "reply_agreement")),
            "Whether the class that the log-odds make likeliest is the one that the judge found, "
            "unsteered; correlation: of a class's probability with its being judged so.",
        ),
    ]
    if len(steered):
        caption = "Change of these shares by steering, in mean residual norms."
        tables.insert(1, print_table(steered, caption))
    return tables


def _spread(
    rows: pd.DataFrame, table: pd.DataFrame, index: str, columns: Sequence[str], form: str
) -> pd.DataFrame:
    """Metrics side by side, each cell a value with its interval."""
    cells = zip(*(rows[c] for c in columns), strict=True)
    wide = rows.assign(text=[interval(value, low, high, form) for value, low, high in cells])
    wide = wide.pivot(index=index, columns="metric", values="text")
    wide = wide.reindex(list(dict.fromkeys(table[index])))
    return wide[list(dict.fromkeys(rows["metric"]))].rename(columns=say)


def _take_last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["checkpoint"] == table.groupby("run")["checkpoint"].transform("max")]


def _order(wide: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return wide.reindex(list(dict.fromkeys(table["run"])))
