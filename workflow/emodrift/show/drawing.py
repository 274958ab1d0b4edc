"""What a figure's module returns."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure


class Drawing(NamedTuple):
    """A figure, the exact numbers in it as a tidy table, and words that say what is seen.

    title: what the figure is about, in a few words. caption: sentences computed from the data.
    """

    figure: Figure
    data: pd.DataFrame
    title: str
    caption: str
