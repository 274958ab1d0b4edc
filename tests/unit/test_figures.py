"""Figures show their tables, in one style, at the size asked for, with the same bytes each time."""

import ast
import itertools
import json
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from emodrift.show.figure import draw, draw_figure, read_tables
from emodrift.show.figures import CHAPTERS, list_figures
from emodrift.show.labels import End, label_ends, label_points, move_apart, space_labels
from emodrift.show.panels import make_grid, mark_bundles, pick_ends
from emodrift.show.scene import Reference, Scene
from emodrift.show.style import COLUMN_INCHES, SMALL, apply_style
from emodrift.show.timeline import Timeline, spread_runs
from tests.conftest import ROOT
from tests.tables import BUNDLES, REFERENCE, SOUND, make_tables, write_entries

OTHERS = {"sensitivity", "comparison"}
"""Stages that an ordinary study does not have."""
DRAWN = [name for name, figure in list_figures().items() if not OTHERS & set(figure.reads)]
SLACK = 0.03
"""Inches that letters may reach beyond the page."""
SCENE = {"reference": REFERENCE, "bundles": BUNDLES, "sound": SOUND}


@pytest.fixture(scope="module")
def tables():
    return make_tables()


@pytest.fixture(scope="module")
def entries(tables, tmp_path_factory):
    return write_entries(tables, tmp_path_factory.mktemp("store"))


@pytest.fixture(autouse=True)
def style():
    apply_style()
    yield
    plt.close("all")


def make_scene(**changes):
    values = SCENE | changes
    return Scene(**values | {"reference": Reference(**values["reference"])})


def save(name, entries, folder, **changes):
    folder.mkdir(exist_ok=True)
    draw_figure(name, name, SCENE | changes, list_figures()[name].pick(entries), folder)
    return folder


def list_words(figure):
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_visible()]


def test_every_figure_declares_what_it_reads_and_is_described_in_the_docs():
    page = (ROOT / "docs" / "figures.md").read_text()
    for name, figure in list_figures().items():
        assert figure.chapter in CHAPTERS and figure.reads
        assert f"`{name}`" in page


def test_planning_imports_no_drawing_library():
    source = (ROOT / "workflow/emodrift/show/figures/__init__.py").read_text()
    imports = {n.module for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)}
    assert imports == {"__future__", "collections.abc", "emodrift.stage", "pathlib", "typing"}


