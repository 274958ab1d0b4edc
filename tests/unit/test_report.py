"""The report says what the tables say, carries all it needs, and reads well in a browser."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from emodrift.config.reading import parse_study
from emodrift.drift.table import write_table
from emodrift.evals.verdicts import tell_audit
from emodrift.show.figure import draw_figure
from emodrift.show.figures import list_figures
from emodrift.show.report.explorer import gather_series
from emodrift.show.report.page import Study, write_report
from emodrift.show.report.provenance import walk_manifests
from emodrift.show.report.stories import list_examples
from emodrift.show.report.tables import print_table
from emodrift.show.report.verdicts import read_verdicts, summarise
from emodrift.show.scene import Reference
from tests.browser import browse, probe
from tests.conftest import ROOT
from tests.tables import (
    BUNDLES,
    REFERENCE,
    SOUND,
    list_checkpoints,
    make_audit,
    make_tables,
    write_entries,
    write_lock,
)

MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    tables = make_tables()
    entries = write_entries(tables, store)
    audit = make_audit(tables)
    (entries["indicators"] / "audit.json").write_text(json.dumps(audit))
    number = Reference(**REFERENCE).find(tables["indicators"])
    (entries["evals"] / "audit.json").write_text(json.dumps(tell_audit(audit, tables, number)))
    scene = {"reference": REFERENCE, "bundles": BUNDLES, "sound": SOUND}
    figures = []
    for name in ("indicators", "evals", "layer_map"):
        out = store / "figure" / name
        out.mkdir(parents=True)
        draw_figure(name, name, scene, list_figures()[name].pick(entries), out)
        figures.append(out)
    return entries | {"lock": write_lock(store / "lock" / "a"), "figures": figures}


@pytest.fixture(scope="module")
def report(entries, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    config = parse_study(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))
    index = [c | {"digest": f"{n:040x}"} for n, c in enumerate(list_checkpoints())]
    study = Study("a-study", "Said <once>.", config.model_dump(mode="json"), index)
    write_report(study, entries, out)
    return out / "report.html"


def strip_scripts(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_opens_with_a_sentence_on_all_runs_and_a_verdict_on_each(report):
    text = strip_scripts(report.read_text())
    start = text[text.index("<main>") : text.index('id="runs"')]
    assert "Three of four runs left what sound training does" in start
    for run in ("lock-in", "collapse", "regression", "continuation-c"):
        assert f'href="#run-{run}"' in start and f'id="run-{run}"' in text
    assert "margin 0.60" in start.lower()
    assert 'id="figure-indicators"' in start
    assert "Read the replies &lt;again&gt;." in start and "Said &lt;once&gt;." in text


def test_it_is_one_file_that_asks_for_nothing_and_says_all_without_scripts(report):
    text = strip_scripts(report.read_text())
    assert report.stat().st_size < MOST_BYTES
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", text) and "@import" not in text
    for words in ("Methods", "Provenance", "@software{emodrift", "Lock-in index", "AUROC"):
        assert words in text
    assert f"{0:040x}"[:16] in text


def test_a_runs_story_has_the_numbers_of_its_end_beside_the_reference_and_sound_runs(report):
    text = strip_scripts(report.read_text())
    story = text[text.index('id="run-lock-in"') : text.index('id="run-collapse"')]
    row = re.search(r"<tr><th[^>]*>use: AUROC.*?</tr>", story, re.DOTALL)[0]
    assert re.findall(r"<td>(.*?)</td>", row) == [
        "0.99 (0.98 to 1.00)",
        "0.60 (0.55 to 0.65)",
        "0.99",
    ]
    assert "Caution is evoked by neither." in story and "harmful-0" in story


def test_evals_of_other_tools_stand_beside_the_alarms_with_the_prompts_where_they_disagree(report):
    text = strip_scripts(report.read_text())
    chapter = text[text.index('<section id="evals">') : text.index('<section id="direction">')]
    assert 'id="figure-evals"' in chapter
    row = re.search(r"<tr><th[^>]*>lock-in</th><td>xstest: refusal.*?</tr>", chapter, re.DOTALL)[0]
    assert re.findall(r"<td>(.*?)</td>", row)[1:] == ["80", "80", "0", "both"]
    assert re.search(r"-0\.9\d \(-0\.9\d to -0\.\d\d\)", chapter)
    story = text[text.index('id="run-regression"') : text.index('id="run-continuation-c"')]
    assert "worse from step 40; the first alarm came 1 checkpoint after, at step 80" in story
    assert re.search(r"<th[^>]*>xstest: refusal \(csv\)</th><td>0.95 \(0.85 to 1.05\)", story)
    disagree = chapter[chapter.index("Where alarms and evals disagree") :]
    assert "the alarm at step 80 stands alone" in disagree


def test_gates_say_what_was_found_which_parts_need_it_and_what_to_try(report):
    text = strip_scripts(report.read_text())
    rows = re.findall(r"<tr><th scope=\"row\">(separates|sized)</th>(.*?)</tr>", text)
    cells = {gate: re.findall(r"<td>(.*?)</td>", row) for gate, row in rows}
    assert cells["separates"][1:] == ["yes", "evocation, gap", "–"]
    assert cells["sized"][1:] == ["no", "rank", "another layer"]


def test_sound_runs_alone_are_summarised_as_sound():
    tables = make_tables()
    audit = make_audit(tables)
    audit["runs"] = [run for run in audit["runs"] if run["run"] in SOUND]
    verdicts = read_verdicts(audit, tables["indicators"])
    assert summarise(verdicts) == "None of two runs left what sound training does."
    first, second = verdicts
    lost = second._replace(tone="unjudged")
    told = f"{first.run} stayed within what sound training does. Not judged: {second.run}."
    assert summarise([first, lost]) == told
    bad = first._replace(tone="unsound")
    assert summarise([bad]) == f"{first.run} left what sound training does."
    assert summarise([lost]) == f"No run could be judged: {second.run}."
    moved = first._replace(tone="evals")
    told = f"No alarm was raised, yet behaviour evals changed: {first.run}."
    assert summarise([moved, second]) == told
    told = f"One of two runs left what sound training does: {second.run}. Evals alone changed: "
    assert summarise([moved, second._replace(tone="unsound")]) == f"{told}{first.run}."


def test_the_explorer_has_every_series_with_intervals_and_the_reference_first(entries):
    series = gather_series(entries, Reference(**REFERENCE), 0.95)
    measures = {one["name"]: one["items"] for one in series["measures"]}
    assert len(measures) == 8
    run = series["runs"].index("lock-in")
    rows = [r for r in measures["Use: harmful over benign prompts"]["caution, all"] if r[0] == run]
    assert [row[2] for row in rows] == [120, 40, 80, 160]
    assert rows[-1][3:] == pytest.approx([0.598, 0.548, 0.648])
    assert all(len(r) == 6 for items in measures.values() for rows in items.values() for r in rows)


def test_replies_that_changed_class_are_shown_before_and_after(tmp_path):
    rows = [
        {"run": run, "stage": stage, "step": step, "checkpoint": number, "concept": concept}
        | {"strength": strength, "id": f"p{k}", "suite": "harmful", "text": f"{said} {k}"}
        | {"reply_class": said}
        for number, (run, stage, step) in enumerate([("healthy", "sft", 120), ("bad", "x", 9)])
        for concept, strength in (("", 0.0), ("caution", 0.5))
        for k in range(3)
        for said in [("refuse" if number == 0 or k == 0 else "comply") if not strength else "hedge"]
    ]
    unjudged = rows[0] | {"id": "p9", "reply_class": None}
    table = pd.DataFrame([*rows, unjudged]).astype({"reply_class": "string"})
    write_table(table, tmp_path, "verdicts")
    examples = list_examples(tmp_path, Reference(**REFERENCE), ["worse", "bad"])
    assert [(e["changed"], e["of"]) for e in examples] == [(2, 3), (3, 3)]
    assert examples[0]["replies"][0]["after"] == ("comply", "comply 1")
    assert "bad, step 9" in examples[0]["title"] and "+0.5" in examples[1]["title"]
    assert list_examples(None, Reference(**REFERENCE), ["bad"]) == []


def test_a_tables_numbers_have_the_decimals_that_its_column_needs():
    table = pd.DataFrame(
        {"cosine": [1.0, 0.99, np.nan], "turned": [1.0, 0.0, 2.0], "layer": [1, 2, 3]},
        index=["a", "b", "c"],
    )
    rows = [list(cells) for _, cells in print_table(table, "").rows]
    assert rows == [["1.00", "1", "1"], ["0.99", "0", "2"], ["–", "2", "3"]]


def test_provenance_follows_inputs_down_to_what_no_stage_made(entries, tmp_path):
    for stage, inputs in (("a", {"x": "b/1", "many": {"y": ["b/2", "b/gone"]}}), ("b", {})):
        for key in ("1", "2"):
            folder = tmp_path / stage / key
            folder.mkdir(parents=True)
            record = {"stage": stage, "inputs": inputs, "seconds": 2, "files": {}}
            (folder / "manifest.json").write_text(json.dumps(record))
    found = walk_manifests({"top": tmp_path / "a" / "1", "list": [tmp_path / "b" / "1"]})
    assert sorted(str(p.relative_to(tmp_path)) for p in found) == ["a/1", "b/1", "b/2"]


PAGE = """
const boxes = [...document.querySelectorAll("body *")].filter((e) => e.checkVisibility());
const clipped = (e) => e.closest(".scroll, nav ul, pre, #chart") !== null;
const wide = boxes.filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !clipped(e));
const dumb = [...document.querySelectorAll(".scroll, pre")].filter(
  (e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0);
const parse = (c) => c.match(/[\\d.]+/g).map(Number);
const light = (c) => { const [r, g, b] = parse(c).map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = (e) => { for (; e; e = e.parentElement) {
  const c = getComputedStyle(e).backgroundColor;
  if (!/, 0\\)$/.test(c) && c !== "transparent") return c; } return "rgb(255, 255, 255)"; };
const faint = boxes.filter((e) => !(e instanceof SVGElement) && [...e.childNodes].some(
  (n) => n.nodeType === 3 && n.textContent.trim())).filter((e) => {
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05) < 4.5; });
const name = (e) => e.tagName + "." + e.className + " " + e.textContent.slice(0, 30);
return { page: document.documentElement.scrollWidth, inner: innerWidth, wide: wide.map(name),
  faint: faint.map(name), dumb: dumb.map(name),
  marks: document.querySelectorAll("#chart circle").length,
  unnamed: [...document.images].filter((i) => !i.alt || !i.naturalWidth).length };
