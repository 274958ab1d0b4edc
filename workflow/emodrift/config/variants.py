"""The config section of variants of a study: the same config with a few keys changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from emodrift.config.section import Name, Section

VARIED: Mapping[str, tuple[str, ...]] = {
    "contrasts": (),
    "activations": (),
    "vectors": (),
    "steering": (),
    "behaviours": ("phrasing_score",),
    "compute": ("dtype",),
}
"""Section -> its keys that a variant may change; none named: all."""
AS_CONFIGURED = "as configured"
"""What the study's own choices are called beside its variants."""


class Sensitivity(Section):
    """How much the conclusions move when the study's choices are made otherwise."""

    checkpoints: Literal["ends", "all"] = "ends"
    """Checkpoints that variants are measured on: `ends`, the reference and the last of every run,
    or `all`. Thresholds depend on how many checkpoints there are: compare alarms with those of the
    study as configured at the same checkpoints, which is measured beside the variants."""
    variants: dict[Name, dict[str, Any]] = Field(min_length=1)
    """Name -> sections and keys that differ from the study's own, as in
    `{layer-3: {vectors: {layer: 3}}}`. Mappings are merged, lists replaced. May change `contrasts`,
    `activations`, `vectors`, `steering`, `behaviours.phrasing_score` and `compute.dtype`."""


def merge_changes(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Values with changes put in: mappings are merged key by key, all else is replaced."""
    merged = dict(values)
    for key, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge_changes(merged[key], change) if both else change
    return merged


def find_fixed(changes: Mapping[str, Any]) -> str | None:
    """First key, dotted, that a variant may not change; None where it may change all it names."""
    for section, change in changes.items():
        if section not in VARIED:
            return section
        for key in change if VARIED[section] and isinstance(change, Mapping) else ():
            if key not in VARIED[section]:
                return f"{section}.{key}"
    return None


def list_varied() -> str:
    """What a variant may change, in words."""
    return ", ".join(
        ".".join([section, key]) for section, keys in VARIED.items() for key in (keys or "*")
    )
