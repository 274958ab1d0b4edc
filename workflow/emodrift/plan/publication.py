"""Planning figures, the report and what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.config.running import Panel
from emodrift.config.study import Study
from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.plan.together import plan_together
from emodrift.show.figures import Declaration, list_figures
from emodrift.store.entry import Entry

DRAWING = "emodrift.show.figure:draw_figure"


def plan_figures(
    plan: Plan, summaries: Mapping[str, Entry], reference: Checkpoint
) -> dict[str, Entry]:
    """Every figure whose tables a study has, and those that its config asks for.

    Raises
    ------
    EmodriftError
        A panel is of no figure, or of one whose tables the study does not make, or names a run or
        emotion that the study lacks.
    """
    declared = list_figures()
    there = [n for n, figure in declared.items() if summaries.keys() >= figure.needed]
    asked = plan.study.figures.panels
    panels = {name: asked.get(name, Panel()) for name in there} | asked
    entries = {}
    for name, panel in panels.items():
        figure = panel.figure or name
        _check_panel(plan.study, name, panel, declared, there)
        entries[name] = plan.add(
            "figure",
            {
                "name": name,
                "figure": figure,
                "scene": _describe_scene(plan, panel, reference),
            },
            inputs={"tables": declared[figure].pick(summaries)},
            label=name,
            code=[DRAWING, f"emodrift.show.figures.{figure}"],
        )
    if entries:
        plan_together(plan, list(entries.values()))
    return entries


def _check_panel(
    study: Study, name: str, panel: Panel, declared: Mapping[str, Declaration], there: list[str]
) -> None:
    figure, place = panel.figure or name, f"figures.panels.{name}"
    if figure not in declared:
        raise EmodriftError(f"{place}: {figure!r} is no figure; known: {', '.join(declared)}")
    if figure not in there:
        needed = ", ".join(sorted(declared[figure].needed))
        raise EmodriftError(f"{place}: {figure} draws {needed}, which this study does not make")
    for key, names, known in (
        ("runs", panel.runs, list(study.runs)),
        ("emotions", panel.emotions, study.contrasts.emotions),
    ):
        unknown = [n for n in names if n not in known]
        if unknown:
            raise EmodriftError(
                f"{place}.{key} names {unknown[0]!r}, which the study lacks: {', '.join(known)}"
            )


def _describe_scene(plan: Plan, panel: Panel, reference: Checkpoint) -> dict[str, Any]:
    """What a figure is told, as :class:`emodrift.show.scene.Scene` takes it."""
    study = plan.study
    later = plan.checkpoints[plan.checkpoints.index(reference) + 1 :]
    indicators, metrics = study.indicators, study.behaviours.metrics
    return {
        "reference": {"run": reference.run, "stage": reference.stage, "step": reference.step},
        "bundles": {k: list(v) for k, v in study.contrasts.bundles.items()},
        "sound": list(study.sound_runs),
        "goes_on": any(checkpoint.run == reference.run for checkpoint in later),
        "caution": indicators.caution,
        "harmful": metrics[indicators.refusal].suite,
        "benign": metrics[indicators.benign].suite,
        "level": study.statistics.level,
        "width": panel.width or study.figures.width,
        "height": panel.height,
        "runs": list(panel.runs),
        "emotions": list(panel.emotions),
        "names": study.figures.names,
        "palette": panel.palette,
    }


def plan_publication(
    plan: Plan, summaries: Mapping[str, Entry], figures: Mapping[str, Entry], lock: Entry
) -> Entry:
    """The report, and the entry that a finished study publishes."""
    study = plan.study
    index = [
        {
            "run": c.run,
            "step": c.step,
            "stage": c.stage,
            "tokens": c.tokens,
            "digest": c.digest,
        }
        for c in plan.checkpoints
    ]
    report = plan.add(
        "report",
        {
            "name": study.name,
            "description": study.description,
            "config": study.model_dump(mode="json", exclude={"compute"}),
            "checkpoints": index,
        },
        inputs={"lock": lock, "tables": summaries, "figures": tuple(figures.values())},
        label=study.name,
    )
    return plan.add(
        "publication",
        {"study": study.name, "index": index},
        inputs={"report": report, "tables": summaries, "figures": figures},
        label=study.name,
    )
