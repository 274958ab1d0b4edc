"""Planning figures, the report and what is published."""

from __future__ import annotations

from collections.abc import Mapping

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.errors import EmodriftError
from emodrift.plan.entries import SCRIPTS, Plan
from emodrift.store.entry import Entry

FIGURES = {
    "drift_trajectories": ("drift",),
    "layer_map": ("drift",),
    "emotion_map": ("drift",),
    "emotion_paths": ("drift",),
    "effect_matrix": ("coupling",),
    "dose_response": ("coupling",),
    "effect_profile": ("coupling",),
    "indicators": ("indicators", "coupling"),
    "sensitivity": ("sensitivity",),
}
"""Figure -> the stages whose tables it draws; each has a module of its name in ``emodrift.show``.
It is drawn in studies that have those stages.
"""


def plan_figures(
    plan: Plan, summaries: Mapping[str, Entry], reference: Checkpoint
) -> dict[str, Entry]:
    """Every figure whose tables a study has.

    Raises
    ------
    EmodriftError
        A palette is for no figure.
    """
    section = plan.study.figures
    unknown = sorted(set(section.palettes) - set(FIGURES))
    if unknown:
        raise EmodriftError(
            f"figures.palettes names {unknown[0]!r}, which is no figure; known: "
            f"{', '.join(FIGURES)}"
        )
    return {
        name: plan.add(
            "figure",
            {
                "figure": name,
                "width": section.width,
                "palette": section.palettes.get(name),
                "reference": {
                    "run": reference.run,
                    "stage": reference.stage,
                    "step": reference.step,
                },
            },
            inputs={"tables": {stage: summaries[stage] for stage in needed}},
            label=name,
            code=[str(SCRIPTS / "figure.py"), f"emodrift.show.{name}"],
        )
        for name, needed in FIGURES.items()
        if summaries.keys() >= set(needed)
    }


def plan_publication(
    plan: Plan, summaries: Mapping[str, Entry], figures: Mapping[str, Entry], lock: Entry
) -> Entry:
    """The report, and the entry that a finished study publishes."""
    study = plan.study
    report = plan.add(
        "report",
        {
            "study": study.name,
            "description": study.description,
            "config": study.model_dump(mode="json", exclude={"compute"}),
            "checkpoints": len(plan.checkpoints),
        },
        inputs={"lock": lock, "tables": summaries, "figures": tuple(figures.values())},
        label=study.name,
    )
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
    return plan.add(
        "publication",
        {"study": study.name, "index": index},
        inputs={"report": report, "tables": summaries, "figures": figures},
        label=study.name,
    )
