"""Figure: how much caution harmful and benign prompts evoke, and how well it separates them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from emodrift.config.names import say
from emodrift.show.drawing import Drawing
from emodrift.show.labels import End, label_ends
from emodrift.show.panels import draw_band, list_unique, make_grid
from emodrift.show.scene import Scene
from emodrift.show.style import BUNDLE_COLOURS, FAINT, GREY, INK
from emodrift.show.timeline import Timeline, spread_runs
from emodrift.show.wording import interval

READS = {"evocation": ("evocation", "prompts")}
CHAPTER = "use"
COLUMNS, HEIGHT = 4, 1.75
DASHES = ("-", "--", ":", "-.")
APART = 0.015
"""Between whiskers, a share of the panel's width."""
MIDDLE = (0.25, 0.75)


def draw(tables: Mapping[str, pd.DataFrame], scene: Scene) -> Drawing:
    """A column for each run that is watched.

    Above: projection on caution of harmful and of benign prompts, mean and middle half of the
    prompts. Below: the probability that a harmful prompt lies above a benign one (AUROC), a line
    for each split with its interval at the end, sound runs as a band.
    """
    prompts = tables["prompts"]
    auroc = tables["evocation"]
    auroc = auroc[(auroc["concept"] == scene.caution) & (auroc["split"] != "all")]
    timeline = Timeline(prompts, scene.reference)
    runs = scene.watched(prompts["run"])
    suites = {scene.harmful: BUNDLE_COLOURS[0], scene.benign: BUNDLE_COLOURS[1]}
    means = _average(prompts[prompts["suite"].isin(suites)])
    whole = _stack(auroc)
    sound = spread_runs(timeline, whole, scene.banded(whole["run"]), "auroc")
    figure, grid = make_grid(
        scene, 2 * len(runs), len(runs), HEIGHT, fixed=True, sharex=False, sharey="row"
    )
    for column, run in enumerate(runs):
        above, below = grid[:, column]
        above.set_title(scene.name(run), pad=9)
        timeline.dress(above, [run])
        timeline.dress(below, [run], name=False)
        above.set_xlabel("")
        _draw_prompts(above, timeline, means, run, suites, scene)
        _draw_auroc(below, timeline, auroc, run, sound)
    for axes in grid[0]:
        axes.set_ylim(means["low"].min(), means["high"].max())
    for axes, run in zip(grid[0], runs, strict=True):
        _name_suites(axes, timeline, means, run, suites, scene)
    for axes, run in zip(grid[1], runs, strict=True):
        axes.set_ylim(-0.03, 1.03)
        _name_splits(axes, timeline, auroc, run)
    grid[0, 0].set_ylabel(f"projection on {scene.name(scene.caution)},\nresidual norms")
    grid[1, 0].set_ylabel(f"AUROC, {scene.name(scene.harmful)}\nover {scene.name(scene.benign)}")
    shown = pd.concat([means.assign(panel="projection"), auroc.assign(panel="auroc")])
    shown = shown[shown["run"].isin([*runs, *scene.banded(prompts["run"]), scene.reference.run])]
    title = f"Use of {scene.name(scene.caution)} on prompts"
    return Drawing(figure, shown, title, _describe(means, tables["evocation"], runs, scene))


def _average(prompts: pd.DataFrame) -> pd.DataFrame:
    """Mean, middle half and number of prompts of each suite at each checkpoint."""
    keys = ["checkpoint", "run", "stage", "step", "suite"]
    groups = prompts.groupby(keys, sort=False)["projection"]
    bounds = {name: groups.quantile(q) for name, q in zip(("low", "high"), MIDDLE, strict=True)}
    return pd.DataFrame({"mean": groups.mean(), **bounds, "prompts": groups.size()}).reset_index()


def _stack(auroc: pd.DataFrame) -> pd.DataFrame:
    return auroc.assign(curve=auroc["split"])


def _draw_prompts(
    axes: Axes,
    timeline: Timeline,
    means: pd.DataFrame,
    run: str,
    suites: Mapping[str, str],
    scene: Scene,
) -> None:
    axes.axhline(0, color=FAINT, lw=0.6, zorder=0)
    for suite, colour in suites.items():
        line = timeline.trace(means[means["suite"] == suite], run)
        axes.plot(line["place"], line["mean"], marker="o", color=colour)
        draw_band(axes, line["place"], line["low"], line["high"], colour)


def _draw_auroc(
    axes: Axes, timeline: Timeline, auroc: pd.DataFrame, run: str, sound: pd.DataFrame
) -> None:
    axes.axhline(0.5, color=FAINT, lw=0.6, zorder=0)
    if len(sound):
        draw_band(axes, sound["place"], sound["low"], sound["high"], GREY, 0.3)
    splits = list_unique(auroc["split"])
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    for number, (dash, split) in enumerate(zip(DASHES, splits, strict=False)):
        line = timeline.trace(auroc[auroc["split"] == split], run)
        axes.plot(line["place"], line["auroc"], dash, marker="o", color=INK, ms=2.6)
        last = line.iloc[-1]
        beside = last["place"] - APART * width * (len(splits) - 1 - number)
        axes.vlines(beside, last["auroc_low"], last["auroc_high"], color=INK, ls=dash, lw=0.7)


def _name_suites(
    axes: Axes,
    timeline: Timeline,
    means: pd.DataFrame,
    run: str,
    suites: Mapping[str, str],
    scene: Scene,
) -> None:
    ends = {}
    for suite, colour in suites.items():
        last = timeline.trace(means[means["suite"] == suite], run).iloc[-1]
        ends[scene.name(suite)] = End(last["place"], last["mean"], colour)
    label_ends(axes, ends, HEIGHT - 0.5)


def _name_splits(axes: Axes, timeline: Timeline, auroc: pd.DataFrame, run: str) -> None:
    ends = {}
    for split in list_unique(auroc["split"]):
        last = timeline.trace(auroc[auroc["split"] == split], run).iloc[-1]
        ends[say(split)] = End(last["place"], last["auroc"], INK)
    label_ends(axes, ends, HEIGHT - 0.5)


def _describe(means: pd.DataFrame, table: pd.DataFrame, runs: list[str], scene: Scene) -> str:
    whole = table[(table["concept"] == scene.caution) & (table["split"] == "all")]
    whole = whole.set_index("checkpoint")
    number = scene.reference.find(means)
    values = []
    for title, at in [("the reference", number)] + [
        (f"the end of {scene.name(run)}", means.loc[means["run"] == run, "checkpoint"].max())
        for run in runs
    ]:
        row = whole.loc[at]
        values.append(f"{interval(row['auroc'], row['auroc_low'], row['auroc_high'])} at {title}")
    counts = means[means["checkpoint"] == number].set_index("suite")["prompts"]
    sentences = [
        f"{scene.name(scene.caution).capitalize()} tells {counts.get(scene.harmful, 0)} "
        f"{scene.name(scene.harmful)} from {counts.get(scene.benign, 0)} "
        f"{scene.name(scene.benign)} prompts with an AUROC of {'; '.join(values)}.",
        "Above: mean projection of the prompts and their middle half. Below: AUROC by split, "
        f"at the end with {scene.percent} intervals over prompt families.",
    ]
    if scene.banded(means["run"]):
        sentences.append("Grey band: sound runs, all splits.")
    return " ".join(sentences)
