"""Planning the tables over all checkpoints."""

from __future__ import annotations

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.plan.descriptions import describe_fitting, describe_metrics, describe_summary
from emodrift.plan.entries import Plan
from emodrift.store.entry import Entry


def plan_summaries(
    plan: Plan,
    reference: Checkpoint,
    lock: Entry,
    activations: list[Entry],
    vectors: list[Entry],
    twin: Entry,
    responses: list[Entry],
) -> dict[str, Entry]:
    """Entries over all checkpoints of a chain, by stage."""
    study = plan.study
    common = describe_summary(plan)
    origin = {"reference": plan.checkpoints.index(reference)}
    intervals = {"statistics": study.statistics.model_dump(mode="json")}
    section = study.indicators.model_dump(mode="json")
    metrics = describe_metrics(study)
    drift = plan.add(
        "drift",
        common
        | origin
        | intervals
        | {
            "fitting": describe_fitting(study),
            "ratings": {e: r.model_dump() for e, r in study.contrasts.ratings.items()},
        },
        inputs={
            "vectors": tuple(vectors),
            "activations": tuple(activations),
            "twin": twin,
            "lock": lock,
        },
        label="all checkpoints",
    )
    evocation = plan.add(
        "evocation",
        common | intervals | {"indicators": section, "metrics": metrics},
        inputs={
            "activations": tuple(activations),
            "lock": lock,
        },
        label="all checkpoints",
    )
    coupling = plan.add(
        "coupling",
        common | intervals | {"metrics": metrics},
        inputs={
            "activations": tuple(activations),
            "responses": tuple(responses),
            "lock": lock,
        },
        label="all checkpoints",
    )
    fragmentation = plan.add(
        "fragmentation",
        common | intervals | {"confound_variance": study.vectors.confound_variance},
        inputs={"activations": tuple(activations), "lock": lock},
        label="all checkpoints",
    )
    indicators = plan.add(
        "indicators",
        {
            **common,
            **origin,
            **intervals,
            "indicators": section,
            "metrics": metrics,
            "roles": {name: run.role for name, run in study.runs.items()},
            "alarms": study.alarms.model_dump(mode="json"),
        },
        inputs={"evocation": evocation, "coupling": coupling},
        label="all checkpoints",
    )
    return {
        "drift": drift,
        "evocation": evocation,
        "coupling": coupling,
        "fragmentation": fragmentation,
        "indicators": indicators,
    }
