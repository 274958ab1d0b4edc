"""The drift stage on checkpoints with planted changes: everything it writes, read back."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pydantic import TypeAdapter

from emodrift.drift.geometry import DriftInputs, DriftParams, measure_drift
from emodrift.drift.table import read_table
from emodrift.measure.arrays import open_activations, open_parts, save_array
from emodrift.stats.measures import normalise
from emodrift.stats.settings import Statistics
from emodrift.vectors.fitting import Recipe, fit_vectors, open_vectors, read_texts
from tests.unit.test_subspaces import turn

HIDDEN, TOPICS, LAYERS = 32, 15, 3
EMOTIONS = ["afraid", "calm", "eager", "guilty", "proud", "sad"]
RATINGS = {
    "afraid": {"valence": -0.8, "arousal": 0.7},
    "calm": {"valence": 0.5, "arousal": -0.7},
    "eager": {"valence": 0.6, "arousal": 0.6},
    "guilty": {"valence": -0.7, "arousal": 0.3},
    "proud": {"valence": 0.7, "arousal": 0.4},
    "sad": {"valence": -0.7, "arousal": -0.4},
}
FITTING = Recipe("difference_of_means", confound_variance=0.2, halves=10, seed=0)
STATISTICS = {"draws": 200, "level": 0.95, "nulls": 100}
ANGLE = 40


def plant_texts(kind, labels, each, directions, seed):
    """Texts of one kind with labels; activations at layers that hold ever more of the label."""
    rng = np.random.default_rng(seed)
    topic, label = (a.ravel() for a in np.indices((TOPICS, len(labels), each))[:2])
    values = (
        rng.standard_normal((len(topic), HIDDEN)) + rng.standard_normal((TOPICS, HIDDEN))[topic]
    )
    layers = np.stack([values + k * 2 * directions[label] for k in range(LAYERS)], axis=1)
    names = [f"topic-{t:02d}" for t in range(TOPICS)]
    coords = {
        "id": [f"{kind}-{i}" for i in range(len(topic))],
        "set": [kind] * len(topic),
        "label": [labels[i] for i in label],
        "topic": [names[t] for t in topic],
        "split": ["heldout" if t % 3 == 2 else "fit" for t in topic],
    }
    coords = {k: ("prompt", np.array(v, dtype=object)) for k, v in coords.items()}
    return xr.DataArray(
        layers.astype(np.float32),
        dims=("prompt", "layer", "hidden"),
        coords=coords | {"layer": np.arange(LAYERS)},
        name="activation",
    )


def write_activations(store, name, parts):
    """Readings of a checkpoint in a store: an entry for each part."""
    readings = {}
    for part, (kind, array) in parts.items():
        entry = store / "activations" / f"{name}-{part}"
        dataset = array.to_dataset()
        dataset["words"] = array.isel(layer=0, drop=True)
        save_array(dataset, entry / "activations.zarr")
        readings.setdefault(kind, []).append(entry)
    return readings


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Tables of: a noisy copy of the reference, the reference, one emotion turned, all turned."""
    store = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    mix = np.array([[RATINGS[e]["valence"], RATINGS[e]["arousal"]] for e in EMOTIONS])
    truth = mix @ normalise(rng.standard_normal((2, HIDDEN))) * 1.5
    truth = truth + 0.7 * normalise(rng.standard_normal(truth.shape))
    changed = truth.copy()
    away = normalise(rng.standard_normal(HIDDEN))
    changed[0] = np.linalg.norm(truth[0]) * normalise(truth[0] + 1.5 * away)
    poles = rng.standard_normal((4, 2, HIDDEN))

    def gather(directions, rotation, noise):
        parts = {"a": ("stories", plant_texts("emotion", EMOTIONS, 6, directions, 1))}
        parts["n"] = ("neutral", plant_texts("neutral", ["neutral"], 8, np.zeros((1, HIDDEN)), 2))
        for i, pole in enumerate(poles):
            texts = plant_texts(f"control-{i}", ["one", "two"], 8, pole, 3 + i)
            parts[f"c{i}"] = ("controls", texts)
        fresh = np.random.default_rng(noise)
        return {
            name: (kind, a.copy(data=(a.values + 0.3 * fresh.standard_normal(a.shape)) @ rotation))
            for name, (kind, a) in parts.items()
        }

    still = np.eye(HIDDEN)
    planted = [
        (truth, still, 1),
        (truth, still, 2),
        (changed, still, 3),
        (truth, turn(ANGLE, HIDDEN), 4),
    ]
    entries = [
        write_activations(store, f"c{i}", gather(*checkpoint))
        for i, checkpoint in enumerate(planted)
    ]
    random = gather(0 * truth, still, 5)
    entries.append(write_activations(store, "twin", {k: random[k] for k in ("a", "n")}))
    vectors = []
    for number, entry in enumerate(entries):
        out = store / "vectors" / str(number)
        out.mkdir(parents=True)
        fit_vectors(FITTING, entry, out)
        vectors.append(out)
    lock, drift = store / "lock", store / "drift"
    drift.mkdir()
    save_array(xr.Dataset(coords={"layer": 2}), lock / "lock.zarr")
    places = [{"run": "r", "step": i, "stage": "sft", "tokens": None} for i in range(len(planted))]
    planned = {
        "checkpoints": places,
        "reference": 1,
        "statistics": STATISTICS,
        "seed": 0,
        "fitting": FITTING._asdict(),
        "ratings": RATINGS,
    }
    params = TypeAdapter(DriftParams).validate_python(planned)
    assert params == DriftParams(places, 1, Statistics(**STATISTICS), 0, FITTING, RATINGS)
    measure_drift(params, DriftInputs(vectors[:-1], entries[:-1], vectors[-1], lock), drift)
    return drift, entries, vectors


