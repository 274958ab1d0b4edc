"""Figure: how replies follow the strength of steering, at the reference and each run's end."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from emodrift.show.drawing import Drawing
from emodrift.show.labels import End, label_ends
from emodrift.show.panels import AT_REFERENCE, draw_band, make_grid, mark_bundles, pick_ends
from emodrift.show.scene import Scene
from emodrift.show.style import FAINT, INK, TEXT
from emodrift.show.wording import interval

READS = {"coupling": ("dose", "effects")}
CHAPTER = "effect"
COLUMNS, HEIGHT = 3, 1.75
PANELS = 12


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """A panel for each bundle and metric that is named for it: change of the metric's probability
    over strength, with interval; of all pairs where no metric is named for a bundle."""
    dose = mark_bundles(tables["dose"], ["checkpoint", "metric", "strength"], scene.bundles)
    effects = mark_bundles(tables["effects"], ["checkpoint", "metric"], scene.bundles)
    runs = scene.watched(dose["run"])
    ends = pick_ends(dose, scene.reference, runs)
    marks = {AT_REFERENCE: (INK, "o")} | scene.mark_runs(dose["run"])
    effects = effects[effects["bundle"]]
    pairs = effects[effects["named"] | ~effects["named"].any()]
    pairs = pairs[["concept", "metric"]].drop_duplicates().head(PANELS)
    shown = dose[dose["bundle"] & dose["checkpoint"].isin(ends.values())]
    shown = shown.merge(pairs, on=["concept", "metric"])
    figure, grid = make_grid(scene, len(pairs), COLUMNS, HEIGHT)
    low, high = shown["probability_low"].min(), shown["probability_high"].max()
    for axes, (concept, metric) in zip(grid.flat, pairs.values, strict=False):
        panel = shown[(shown["concept"] == concept) & (shown["metric"] == metric)]
        axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
        axes.axvline(0, color=FAINT, lw=0.6, zorder=0)
        axes.set_ylim(low - 0.03, high + 0.03)
        names = {}
        for title, number in ends.items():
            line = panel[panel["checkpoint"] == number].sort_values("strength")
            colour, marker = marks[title]
            axes.plot(line["strength"], line["probability"], color=colour, marker=marker)
            draw_band(
                axes, line["strength"], line["probability_low"], line["probability_high"], colour
            )
            last = line.iloc[-1]
            names[scene.name(title)] = End(last["strength"], last["probability"], colour)
        axes.set_title(f"{scene.name(concept)} → {scene.name(metric)}")
        label_ends(axes, names, HEIGHT - 0.5)
    figure.supxlabel("strength of steering, mean residual norms", fontsize=TEXT)
    figure.supylabel("change of probability", fontsize=TEXT)
    caption = _describe(shown, pairs, ends, scene)
    return Drawing(figure, shown, "Dose and response of steering", caption)


def _describe(
    shown: pd.DataFrame, pairs: pd.DataFrame, ends: Mapping[str, int], scene: Scene
) -> str:
    strength = shown["strength"].max()
    top = shown[shown["strength"] == strength].set_index(["concept", "metric", "checkpoint"])
    sentences = []
    for concept, metric in pairs.drop_duplicates("concept").values:
        values = []
        for title, number in ends.items():
            row = top.loc[(concept, metric, number)]
            text = interval(
                row["probability"], row["probability_low"], row["probability_high"], "+.2f"
            )
            values.append(
                f"{text} in {scene.name(title)}".replace(" in reference", " at the reference")
            )
        sentences.append(
            f"{strength:g} residual norms of {scene.name(concept)} change {scene.name(metric)} by "
            f"{'; '.join(values)}."
        )
    sentences.append(f"Bands: {scene.percent} intervals over prompt families.")
    return " ".join(sentences)
