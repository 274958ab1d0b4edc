"""The picture of the stages is the plan's, and rules name what the plan names.

``python -m tests.unit.test_graph`` draws it again.
"""

import copy
import re
import tempfile
from pathlib import Path

import pytest

from emodrift.config.reading import parse_study
from emodrift.errors import EmodriftError
from emodrift.plan.graph import (
    CHECKPOINT,
    PAGES,
    draw_stages,
    insert_graph,
    name_node,
    read_edges,
    read_meanings,
    render_graph,
)
from emodrift.plan.study import plan_study
from tests.conftest import ROOT, STUDY, save_checkpoint

WRITER = {"model": "some-model", "endpoint": "http://localhost:1/v1"}
WRITER |= {"topics": ["a lost key", "a long walk"], "taxonomy": "resources/emotions.yaml"}
SOURCE = {"name": "written", "generator": "model", "writer": WRITER, "seed": 1, "amount": 2}
RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", re.M | re.S)


def plan_everything(folder):
    """A study with every stage but organisms, over two tiny checkpoints; nothing is run."""
    for step in (0, 10):
        save_checkpoint(folder / f"runs/checkpoint-{step}", seed=step, step=step)
    values = copy.deepcopy(STUDY)
    values["runs"]["sft"]["checkpoints"] = f"{folder}/runs/checkpoint-*"
    values["contrasts"]["stories"] = [values["contrasts"]["stories"], SOURCE]
    values["generation"] = {"prompts_per_cell": 1, "max_new_tokens": 4, "judge": "replies"}
    values["behaviours"]["phrasings"] = "sampled"
    values["discovery"] = {"emotions": 2}
    values["sensitivity"] = {"variants": {"early": {"vectors": {"layer": 1}}}}
    return plan_study(parse_study(values), folder / "results")


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return plan_everything(tmp_path_factory.mktemp("study"))


def close(edges):
    """All pairs of stages of which one leads to the other."""
    closed = set(edges)
    while more := {(a, d) for a, b in closed for c, d in closed if b == c} - closed:
        closed |= more
    return closed


def list_edges(plan):
    pairs = {
        (name_node(plan, source), name_node(plan, entry))
        for entry in plan.entries.values()
        for source in entry.list_inputs()
    }
    return {(CHECKPOINT, "visit"), *(pair for pair in pairs if pair[0] != pair[1])}


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_show_what_a_planned_study_makes_from_what(planned, page):
    drawn = read_edges((ROOT / page).read_text())
    assert close(drawn) == close(list_edges(planned)), "python -m tests.unit.test_graph"
    assert ("activations", "drift") in drawn and ("drift", "publication") not in drawn


def test_the_pages_show_the_graph_word_for_word(planned):
    graph = render_graph(draw_stages(planned), read_meanings())
    for page in PAGES:
        text = (ROOT / page).read_text()
        assert insert_graph(text, graph) == text, "python -m tests.unit.test_graph"


def test_measurements_lie_inside_the_visit_that_makes_them(planned):
    text = render_graph(draw_stages(planned), read_meanings())
    inside = text[text.index("subgraph visit") : text.index("    end\n")]
    assert re.findall(r"^ +(\w+)\[", inside, re.M) == [
        *("samples", "activations", "gradients", "responses", "replies")
    ]


def test_arrows_are_dashed_where_keys_rest_on_content(planned):
    content = ("contrasts", "phrasings", "lock", "discovery")
    assert draw_stages(planned).awaited == {(stage, "visit") for stage in content}


def test_a_page_without_marks_is_refused_in_one_line():
    with pytest.raises(EmodriftError, match="needs the marks"):
        insert_graph("# A page\n", "flowchart TD\n")


def read_rules():
    """Rule -> names of its inputs, as ``unpack(needed("name", …))``, read off the rule files."""
    found = {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for name, body in RULE.findall(path.read_text()):
            names = "".join(re.findall(r"unpack\(needed\((.*)\)\)", body))
            found[name] = {*re.findall(r'"(\w+)"', names)}
    return found


def test_rules_name_the_inputs_that_the_plan_names(planned):
    rules = read_rules()
    named = {}
    for entry in planned.entries.values():
        if entry.place not in planned.makers:
            named.setdefault(entry.stage, set()).update(entry.inputs)
    others = {"organism": {"start"}, "training_base": set(), "training": {"base", "start"}}
    others["evals"] = {"indicators"}
    seen = {"activations", "lock", "trained", "evocation", "coupling", "indicators"}
    others |= {"signals": seen, "comparison": {"signals"}}
    named |= others
    assert named.keys() == rules.keys()
    assert {stage: rules[stage] for stage in named} == named


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        graph = render_graph(draw_stages(plan_everything(Path(folder))), read_meanings())
    for place in PAGES:
        path = ROOT / place
        path.write_text(insert_graph(path.read_text(), graph))