def pick(study, table, **values):
    rows = read_table(study[0], table)
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows.reset_index(drop=True)


def test_one_layer_is_read_as_it_lies_in_the_whole(study):
    entry = study[1][0]
    whole = open_activations(entry, "controls")
    np.testing.assert_array_equal(read_texts(entry, 2).controls.values, whole.sel(layer=2).values)
    assert len(open_parts(entry, "controls")) == 4 and read_texts(study[1][-1], 1).controls is None


def test_vectors_keep_no_topics_and_every_layer(study):
    fitted = open_vectors(study[2][1])
    assert fitted["vector"].sizes == {"layer": LAYERS, "emotion": 6, "hidden": HIDDEN}
    assert "topic" not in fitted.dims
    assert fitted["auroc"].mean("emotion").diff("layer").min() > 0


def test_a_noisy_copy_has_not_turned(study):
    rows = pick(study, "drift", step=0, kind="emotion")
    assert rows["same_confounds"].mean() == pytest.approx(1, abs=0.005)
    assert (rows["cosine"] < rows["corrected"]).all()
    assert rows["turned_by"].min() > 0.05 and rows["turned_max"].min() > 0.05
    np.testing.assert_allclose(rows["norm_ratio"], 1, atol=0.05)
    assert (rows["norm_low"] < rows["norm_ratio"]).all()
    assert (rows["norm_ratio"] < rows["norm_high"]).all()


def test_the_emotion_that_turned_is_found_and_named(study):
    rows = pick(study, "drift", step=2, kind="emotion").set_index("concept")
    assert rows.loc["afraid", "corrected"] < 0.85 and rows["corrected"].idxmin() == "afraid"
    assert rows.loc["afraid", "turned_max"] < 0.01
    assert rows.loc["afraid", "beyond_controls_by"] < 0.05
    assert rows.loc["afraid", "aligned"] < 0.9
    assert pick(study, "emotion_space", step=2)["any_turned_holm"][0] < 0.05


def test_a_turn_of_the_whole_space_is_undone_by_alignment_and_shared_by_controls(study):
    rows = pick(study, "drift", step=3, kind="emotion")
    assert rows["corrected"].mean() < 0.96 and rows["aligned"].mean() > 0.985
    assert (rows["beyond_controls_by"] > 0.05).mean() > 0.5
    space = pick(study, "emotion_space", step=3).iloc[0]
    assert space["congruence_aligned"] > space["congruence"] + 0.05
    assert space[["overlap", "overlap_aligned", "overlap_unrelated"]].between(0, 1).all()


def test_the_reference_is_itself_and_is_not_tested(study):
    rows = pick(study, "drift", step=1)
    np.testing.assert_allclose(rows[["cosine", "corrected", "aligned", "norm_ratio"]], 1)
    assert rows[["turned_p", "turned_by", "turned_max", "beyond_controls_p"]].isna().all().all()
    space = pick(study, "emotion_space", step=1).iloc[0]
    assert space["rand"] == 1 and space["overlap"] == pytest.approx(space["overlap_floor"])


def test_nulls_part_the_same_shuffle_from_unrelated_directions(study):
    rows = pick(study, "direction_nulls", step=0).set_index("null")
    assert rows.loc["shuffled_labels", "median"] > 0.6 > rows.loc["random_directions", "high"]
    assert abs(rows.loc["random_directions", "median"]) < 0.2


def test_quality_stands_beside_words_and_a_twin_that_know_nothing(study):
    rows = pick(study, "quality", step=1)
    assert len(rows) == LAYERS * (1 + len(EMOTIONS))
    last = rows[(rows["emotion"] == "all") & (rows["layer"] == 2)].iloc[0]
    assert last["auroc"] > 0.9 and last["valence"] > 0.9
    assert abs(last["lexical_auroc"] - 0.5) < 0.1 and abs(last["random_auroc"] - 0.5) < 0.1
    assert last["over_lexical"] == pytest.approx(last["auroc"] - last["lexical_auroc"])
    of_emotion = rows[(rows["emotion"] != "all") & (rows["layer"] == 2)]
    assert of_emotion["auroc"].mean() == pytest.approx(last["auroc"])


def test_the_layer_map_is_free_of_noise_where_there_is_signal(study):
    rows = pick(study, "layers", step=0).set_index("layer")
    assert rows.loc[2, "corrected"] == pytest.approx(1, abs=0.01)
    assert (rows["cosine"] < rows["corrected"])[1:].all()


def test_maps_cover_every_pair_emotion_and_component(study):
    pairs = pick(study, "emotion_cosines", step=3)
    assert len(pairs) == 15 and pairs["cosine"].between(-1, 1).all()
    clusters = pick(study, "emotion_clusters", step=1)
    assert sorted(clusters["place"]) == list(range(6))
    components = pick(study, "emotion_components", step=1)
    assert list(components["component"]) == [1, 2, 3] and components["valence"].abs().max() > 0.8
    paths = pick(study, "emotion_paths", step=3)
    still = pick(study, "emotion_paths", step=1)
    columns = ["component_1", "component_2"]
    moved = np.linalg.norm(paths[columns] - still[columns], axis=1)
    assert moved.max() < 0.3 * np.linalg.norm(still[columns], axis=1).max()
    assert set(paths["valence"]) == {r["valence"] for r in RATINGS.values()}


def test_every_table_names_run_step_and_layer(study):
    for path in study[0].glob("*.parquet"):
        assert {"run", "step", "stage", "tokens", "layer"} <= set(pd.read_parquet(path)), path.name
