"""Drawing one figure: the module of its name draws, this one sets the style and saves."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from emodrift.drift.table import read_table
from emodrift.show.drawing import Drawing
from emodrift.show.figures import list_figures
from emodrift.show.scene import Reference, Scene
from emodrift.show.style import apply_style
from emodrift.stage import OPTIONAL
from emodrift.store.job import Job, make_missing

METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


def draw_missing(figures: Iterable[Mapping[str, Any]], store: Path, processes: int = 1) -> None:
    """Draw what is missing of some figures, each an entry of its own.

    Parameters
    ----------
    figures
        Entries as plain values; ``params`` and ``inputs`` are arguments of :func:`draw_figure`.
    store
        Root of the store.
    processes
        How many draw.
    """

    def make(job: Job) -> None:
        draw_figure(**job.params, **job.inputs, out=job.out)

    make_missing(figures, store, make, processes)


def draw_figure(
    name: str, figure: str, scene: Mapping[str, Any], tables: Mapping[str, Path], out: Path
) -> None:
    """Draw a figure as ``figure.pdf``, ``.svg`` and ``.png``.

    Its numbers are written to ``figure.csv``, its title and caption to ``figure.json``.

    Parameters
    ----------
    name
        What the figure is published as.
    figure
        Which figure it is, a module of :mod:`emodrift.show.figures`.
    scene
        See :class:`emodrift.show.scene.Scene`; its ``reference`` as a mapping.
    tables
        Stage -> entry whose tables are drawn.
    out
        Directory to write to.
    """
    apply_style()
    setting = Scene(**{**scene, "reference": Reference(**scene["reference"])})
    drawing = draw(figure, read_tables(figure, tables), setting)
    drawing.figure.draw_without_rendering()
    drawing.figure.set_layout_engine("none")  # laid out once, not for every format
    for suffix, metadata in METADATA.items():
        drawing.figure.savefig(out / f"figure.{suffix}", metadata=metadata)
    plt.close(drawing.figure)
    drawing.data.to_csv(out / "figure.csv", index=False, float_format="%.6g")
    text = {"name": name, "figure": figure, "title": drawing.title, "caption": drawing.caption}
    (out / "figure.json").write_text(json.dumps(text, indent=1) + "\n")


def draw(figure: str, tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """The drawing that a figure's module makes of its tables."""
    return importlib.import_module(f"emodrift.show.figures.{figure}").draw(tables, scene)


def read_tables(figure: str, entries: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """The tables that a figure declares, by name.

    Parameters
    ----------
    entries
        Stage -> entry; those of stages that the figure can do without may be missing.
    """
    reads = {stage.removesuffix(OPTIONAL): t for stage, t in list_figures()[figure].reads.items()}
    return {
        table: read_table(entry, table)
        for stage, entry in entries.items()
        for table in reads.get(stage, ())
    }
