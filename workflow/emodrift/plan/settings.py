"""Settings that a stage over all checkpoints may ask for by name, as plain values for its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from emodrift.checkpoints.checkpoint import Checkpoint
from emodrift.errors import EmodriftError
from emodrift.plan.descriptions import (
    describe_checkpoints,
    describe_fitting,
    describe_judge,
    describe_metrics,
    list_steered,
)
from emodrift.plan.entries import Plan


class Asking(NamedTuple):
    """A plan and the reference among its checkpoints."""

    plan: Plan
    reference: Checkpoint


def _dump(section: str) -> Callable[[Asking], Any]:
    return lambda asking: getattr(asking.plan.study, section).model_dump(mode="json")


SETTINGS: dict[str, Callable[[Asking], Any]] = {
    "checkpoints": lambda asking: describe_checkpoints(asking.plan.checkpoints),
    "reference": lambda asking: asking.plan.checkpoints.index(asking.reference),
    "steered": lambda asking: list_steered(
        asking.plan.study, asking.plan.checkpoints, asking.reference
    ),
    "seed": lambda asking: asking.plan.study.seed,
    "statistics": _dump("statistics"),
    "indicators": _dump("indicators"),
    "alarms": _dump("alarms"),
    "fitting": lambda asking: describe_fitting(asking.plan.study),
    "metrics": lambda asking: describe_metrics(asking.plan.study),
    "roles": lambda asking: {name: run.role for name, run in asking.plan.study.runs.items()},
    "ratings": lambda asking: {
        e: r.model_dump() for e, r in asking.plan.study.contrasts.ratings.items()
    },
    "judge": lambda asking: describe_judge(asking.plan.study),
}
"""Setting -> its value: the labels of all checkpoints; the number of the reference; those of
checkpoints that are steered; sections of the config; how vectors are fitted; metrics without their
words; run -> role; emotion -> valence and arousal; who judges replies.
"""


def find_setting(name: str, asking: Asking) -> tuple[str, Any]:
    """Parameter and value of a setting or of a key of the config.

    Raises
    ------
    EmodriftError
        There is no such setting.
    """
    if name in SETTINGS:
        return name, SETTINGS[name](asking)
    value: Any = asking.plan.study
    try:
        for word in name.split("."):
            value = getattr(value, word)
    except AttributeError:
        raise EmodriftError(
            f"a stage asks for setting {name!r}, which is no key of the config and none of "
            f"{', '.join(SETTINGS)}"
        ) from None
    return name.rpartition(".")[2], value
