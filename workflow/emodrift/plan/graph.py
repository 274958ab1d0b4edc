"""The graph of a study's stages, as Mermaid draws it.

``python -m emodrift.plan.graph CONFIG`` prints it: rectangles are stages, inside a visit lie the
measurements that it makes, and dashed arrows show where later keys wait for content.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from emodrift.config.reading import read_study
from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.plan.study import plan_study
from emodrift.store.entry import Entry

RULES = Path(__file__).parents[2] / "rules"
PAGES = ("README.md", "docs/architecture.md")
MARKS = "<!-- graph: made by `make docs` -->\n", "<!-- graph: end -->"
DIRECTION = "flowchart TD"
VISIT, CHECKPOINT = "visit", "checkpoint"
TRAINED = ("organism", "training")
GATHERING = ("report", "publication")
MEANINGS = {
    CHECKPOINT: "Checkpoints of the runs, here or on the hub.",
    "activations": "Residual stream of texts and prompts.",
    "gradients": "Scores of replies and their gradients.",
    "responses": "Scores under steering.",
    "replies": "Replies, unsteered and steered.",
    "samples": "Unsteered replies, whose openings are scored.",
}
"""What has no rule of its own: checkpoints, and the measurements that a visit makes."""


class Graph(NamedTuple):
    """Stages of a plan.

    edges: pairs of a stage and one made from it. measurements: stages whose entries visits make.
    awaited: pairs of a stage and one whose keys rest on its content.
    """

    stages: tuple[str, ...]
    edges: frozenset[tuple[str, str]]
    measurements: tuple[str, ...]
    awaited: frozenset[tuple[str, str]]


def draw_stages(plan: Plan) -> Graph:
    """Graph of the stages of a plan.

    Raises
    ------
    EmodriftError
        Organisms are still to be trained, so that the plan goes no further.
    """
    if plan.publication is None:
        raise EmodriftError("the graph goes as far as the plan: train the study's organisms first")
    pairs = {
        (name_node(plan, source), name_node(plan, entry))
        for entry in plan.entries.values()
        for source in entry.list_inputs()
    }
    edges = {pair for pair in pairs if pair[0] != pair[1]} | {(CHECKPOINT, VISIT)}
    awaited = {pair for pair in edges if pair[1] == VISIT and pair[0] != CHECKPOINT}
    awaited |= {(stage, CHECKPOINT) for stage in TRAINED if plan.of_stage(stage)}
    return Graph(
        (CHECKPOINT, *dict.fromkeys(name_node(plan, e) for e in plan.entries.values())),
        frozenset(edges - awaited),
        tuple(
            dict.fromkeys(
                place.split("/")[0] for place, maker in plan.makers.items() if maker.stage == VISIT
            )
        ),
        frozenset(awaited),
    )


def name_node(plan: Plan, entry: Entry) -> str:
    """Node of an entry: its stage, but of a figure the job that draws it with the others."""
    maker = plan.makers.get(entry.place)
    return maker.stage if maker and maker.stage != VISIT else entry.stage


def drop_detours(edges: frozenset[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Edges without those to what gathers all (`GATHERING`) where a step lies between."""
    return frozenset(
        (source, made)
        for source, made in edges
        if made not in GATHERING
        or not any((source, step) in edges and (step, made) in edges for step, _ in edges)
    )


def render_graph(graph: Graph, meanings: Mapping[str, str]) -> str:
    """A graph in Mermaid's language, the same for the same graph."""
    lines = [DIRECTION]
    outside = [s for s in graph.stages if s not in (VISIT, *graph.measurements)]
    lines += [_draw_stage(stage, meanings) for stage in outside]
    lines.append(f'    subgraph {VISIT}["{VISIT}: {_shorten(meanings[VISIT])}"]')
    lines += [f"    {_draw_stage(s, meanings)}" for s in graph.measurements]
    lines.append("    end")
    order = {stage: number for number, stage in enumerate(graph.stages)}
    for pairs, arrow in ((drop_detours(graph.edges), "-->"), (graph.awaited, "-. content .->")):
        placed = sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))
        lines += [f"    {source} {arrow} {made}" for source, made in placed]
    return "\n".join(lines) + "\n"


def read_edges(page: str) -> frozenset[tuple[str, str]]:
    """Pairs of stages that the graph of a page connects."""
    _, drawn, _ = _cut_page(page)
    return frozenset(re.findall(r"^ *(\w+) (?:-->|-\. content \.->) (\w+)$", drawn, re.M))


def read_meanings() -> dict[str, str]:
    """Stage -> first line of its rule's docstring."""
    found = dict(MEANINGS)
    for path in sorted(RULES.glob("*.smk")):
        for name, line in re.findall(r'^rule (\w+):\n    """(.+)$', path.read_text(), re.M):
            for stage in (name, name.replace("_", "-")):  # a rule's name has no hyphen
                found[stage] = line.removesuffix('"""')
    return found


def insert_graph(page: str, graph: str) -> str:
    """A page with the graph between its marks.

    Raises
    ------
    EmodriftError
        The page has no marks.
    """
    before, _, after = _cut_page(page)
    return f"{before}\n```mermaid\n{graph}```\n\n{after}"


def _cut_page(page: str) -> tuple[str, str, str]:
    """A page up to the graph, the graph, and what follows."""
    start, end = page.find(MARKS[0]) + len(MARKS[0]), page.find(MARKS[1])
    if MARKS[0] not in page or MARKS[1] not in page:
        raise EmodriftError(f"a page with the graph needs the marks {MARKS[0].strip()} {MARKS[1]}")
    return page[:start], page[start:end], page[end:]


def _draw_stage(stage: str, meanings: Mapping[str, str]) -> str:
    shape = '{}(["{}"])' if stage == CHECKPOINT else '{}["{}"]'
    return "    " + shape.format(stage, f"<b>{stage}</b><br>{_shorten(meanings[stage])}")


def _shorten(meaning: str) -> str:
    return meaning.rstrip(".").replace('"', "'")


def main(config: Path) -> None:
    """Print the graph of a study whose results lie, or will lie, in ``results``."""
    plan = plan_study(read_study(config), Path("results"))
    print(render_graph(draw_stages(plan), read_meanings()), end="")


if __name__ == "__main__":
    try:
        main(Path(*sys.argv[1:]))
    except EmodriftError as error:
        sys.exit(f"emodrift: error: {error}")