@pytest.fixture(scope="module")
def saved(entries, tmp_path_factory):
    """Folder of every figure, drawn once."""
    folder = tmp_path_factory.mktemp("figures")
    return {name: save(name, entries, folder / name) for name in DRAWN}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_saved_as_vector_and_pixels_with_its_numbers_and_words(name, saved):
    out = saved[name]
    text = json.loads((out / "figure.json").read_text())
    assert text["figure"] == name and text["title"] and re.search(r"\d", text["caption"])
    assert "nan" not in text["caption"]
    svg = (out / "figure.svg").read_text()
    width = float(re.search(r'width="([\d.]+)pt"', svg)[1])
    assert width == pytest.approx(72 * COLUMN_INCHES["two"], abs=0.1)
    assert "<text" in svg and "<dc:date>" not in svg
    pdf = (out / "figure.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"/CreationDate" not in pdf
    sizes = [float(s) for s in re.findall(r"font-size: ([\d.]+)px", svg)]
    assert min(sizes) >= SMALL - 0.5
    with Image.open(out / "figure.png") as pixels:
        assert pixels.info["dpi"][0] == pytest.approx(300, abs=1)
    assert len(pd.read_csv(out / "figure.csv"))


@pytest.mark.parametrize("name", ["layer_map", "emotion_paths", "indicators", "evals"])
def test_a_figure_drawn_twice_has_the_same_bytes(name, entries, saved, tmp_path):
    again = save(name, entries, tmp_path / "again")
    for suffix in ("svg", "pdf", "png", "csv", "json"):
        assert (again / f"figure.{suffix}").read_bytes() == (
            saved[name] / f"figure.{suffix}"
        ).read_bytes()


@pytest.mark.parametrize("name", DRAWN)
def test_runs_emotions_names_and_one_columns_width_are_as_asked_for(name, tables):
    scene = make_scene(
        runs=["lock-in"], emotions=["afraid", "calm"], names={"lock-in": "shortcut"}, width="one"
    )
    figure, _, _, caption = draw(name, tables, scene)
    figure.draw_without_rendering()
    words = list_words(figure)
    assert "shortcut" in " ".join(words)
    assert not {"collapse", "regression", "desperate"} & set(words)
    assert "desperate" not in caption
    assert "lock-in" not in caption.replace("lock-in index", "")
    assert figure.get_size_inches()[0] == COLUMN_INCHES["one"]
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 > -SLACK and drawn.x1 < width + SLACK
    assert drawn.y0 > -SLACK and drawn.y1 < height + SLACK


def test_sound_runs_are_a_band_and_not_panels(tables):
    figure = draw("drift_trajectories", tables, make_scene()).figure
    titles = [a.get_title(loc="left") for a in figure.axes if a.get_visible()]
    assert titles == ["continuation-c", "lock-in", "collapse", "regression"]


def test_the_noise_floor_holds_curves_of_runs_that_did_not_turn_and_not_of_those_that_did(tables):
    figure = draw("drift_trajectories", tables, make_scene()).figure
    for axes in figure.axes[:4]:
        floor = axes.collections[1].get_paths()[0].get_extents()
        ends = [line.get_ydata()[-1] for line in axes.lines if len(line.get_ydata()) > 2]
        inside = [floor.y0 <= end <= floor.y1 for end in ends]
        assert all(inside) == (axes.get_title(loc="left") == "continuation-c")


def test_a_caption_says_what_the_table_says(tables):
    drawing = draw("drift_trajectories", tables, make_scene(runs=["lock-in"]))
    last = tables["drift"].query("run == 'lock-in' and step == 160 and kind == 'emotion'")
    low, high = last["corrected"].min(), last["corrected"].max()
    assert f"12 emotions' cosines are {low:.2f} to {high:.2f}" in drawing.caption
    quiet = draw("indicators", tables, make_scene())
    assert "Lock-in raises lock-in index from step 80" in quiet.caption
    assert "No alarm in continuation-c" in quiet.caption


def test_evals_of_other_tools_share_the_axis_of_the_indicators_where_there_are_some(tables):
    without = {k: v for k, v in tables.items() if k != "evals"}
    for given, titles in ((tables, 1), (without, 0)):
        drawing = draw("indicators", given, make_scene())
        assert list_words(drawing.figure).count("xstest: refusal (csv)") == titles
        assert ("regression from step 40" in drawing.caption) == bool(titles)
    assert "train: loss" not in drawing.caption


def test_the_figure_of_evals_says_which_came_first(tables):
    caption = draw("evals", tables, make_scene()).caption
    assert "goes most with caution vector decoupling index: r = -0.92" in caption
    assert "one came at that checkpoint and one came after" in caption


def test_an_emotion_and_a_bundle_of_one_name_are_two_rows(tables):
    bundles = {"calm": ["calm", "loving"], **{k: v for k, v in BUNDLES.items() if k == "caution"}}
    both = make_tables(bundles)
    marked = mark_bundles(both["effects"], ["checkpoint", "metric"], bundles)
    assert (marked["bundle"] == both["effects"]["bundle"]).all()
    for name in ("effect_matrix", "dose_response", "effect_profile"):
        draw(name, both, make_scene(bundles=bundles))
    figure = draw("effect_matrix", both, make_scene(bundles=bundles)).figure
    rows = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert rows.count("calm") == 2 and len(rows) == 14


def test_the_change_of_an_effect_is_its_difference_from_the_reference(tables):
    figure = draw("effect_matrix", tables, make_scene(runs=["collapse"])).figure
    before, change = (axes.images[0].get_array() for axes in figure.axes[:2])
    assert before[0, 0] == pytest.approx(1.3)
    assert change[0, 0] == pytest.approx(-0.7 * 1.3)


def test_a_study_without_sound_or_other_runs_is_drawn_too(tables):
    told = {name: table for name, table in tables.items() if "run" in table}
    alone = {name: table[table["run"] == "healthy"] for name, table in told.items()}
    for name in ("drift_trajectories", "indicators", "fragmentation"):
        draw(name, alone, make_scene(sound=["healthy"]))


def test_a_missing_indicator_is_said_to_be_not_applicable(tables):
    table = tables["indicators"].copy()
    table.loc[table["indicator"] == "lock_in", ["value", "deviation"]] = np.nan
    table.loc[table["indicator"] == "lock_in", "alarm"] = False
    figure = draw("indicators", tables | {"indicators": table}, make_scene()).figure
    assert list_words(figure).count("not applicable") == 1


def test_fragmentation_that_cannot_be_measured_is_said_to_be_so(tables):
    ranks = ["rank", "rank_low", "rank_high", "rank_shuffled"]
    table = tables["fragmentation"].assign(**dict.fromkeys(ranks, np.nan))
    figure, _, _, caption = draw("fragmentation", tables | {"fragmentation": table}, make_scene())
    assert sum("not measurable" in word for word in list_words(figure)) == 4
    assert caption.startswith("Effective rank is not measurable") and "Whiskers" not in caption


STAGED = pd.DataFrame(
    {
        "checkpoint": [4, 4, 5, 6, 7],
        "run": "post",
        "stage": ["base", "base", "sft", "sft", "dpo"],
        "step": [0, 0, 0, 300, 0],
    }
)


def test_stages_follow_one_another_and_steps_lie_within_them():
    timeline = Timeline(STAGED, Reference("post", "sft", 0))
    places = timeline.trace(STAGED, "post")["place"].tolist()
    assert places == sorted(places) and places[0] == places[1]
    figure, axes = plt.subplots()
    timeline.dress(axes)
    ticks = [t.get_text() for t in axes.get_xticklabels()]
    assert ticks == ["base", "0", "300", "dpo"]
    assert {"base", "sft", "dpo"} <= set(list_words(figure))
    assert axes.get_xlabel() == "training step within stage"


def test_a_run_that_starts_from_the_reference_starts_at_step_0_of_its_stage(tables):
    timeline = Timeline(tables["drift"], Reference(**REFERENCE))
    trace = timeline.trace(tables["drift"].drop_duplicates("checkpoint"), "lock-in")
    assert trace["run"].tolist() == ["healthy", "lock-in", "lock-in", "lock-in"]
    assert trace["place"].iloc[0] == timeline.stages["continued"].start
    own = timeline.trace(tables["drift"].drop_duplicates("checkpoint"), "healthy")
    assert own["place"].tolist() == [0, 1]


def test_checkpoints_of_powers_of_two_do_not_crowd_at_the_start():
    steps = [0, 1, 2, 4, 8, 16, 32, 64, 128, 1000, 143000]
    table = pd.DataFrame({"checkpoint": range(11), "run": "r", "stage": "s", "step": steps})
    places = Timeline(table, Reference("r", "s", 0)).trace(table, "r")["place"]
    assert np.diff(places).min() > 0.03


def test_the_band_of_sound_runs_holds_them_all_and_is_interpolated_between_their_steps():
    rows = [("r", "s", 0, 0, 0.0)]
    rows += [("a", "t", 10, 1, 1.0), ("a", "t", 30, 2, 3.0), ("b", "t", 20, 3, 6.0)]
    table = pd.DataFrame(rows, columns=["run", "stage", "step", "checkpoint", "value"])
    timeline = Timeline(table, Reference("r", "s", 0))
    band = spread_runs(timeline, table, ["a", "b"], "value").set_index("place")
    at = timeline.stages["t"].place
    assert band.loc[at(20)].tolist() == pytest.approx([2, 6])
    assert band.loc[at(30)].tolist() == [3, 3]
    assert spread_runs(timeline, table, [], "value").empty


def test_labels_that_would_touch_are_moved_apart_in_order_and_stay_inside():
    placed = move_apart([0.0, 0.5, 0.51, 0.52, 1.0], 0.1, 0, 1)
    assert (np.diff(placed) >= 0.1 - 1e-9).all() and placed[0] == 0 and placed[2] == 0.51
    crowd = move_apart([0.98, 0.99, 1.0], 0.1, 0, 1)
    assert crowd[-1] <= 1 and (np.diff(crowd) >= 0.1 - 1e-9).all()


def test_names_of_lines_stand_beside_their_ends_without_covering_each_other():
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    label_ends(axes, {f"line {i}": End(1, 0.5 + i / 100, "C0") for i in range(5)}, 1.6)
    figure.draw_without_rendering()
    boxes = [mpl.text.Text.get_window_extent(t) for t in axes.texts]
    assert [t.get_text() for t in axes.texts] == [f"line {i}" for i in range(5)]
    assert not any(b.y1 > c.y0 + 2 for b, c in itertools.pairwise(boxes))


def test_names_of_points_do_not_cover_each_other():
    figure, axes = plt.subplots(figsize=(3, 3))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    names = ("one", "two", "six")
    points = {name: (0.4 + 0.01 * i, 0.5) for i, name in enumerate(names)}
    label_points(axes, points, lambda name: "black")
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text() in names]
    assert len(boxes) == 3
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_panels_are_the_reference_and_each_runs_last_checkpoint():
    places = [("a", "s", 0, 0), ("a", "s", 5, 1), ("b", "s", 9, 2), ("b", "s", 12, 3)]
    table = pd.DataFrame(places, columns=["run", "stage", "step", "checkpoint"])
    assert pick_ends(table, Reference("a", "s", 5)) == {"reference": 1, "b": 3}
    assert pick_ends(table, Reference("a", "s", 0), ["b"]) == {"reference": 0, "b": 3}
    assert space_labels(list("abc")) == ([0, 1, 2], ["a", "b", "c"])
    assert len(space_labels([str(i) for i in range(171)])[0]) <= 40


def test_panels_fill_their_rows_evenly():
    columns = {n: make_grid(make_scene(), n, 3, 1.0)[1].shape[1] for n in (1, 2, 3, 4, 5)}
    assert columns == {1: 1, 2: 2, 3: 3, 4: 2, 5: 3}


def test_bundles_have_one_colour_and_runs_another_in_all_figures():
    scene = make_scene()
    assert scene.colour("afraid") == scene.colour("caution") != scene.colour("calm")
    assert scene.colour("sad") == scene.colour("happy")
    runs = ["healthy", *SOUND, "lock-in", "collapse"]
    marks = make_scene(runs=["collapse"]).mark_runs(runs)
    assert marks == scene.mark_runs(runs)
    assert not {c for c, _ in marks.values()} & {scene.colour(b) for b in BUNDLES}


def test_the_tables_that_a_figure_declares_are_read(entries, tables):
    read = read_tables("indicators", entries)
    assert set(read) == {"indicators", "behaviour", "evals"}
    pd.testing.assert_frame_equal(read["behaviour"], tables["behaviour"])
