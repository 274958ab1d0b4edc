"""The plan of a study's organisms: a run after the one that it starts from."""

from __future__ import annotations

from graphlib import TopologicalSorter

from emodrift.plan.entries import Plan
from emodrift.store.entry import Entry


def plan_organisms(plan: Plan) -> dict[str, Entry]:
    """Plan the runs of the `organism` section.

    Returns
    -------
    dict
        Run -> entry with its checkpoints.
    """
    if plan.study.organism is None:
        return {}
    section = plan.study.organism
    planned: dict[str, Entry] = {}
    starts = {name: [r.start] if r.start else [] for name, r in section.runs.items()}
    for name in TopologicalSorter(starts).static_order():
        recipe = section.runs[name]
        planned[name] = plan.add(
            "organism",
            {
                "recipe": recipe.model_dump(mode="json"),
                "model": section.model.model_dump(mode="json"),
                "seed": section.seed,
            },
            inputs={"start": planned[recipe.start]} if recipe.start else {},
            label=f"organism {name}",
        )
    return planned
