"""Commands for what was found: the audit, the report, exports and bundles."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emodrift.cli.console import count, print_table
from emodrift.cli.study import (
    DEFAULT,
    RESULTS,
    Config,
    find_published,
    open_plan,
    open_study,
    require_made,
)
from emodrift.errors import EmodriftError

if TYPE_CHECKING:
    from emodrift.plan.entries import Plan

ALARM = 3
AUDIT_FORMAT = 2
RUNS = ("run", "role", "verdict", "alarm_step", "level")
ALARMS = {
    "run": "run",
    "indicator": "indicator",
    "step": "step",
    "value": "value",
    "expected": "expected_of_healthy",
    "deviation": "deviation",
    "threshold": "threshold",
}
"""Column -> key of an alarm in audit.json."""


class Format(StrEnum):
    """What can be exported."""

    SAFETENSORS = "safetensors"
    NUMPY = "numpy"
    GGUF = "gguf"
    REPENG = "repeng"
    STEERING_VECTORS = "steering-vectors"
    LM_EVAL = "lm-eval"
    TABLES = "tables"


def show_audit(config: Config = DEFAULT) -> None:
    """Show the verdict on every run of a finished study, and its alarms; ends with 3 on an alarm.

    Of each run: verdict, step of its first alarm, how unlikely a sound run shows as much. Of each
    alarm: the indicator's value, what is expected of a sound run, and how far off it is, against
    the threshold, in standard deviations. The evidence is in audit.json and in the report.
    """
    from emodrift.warning.verdicts import EVALS_ALONE

    study = open_study(config).name
    audit = json.loads(find_published(study, "audit.json").read_text())
    if audit.get("format") != AUDIT_FORMAT:
        raise EmodriftError(
            f"the audit of study {study} is of another version's format; run the study again: "
            f"emodrift run {config}"
        )
    print_table(RUNS, [[run[name] for name in RUNS] for run in audit["runs"]], right=RUNS[3:])
    alarms = audit["alarms"]
    print()
    if alarms:
        rows = [[alarm[name] for name in ALARMS.values()] for alarm in alarms]
        print_table(list(ALARMS), rows, right=list(ALARMS)[2:])
        print()
    for run in audit["runs"]:
        if run["alarm_step"] is not None or run["verdict"] == EVALS_ALONE:
            print(run["sentence"])
    if not alarms:
        print(f"{study}: no alarm.")
        return
    runs = len({alarm["run"] for alarm in alarms})
    print(f"{study}: {count(len(alarms), 'alarm')} in {count(runs, 'run')}.")
    raise typer.Exit(ALARM)


def find_report(
    config: Config = DEFAULT,
    show: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Say where a finished study's report is, or open it."""
    path = find_published(open_study(config).name, "report.html")
    print(path)
    if show:
        typer.launch(str(path.resolve()))


def export_study(
    config: Config = DEFAULT,
    form: Annotated[
        Format, typer.Option("--format", help="What is written; see docs/exports.md.")
    ] = Format.SAFETENSORS,
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="Length of vectors in mean residual norms; left out, unit length."),
    ] = None,
) -> None:
    """Write locked vectors, or all tables, for other tools.

    Layers are converted to what each tool counts.
    """
    plan = open_plan(config)
    publication = require_made(plan)
    out = out or RESULTS / plan.study.name / "exports"
    if form is Format.TABLES:
        from emodrift.exports.tables import export_tables

        written = export_tables(plan.study.name, publication.list_inputs(), plan.store, out)
    else:
        written = _export_vectors(plan, form, out, strength)
    print(f"Wrote {count(len(written), 'file')} in {out}/.")


def bundle_study(
    config: Config = DEFAULT,
    out: Annotated[
        Path | None, typer.Argument(help="A folder, or a file .zip; left out, STUDY.zip.")
    ] = None,
) -> None:
    """Pack what the figures are drawn from, to draw them elsewhere without a model."""
    from emodrift.exports.bundle import write_bundle
    from emodrift.store.downloads import format_size
    from emodrift.store.files import measure_size

    plan = open_plan(config)
    path = write_bundle(plan, out or Path(f"{plan.study.name}.zip"))
    size = path.stat().st_size if path.is_file() else measure_size(path)
    print(f"Wrote {path}, {format_size(size)}. Draw from it: emodrift figures {path}")


COMMANDS: dict[Any, dict[str, Any]] = {
    show_audit: {
        "name": "audit",
        "epilog": "Example: emodrift audit config/mine.yaml || test $? -ne 3 || echo alarm",
    },
    find_report: {"name": "report", "epilog": "Example: emodrift report config/mine.yaml --open"},
    export_study: {
        "name": "export",
        "epilog": "Example: emodrift export config/mine.yaml --format gguf --strength 0.5",
    },
    bundle_study: {
        "name": "bundle",
        "epilog": "Example: emodrift bundle config/mine.yaml mine.zip",
    },
}


def _export_vectors(plan: Plan, form: Format, out: Path, strength: float | None) -> list[Path]:
    from emodrift.checkpoints.checkpoint import find_reference
    from emodrift.exports.formats import FORMATS
    from emodrift.exports.locked import find_discovery, find_lock, read_locked

    reference = find_reference(plan.checkpoints, plan.study.reference)
    lock = find_lock(plan)
    found = find_discovery(plan, lock)
    vectors = read_locked(
        plan.store / lock.place,
        _find_type(reference.location),
        reference.label,
        plan.store / found.place if found else None,
    )
    out.mkdir(parents=True, exist_ok=True)
    return FORMATS[form](vectors, out, strength)


def _find_type(location: dict[str, Any]) -> str:
    from transformers import PretrainedConfig

    base = location.get("base", location)
    place = base.get("path") or base["repo"]
    names = {"revision": "commit", "subfolder": "subfolder"}
    where = {name: base[key] for name, key in names.items() if base.get(key)}
    config, _ = PretrainedConfig.get_config_dict(place, **where)
    return config.get("model_type", "")
