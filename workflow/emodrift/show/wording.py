"""Numbers and lists in words, for captions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def join(names: Iterable[str]) -> str:
    """Names with commas and *and*."""
    listed = list(names)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def span(values: pd.Series, form: str = ".2f") -> str:
    """Least to greatest of the values that are there."""
    there = values.dropna()
    if there.empty:
        return "not measurable"
    low, high = (f"{v:{form}}" for v in (there.min(), there.max()))
    return low if low == high else f"{low} to {high}"


def count(some: int, of: int) -> str:
    """How many of how many."""
    if some in (0, of):
        return "none" if some == 0 else "all" if of > 1 else "it"
    return f"{spell(some)} of {of}"


def spell(number: int) -> str:
    """A small number as a word."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def interval(value: float, low: float, high: float, form: str = ".2f") -> str:
    """A value with its interval in brackets; a dash where it is missing."""
    if not np.isfinite(value):
        return "–"
    if not np.isfinite(low) or not np.isfinite(high):
        return f"{value:{form}}"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"
