"""The report: one HTML page with verdicts, figures and numbers, no network needed to read it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emodrift.config.names import say
from emodrift.drift.table import read_table
from emodrift.measure.directions import open_bundles, open_lock
from emodrift.show.figures import CHAPTERS, list_figures
from emodrift.show.report.evals import list_disagreements, list_eval_tables
from emodrift.show.report.explorer import gather_series
from emodrift.show.report.provenance import trace_origin
from emodrift.show.report.stories import list_examples, tell_runs
from emodrift.show.report.tables import list_tables
from emodrift.show.report.verdicts import read_verdicts, summarise
from emodrift.show.scene import Reference

FIRST = "indicators"
TITLES = {
    "warning": "All runs",
    "evals": "Evals: what other tools say",
    "direction": "Direction: which way the vectors point",
    "use": "Use: what prompts evoke",
    "effect": "Effect: what the vectors do to replies",
    "robustness": "Robustness: the same study with other choices",
}


class Study(NamedTuple):
    """What is told of a study besides its tables.

    name, description, config: of the study. checkpoints: run, stage, step, tokens and digest of
    each.
    """

    name: str
    description: str
    config: Mapping[str, Any]
    checkpoints: Sequence[Mapping[str, Any]]


def write_report(study: Study, entries: Mapping[str, Any], out: Path) -> None:
    """Render ``report.html``.

    Parameters
    ----------
    study
        What is not in the entries.
    entries
        Stage -> entry of every summary the study has, ``lock``, and ``figures``, a list.
    out
        Directory to write to.
    """
    audited = entries.get("evals", entries["indicators"])
    audit = json.loads((audited / "audit.json").read_text(encoding="utf-8"))
    verdicts = read_verdicts(audit, read_table(entries["indicators"], "indicators"))
    figures = [_embed_figure(entry) for entry in entries["figures"]]
    lock = entries["lock"]
    reference = Reference(*(audit["reference"][key] for key in Reference._fields))
    level = study.config["statistics"]["level"]
    words = f"{100 * level:g} %"
    tables = list_tables(entries, study.config)
    if "evals" in entries:
        tables["evals"] = list_eval_tables(entries["evals"], words)
    pages = PackageLoader("emodrift.show")
    environment = Environment(
        loader=pages,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["say"] = say
    page = environment.get_template("report.html.j2").render(
        study=study,
        reference=reference,
        rate=audit["false_alarm_rate"],
        level=words,
        caution=study.config["indicators"]["caution"],
        layer=int(open_lock(lock)["layer"]),
        bundles=open_bundles(lock),
        verdicts=verdicts,
        summary=summarise(verdicts),
        first=next((f for f in figures if f["name"] == FIRST), None),
        chapters=_group_figures(figures, tables),
        stories=tell_runs(verdicts, entries, study.config, reference),
        disagreements=list_disagreements(audit),
        examples=list_examples(
            entries.get("reply_behaviour"), reference, [v.run for v in verdicts]
        ),
        series=Markup(_write_json(gather_series(entries, reference, level))),
        origin=trace_origin(entries, study),
        config=yaml.safe_dump(dict(study.config), sort_keys=False, width=100),
        read=lambda name: Markup(pages.get_source(environment, name)[0]),
    )
    (out / "report.html").write_text(page, encoding="utf-8")


def _group_figures(
    figures: Sequence[Mapping[str, str]], tables: Mapping[str, list[Any]]
) -> list[dict[str, Any]]:
    """Chapters with their figures and tables; the first figure is shown on the first screen."""
    declared = list_figures()
    chapters = []
    for name in CHAPTERS:
        own = [f for f in figures if declared[f["figure"]].chapter == name and f["name"] != FIRST]
        if own or tables.get(name):
            chapter = {"id": name, "title": TITLES[name], "figures": own}
            chapters.append(chapter | {"tables": tables.get(name, [])})
    return chapters


def _embed_figure(entry: Path) -> dict[str, str]:
    text = json.loads((entry / "figure.json").read_text())
    data = base64.b64encode((entry / "figure.svg").read_bytes()).decode()
    return text | {"source": f"data:image/svg+xml;base64,{data}"}


def _write_json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
