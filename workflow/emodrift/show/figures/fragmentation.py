"""Figure: whether each emotion is still one direction, at the reference and each run's end."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.panels import AT_REFERENCE, make_grid, pick_ends, write_across
from emodrift.show.scene import Scene
from emodrift.show.style import GREY, INK, TEXT, darken
from emodrift.show.wording import count, span

READS = {"fragmentation": ("fragmentation",)}
CHAPTER = "direction"
COLUMNS = 4
ROW = 0.135
UNMEASURED = "not measurable: no two stories share emotion and topic"
SIGNIFICANT = 0.05


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """Effective rank of each emotion's topic vectors, a panel for each run that is watched.

    Ring: the reference; dot with interval: the run's end; bar: mean where stories are dealt out to
    topics anew. A number beside a dot: into how many sub-directions it fell, if more than one.
    """
    table = tables["fragmentation"]
    ends = pick_ends(table, scene.reference, scene.watched(table["run"]))
    number = ends.pop(AT_REFERENCE)
    ends = ends or {scene.reference.run: number}
    emotions = scene.choose_emotions(table["concept"])
    start = table[table["checkpoint"] == number].set_index("concept").reindex(emotions)
    figure, grid = make_grid(scene, len(ends), COLUMNS, 0.5 + ROW * len(emotions))
    for axes, (run, checkpoint) in zip(grid.flat, ends.items(), strict=False):
        now = table[table["checkpoint"] == checkpoint].set_index("concept").reindex(emotions)
        axes.set_title(scene.name(run))
        if now["rank"].isna().all():
            write_across(axes, UNMEASURED, 30)
        for place, emotion in enumerate(emotions):
            row, colour = now.loc[emotion], scene.colour(emotion)
            axes.hlines(place, row["rank_low"], row["rank_high"], color=colour, lw=0.9)
            axes.plot(row["rank"], place, "o", color=colour)
            axes.plot(start.at[emotion, "rank"], place, "o", mfc="none", mec=INK, ms=4.2, mew=0.7)
            axes.plot(row["rank_shuffled"], place, "|", color=GREY, ms=5)
            if row["sub_directions"] > 1:
                axes.annotate(
                    f"{row['sub_directions']:.0f}",
                    (row["rank_high"], place),
                    (2, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize="small",
                )
        axes.set_yticks(range(len(emotions)), map(scene.name, emotions))
        for tick, emotion in zip(axes.get_yticklabels(), emotions, strict=False):
            tick.set_color(darken(scene.colour(emotion)))
        axes.set_ylim(len(emotions) - 0.5, -0.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.92", lw=0.6)
        axes.set_axisbelow(True)
    figure.supxlabel("effective rank of an emotion's topic vectors", fontsize=TEXT)
    shown = table[table["checkpoint"].isin([number, *ends.values()])]
    return Drawing(figure, shown, "Fragmentation", _describe(table, number, ends, scene))


def _describe(table: pd.DataFrame, number: int, ends: Mapping[str, int], scene: Scene) -> str:
    if table["rank"].isna().all():
        return f"Effective rank is {UNMEASURED}."
    sentences = [
        f"Effective rank is {span(table.loc[table['checkpoint'] == number, 'rank'], '.1f')} over "
        "emotions at the reference"
    ]
    for run, checkpoint in ends.items():
        now = table[table["checkpoint"] == checkpoint]
        alike = int((now["q"] <= SIGNIFICANT).sum())
        parts = int((now["sub_directions"] > 1).sum())
        sentences.append(
            f"at the end of {scene.name(run)} {span(now['rank'], '.1f')}: {count(parts, len(now))} "
            f"of the emotions fell into sub-directions, and stories of a topic are more alike than "
            f"chance in {count(alike, len(now))}"
        )
    return (
        "; ".join(sentences)
        + f". Whiskers: {scene.percent} intervals; bars: mean where topics are shuffled."
    )
