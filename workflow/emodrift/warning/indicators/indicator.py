"""What an indicator is: signed parts, how they combine, when it applies, what it tolerates.

A part is a weighted sum of changes of components from the reference, in shares of what the
reference has. From that one definition follow its draws, its values along null directions and the
quantity that each prompt contributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from emodrift.warning.measured import Measured


class Term(NamedTuple):
    """A component's change from the reference, times a weight, over the size of the mean of other
    components at the reference (1 where `per` is empty)."""

    component: str
    weight: float
    per: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A signed quantity, 0 at the reference.

    Parameters
    ----------
    name
        Unique among all indicators' parts.
    phrase
        What it is, in words that follow "the".
    terms
        Summed.
    warns
        The direction in which it raises an alarm. A part that never does is followed all the same:
        it helps to tell what kind of failure an alarm is.
    gates
        Names of the validity gates that it needs; see :mod:`emodrift.warning.gates`.
    """

    name: str
    phrase: str
    terms: tuple[Term, ...]
    warns: Literal["rise", "fall", "never"] = "rise"
    gates: tuple[str, ...] = ()

    @property
    def sign(self) -> int:
        """1 where a rise warns, -1 where a fall does, 0 where nothing does."""
        return {"rise": 1, "fall": -1, "never": 0}[self.warns]


@dataclass(frozen=True)
class Setting:
    """What the config says of bundles, metrics and splits.

    metrics: name -> suite, toward, bundles ...; seen, unseen: splits.
    """

    caution: str
    refusal: str
    benign: str
    eagerness: str
    eager_metrics: tuple[str, ...]
    seen: str
    unseen: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, Any]]

    def list_named_effects(self) -> list[tuple[str, str]]:
        """Pairs of a bundle and a metric of safety that is named for it and should be raised."""
        return [
            (bundle, name)
            for name, metric in self.metrics.items()
            if metric.get("safety", True) and metric.get("desired", "more") == "more"
            for bundle in metric.get("bundles", ())
        ]


def read_setting(
    indicators: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]]
) -> Setting:
    """Setting of the config's `indicators` and `behaviours.metrics`."""
    return Setting(
        indicators["caution"],
        indicators["refusal"],
        indicators["benign"],
        indicators["eagerness"],
        tuple(indicators["eager_metrics"]),
        indicators["seen_split"],
        tuple(indicators["unseen_splits"]),
        metrics,
    )


@dataclass(frozen=True)
class Indicator:
    """An indicator of one kind of failure; 0 at the reference, and a rise warns.

    Parameters
    ----------
    name, title
        Its name in tables, and in words.
    docs
        What it is, in a sentence or two, for the report.
    list_parts
        From the setting to its parts.
    combine
        From parts' draws (..., draw) by name to the indicator's.
    tolerance
        Change of each part that counts as practically none, in the part's unit; the config's
        `indicators.tolerances` overrides it.
    """

    name: str
    title: str
    docs: str
    list_parts: Callable[[Setting], tuple[Part, ...]]
    combine: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    tolerance: float


def orient(values: np.ndarray, signs: np.ndarray | int) -> np.ndarray:
    """Values of parts so that a rise warns; their size where neither direction does.

    Parameters
    ----------
    values
        (..., part).
    signs
        (part,) of :attr:`Part.sign`.
    """
    return np.where(np.equal(signs, 0), np.abs(values), np.multiply(signs, values))


def measure_part(part: Part, measured: Measured) -> np.ndarray:
    """Draws (checkpoint, draw) of a part; draw 0 is the estimate."""
    return _sum_terms(part.terms, measured, measured.draws)


def measure_null(part: Part, measured: Measured) -> np.ndarray:
    """A part along null directions, (checkpoint, null); NaN where a component has none."""
    return _sum_terms(part.terms, measured, measured.nulls)


def list_missing(part: Part, measured: Measured) -> list[str]:
    """Components that a part needs and the study has not."""
    needed = [name for term in part.terms for name in (term.component, *term.per)]
    return [name for name in dict.fromkeys(needed) if name not in measured.draws]


def _sum_terms(
    terms: Sequence[Term], measured: Measured, source: Mapping[str, np.ndarray]
) -> np.ndarray:
    changes = [
        term.weight
        * (source[term.component] - source[term.component][measured.reference])
        / measured.get_scale(term.per)
        for term in terms
    ]
    return np.sum(changes, axis=0)
