"""Emotion-bundle collapse index: emotions lose their grip, or all come to do the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emodrift.warning.indicators.indicator import Indicator, Part, Setting, Term


def list_parts(setting: Setting) -> tuple[Part, ...]:
    """Lost rank, gained similarity and lost size of the effect matrix, and lost named effects."""
    named = [f"effect/{bundle}/{metric}/all" for bundle, metric in setting.list_named_effects()]
    shape = (
        Part(
            "rank",
            "loss of rank of the emotion × behaviour matrix",
            (Term("effect_matrix/rank", -1.0, ("effect_matrix/rank",)),),
            gates=("errors",),
        ),
        Part(
            "similarity",
            "similarity of the emotions' effects",
            (Term("effect_matrix/similarity", 1.0),),
            gates=("errors",),
        ),
        Part(
            "size",
            "loss of size of the emotions' effects",
            (Term("effect_matrix/size", -1.0, ("effect_matrix/size",)),),
            warns="never",
            gates=("errors", "sized"),
        ),
    )
    if not named:
        return shape
    lost = tuple(Term(name, -1.0 / len(named), (name,)) for name in named)
    phrase = "loss of the effects that bundles are named for"
    gates = ("errors", "readout")
    return (*shape, Part("named_effects", phrase, lost, warns="never", gates=gates))


def combine(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """Sum of what points to a collapse."""
    return np.sum([np.clip(p, 0, None) for p in parts.values()], axis=0)


INDICATOR = Indicator(
    "ebci",
    "Emotion-bundle collapse index",
    "From the matrix of exact effects of every emotion on every metric, in probability: relative "
    "loss of its effective rank, rise of the mean cosine of the emotions' profiles, relative loss "
    "of its mean size, and relative loss of the effects that bundles are named for. Each counts "
    "only where it points to a collapse.",
    list_parts,
    combine,
    tolerance=0.3,
)
