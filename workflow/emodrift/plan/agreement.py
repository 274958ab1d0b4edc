"""Planning how the judge of replies agrees with people."""

from __future__ import annotations

from emodrift.plan.descriptions import describe_connection, describe_judge
from emodrift.plan.entries import Plan
from emodrift.plan.sources import find_file
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests


def plan_agreement(plan: Plan, digests: FileDigests) -> Entry:
    """The judge's agreement with human labels, the study's own or those in docs/judge.md."""
    study = plan.study
    annotations = study.generation.annotations if study.generation else None
    file = find_file("generation.annotations", annotations) if annotations else None
    return plan.add(
        "agreement",
        {"judge": describe_judge(study), "seed": study.seed},
        leaves={"annotations": digests.digest(file) if file else None},
        context={
            "annotations": str(file) if file else None,
            "connection": describe_connection(study),
        },
        label="judge and people",
    )
