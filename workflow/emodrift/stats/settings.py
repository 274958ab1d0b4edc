"""How sure a study asks to be."""

from __future__ import annotations

from typing import NamedTuple


class Statistics(NamedTuple):
    """Config: the `statistics` section.

    draws: of each bootstrap. level: of intervals. nulls: random directions or shuffles that an
    estimate is held against.
    """

    draws: int
    level: float
    nulls: int = 0
