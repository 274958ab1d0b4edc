"""The report: one HTML page with figures, alarms and numbers, no network needed to read it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emodrift.drift.table import read_table
from emodrift.measure.directions import open_bundles, open_lock
from emodrift.show.panels import prettify
from emodrift.store.entry import read_manifest
from emodrift.warning.indicators import INDICATORS, TITLES

SIGNIFICANT = 0.05
QUALITIES = {
    "auroc": "held-out AUROC",
    "lexical_auroc": "words only",
    "random_auroc": "random weights",
    "pair_accuracy": "pairs told apart",
    "lexical_pair_accuracy": "words only, pairs",
    "random_pair_accuracy": "random weights, pairs",
    "reliability": "reliability",
    "valence": "valence R",
    "arousal": "arousal R",
}
CAPTIONS = {
    "drift_trajectories": "Cosine of each emotion vector with its locked reference; dashed: "
    "control contrasts unrelated to emotion; band: split-half cosines inside the reference "
    "(noise floor).",
    "layer_map": "Mean cosine with the reference, corrected for attenuation, over layers and "
    "checkpoints.",
    "emotion_map": "Cosines between emotion vectors in the order of the reference's cluster tree; "
    "lines part its clusters; ARI: agreement of a checkpoint's clusters with them (1: the same).",
    "emotion_paths": "Where the emotions move on the reference's leading components, in its frame "
    "after alignment by texts without emotion. Ring: reference; dot: the run's last other "
    "checkpoint.",
    "effect_matrix": "Effect of adding each locked direction on each behaviour metric; dots mark "
    "effects inside 1.96 standard deviations of random directions.",
    "dose_response": "Change of a metric's probability over the strength of steering, along the "
    "bundles that it is named for, with intervals.",
    "effect_profile": "How narrowly the bundles act on the metrics named for them, how many "
    "metrics they move, and how alike in all families of prompts; crosses: the mean of null "
    "directions that have the covariance of activations.",
    "indicators": "Indicators with alarms, the healthy runs' values dashed, over the behaviour "
    "evals on out-of-distribution prompts.",
    "sensitivity": "Conclusions at each run's end, of the study as configured and of each variant, "
    "with intervals; hollow: the verdict is not the study's own.",
}


def write_report(
    study: str,
    description: str,
    config: Mapping[str, Any],
    checkpoints: int,
    lock: Path,
    tables: Mapping[str, Path],
    figures: Sequence[Path],
    out: Path,
) -> None:
    """Render ``report.html``.

    Parameters
    ----------
    study, description, config, checkpoints
        Name, sentence, whole config and number of checkpoints.
    lock, figures
        Entries.
    tables
        Stage -> entry.
    out
        Directory to write to.
    """
    drift, evocation, coupling, fragmentation, indicators = (
        tables[stage] for stage in ("drift", "evocation", "coupling", "fragmentation", "indicators")
    )
    sensitivity = tables.get("sensitivity")
    locked = open_lock(lock)
    judged = read_table(indicators, "indicators")
    environment = Environment(
        loader=PackageLoader("emodrift.show"), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("report.html.j2").render(
        study=study,
        description=description,
        checkpoints=checkpoints,
        layer=int(locked["layer"]),
        bundles=open_bundles(lock),
        audit=json.loads((indicators / "audit.json").read_text()),
        titles=TITLES,
        figures=[_embed_figure(entry) for entry in figures],
        indicator_table=_to_html(tabulate_ends(judged)),
        drift_table=_to_html(tabulate_drift(read_table(drift, "drift"))),
        quality_table=_to_html(
            tabulate_quality(read_table(drift, "quality"), int(locked["layer"]))
        ),
        evocation_table=_to_html(tabulate_evocation(read_table(evocation, "evocation"), config)),
        effect_table=_to_html(tabulate_effects(coupling, fragmentation)),
        behaviour_table=_to_html(tabulate_behaviour(read_table(coupling, "behaviour"))),
        sensitivity_table=_to_html(tabulate_sensitivity(sensitivity)) if sensitivity else None,
        replies=_show_replies(tables) if "conduct" in tables else None,
        level=config["statistics"]["level"],
        packages=read_manifest(indicators)["packages"],
        config=yaml.safe_dump(dict(config), sort_keys=False, width=100),
    )
    (out / "report.html").write_text(page, encoding="utf-8")


def tabulate_ends(judged: pd.DataFrame) -> pd.DataFrame:
    """Every indicator at the last checkpoint of every run, with an asterisk where alarmed."""
    last = _take_last(judged)
    text = last["value"].map("{:.2f}".format) + last["alarm"].map({True: " *", False: ""})
    wide = last.assign(text=text).pivot(index="run", columns="indicator", values="text")
    return _order(wide, judged)[list(INDICATORS)].rename(columns=TITLES)


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
    wide = last.pivot(index="run", columns="split", values="auroc")
    return _order(wide, table).round(3).add_prefix("AUROC, ")


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
    return _order(wide, table).round(3).rename(columns=prettify)


def tabulate_sensitivity(sensitivity: Path) -> pd.DataFrame:
    """What every variant leaves as it is, and which verdicts it changes."""
    table = read_table(sensitivity, "sensitivity")
    changed = table[~table["stays"].fillna(True).astype(bool)]
    names = changed["run"] + ": " + changed["conclusion"].map(prettify) + " " + changed["verdict"]
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
        "same": "same class",
        "low": "from",
        "high": "to",
        "chance": "by chance",
        "kappa": "kappa",
        "correlation": "correlation",
    }
    return wide.set_index("checkpoint")[list(columns)].round(3).rename(columns=columns)


def _show_replies(tables: Mapping[str, Path]) -> dict[str, Any]:
    conduct = tables["conduct"]
    replies = read_table(conduct, "replies")
    steered = tabulate_steered_replies(replies)
    return {
        "judge": read_table(tables["agreement"], "judge").iloc[0].to_dict(),
        "table": _to_html(tabulate_replies(replies)),
        "steered": None if steered.empty else _to_html(steered),
        "agreement": _to_html(tabulate_agreement(read_table(conduct, "reply_agreement"))),
    }


def _spread(
    rows: pd.DataFrame, table: pd.DataFrame, index: str, columns: Sequence[str], form: str
) -> pd.DataFrame:
    """Metrics side by side, each cell a value with its interval."""
    value, low, high = (rows[c].map(f"{{:{form}}}".format) for c in columns)
    text = (value + " (" + low + " to " + high + ")").where(rows[columns[0]].notna(), "–")
    wide = rows.assign(text=text).pivot(index=index, columns="metric", values="text")
    wide = wide.reindex(list(dict.fromkeys(table[index])))
    return wide[list(dict.fromkeys(rows["metric"]))].rename(columns=prettify)


def _take_last(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["checkpoint"] == table.groupby("run")["checkpoint"].transform("max")]


def _order(wide: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    return wide.reindex(list(dict.fromkeys(table["run"])))


def _to_html(table: pd.DataFrame) -> Markup:
    table = table.rename_axis(index=None, columns=None)
    return Markup(table.to_html(border=0, na_rep="–"))


def _embed_figure(entry: Path) -> dict[str, str]:
    name = read_manifest(entry)["params"]["figure"]
    data = base64.b64encode((entry / "figure.svg").read_bytes()).decode()
    return {
        "name": name,
        "caption": CAPTIONS[name],
        "source": f"data:image/svg+xml;base64,{data}",
    }