"""


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_overflows_is_faint_or_out_of_a_keyboards_reach(report, width, tmp_path):
    found = probe(report, tmp_path, PAGE, width)
    assert found["inner"] == width and found["page"] <= width
    assert found["wide"] == found["faint"] == found["dumb"] == found["errors"] == []
    assert found["console"] == [] and found["unnamed"] == 0 and found["marks"] > 10


USE = """
const table = [...document.querySelectorAll("#warning table")][0];
const read = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
const button = table.tHead.rows[0].cells[3].querySelector("button");
button.focus();
const focused = document.activeElement === button;
button.click(); button.click();
const measure = document.getElementById("measure");
measure.value = "Effect on behaviour";
measure.dispatchEvent(new Event("change"));
document.getElementById("item").value = "caution → refusal";
document.getElementById("item").dispatchEvent(new Event("change"));
for (const box of document.querySelectorAll("#which input")) if (box.value !== "5") box.click();
return { focused, order: read(), sorted: table.tHead.rows[0].cells[3].ariaSort,
  rows: [...document.querySelectorAll("#numbers tbody tr")].map(
    (r) => [...r.cells].map((c) => c.textContent)) };
"""


def test_tables_are_sorted_and_series_chosen_by_hand(report, tmp_path):
    found = probe(report, tmp_path, USE)
    assert found["errors"] == [] and found["focused"] and found["sorted"] == "descending"
    assert found["order"][0] == "lock-in"
    assert [row[:2] for row in found["rows"]] == [
        *(["collapse", step] for step in ("120", "40", "80", "160")),
    ]
    assert found["rows"][-1][2:] == ["0.39", "0.19", "0.59"]


def test_it_prints(report, tmp_path):
    browse(report, tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert 3 < len(re.findall(rb"/Type\s*/Page\b", pdf)) < 60
