"""The plan of a study's own training: its base, and a run after the one that it starts from."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path

from emodrift.checkpoints.places import read_model
from emodrift.config.training import list_data_files
from emodrift.plan.entries import Plan
from emodrift.store.digest import digest_value
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests


def plan_training(plan: Plan, digests: FileDigests) -> dict[str, Entry]:
    """Plan the runs of the `training` section.

    Parameters
    ----------
    plan
        Gets their entries.
    digests
        Memory of file digests.

    Returns
    -------
    dict
        Run -> entry with its checkpoints.

    Raises
    ------
    EmodriftError
        The base or the data cannot be found.
    """
    section = plan.study.training
    if section is None:
        return {}
    base = read_model(
        section.base,
        "training.base",
        digests,
        plan.study.compute.allow_pickle,
        plan.store / "revisions.json",
    )
    folder = Path(section.data).expanduser()
    data = digest_value(
        {p.name: digests.digest(p) for p in list_data_files(folder, "training.data")}
    )
    leaves = {"base": base.digest, "data": data}
    context = {"location": base.location, "data": str(folder), "locations": [base.location]}
    prepared = plan.add(
        "training-base",
        {"reply_tokens": section.reply_tokens},
        leaves=leaves,
        context=context,
        label=f"base {section.base}",
    )
    planned: dict[str, Entry] = {}
    starts = {name: [r.start] if r.start else [] for name, r in section.runs.items()}
    for name in TopologicalSorter(starts).static_order():
        recipe = section.runs[name]
        planned[name] = plan.add(
            "training",
            {
                "recipe": recipe.model_dump(mode="json", exclude={"start"}),
                "replay": section.replay,
                "reply_tokens": section.reply_tokens,
                "dtype": section.dtype,
            },
            inputs={"base": prepared} | ({"start": planned[recipe.start]} if recipe.start else {}),
            leaves=leaves,
            context=context,
            label=f"training {name}",
        )
    return planned
