"""Are p-values uniform where their null hypothesis holds?

For every p-value that a study publishes, nothing of the kind it asks about is planted.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import binom, kstest

from emodrift.drift.checkpoint import share_confounds
from emodrift.drift.coupling import describe_effects, describe_modularity
from emodrift.drift.direction import (
    assess_turning,
    compute_grams,
    draw_flips,
    exceed_controls,
    jackknife_cosine,
)
from emodrift.drift.fragmentation import center_stories, measure_rank
from emodrift.drift.maps import rate_components
from emodrift.drift.slopes import compute_slopes
from emodrift.stats.bootstrap import draw_weights
from emodrift.stats.corrections import count_extremes
from emodrift.stats.measures import normalise
from emodrift.vectors.confounds import find_confounds
from emodrift.vectors.fitting import clean_texts, fit_texts
from emodrift.vectors.lock import judge_layers
from emodrift.vectors.nulls import draw_isotropic, draw_matched, draw_shuffled
from validation.effects import METRICS, Amounts, ask, draw_axes, draw_behaviour
from validation.repeating import Rows
from validation.texts import (
    CONFOUND_VARIANCE,
    Setting,
    clean_stories,
    measure_texts,
    plant_pairs,
    read_planted,
)

DRAWS = 199
EMOTIONS = 6
BUNDLES = {"caution": ["e00", "e01"]}
FLIPS = 199
TURNED = 20.0
GROUPS = {
    "turning": ("turned", "any turned", "beyond controls"),
    "effects": ("slope", "modularity"),
    "others": ("fragments", "ratings", "layer"),
}
CAUTIOUS = ("whitened", "all turned 0")
LONGER = 1.5


def turn_nothing(setting: Setting, estimator: str, seed: int) -> Rows:
    """Two checkpoints with the same directions, lengths and noise apart."""
    rng = np.random.default_rng(seed)
    same, _ = plant_pairs([0.0] * (EMOTIONS // 2), setting.hidden, rng)
    longer = LONGER if estimator == "difference_of_means" else 1.0
    texts = read_planted((same, longer * same), setting, rng)
    base, now = (measure_texts(t, estimator) for t in texts)
    now, base = share_confounds(now, base)
    grams = compute_grams(now.fit.emotions.values, base.fit.emotions.values)
    turning = assess_turning(grams, draw_flips(setting.topics, FLIPS, rng))
    largest = turning.statistic.max(1)
    any_turned = count_extremes(largest[0] - 1e-9, largest[1:])
    kind = "" if estimator == "difference_of_means" else f", {estimator.replace('_', ' ')}"
    flips = len(turning.statistic)
    of_pairs = turning.p[: EMOTIONS // 2]
    return [
        *({"test": f"turned{kind}", "p": float(p), "draws": flips} for p in of_pairs),
        {"test": f"any turned{kind}", "p": float(any_turned), "draws": flips},
    ]


def turn_like_controls(setting: Setting, angle: float, seed: int) -> Rows:
    """Emotions that turn as far as unrelated contrasts do."""
    rng = np.random.default_rng(seed)
    vectors = plant_pairs([angle] * (EMOTIONS // 2), setting.hidden, rng)
    base, now = map(measure_texts, read_planted(vectors, setting, rng, angle))
    now, base = share_confounds(now, base)
    ours, theirs = now.fit, base.fit
    controls = [
        jackknife_cosine(compute_grams(ours.controls[name].values, theirs.controls[name].values))
        for name in ours.controls
    ]
    found = jackknife_cosine(compute_grams(ours.emotions.values, theirs.emotions.values))
    p = exceed_controls(found, controls)
    return [{"test": f"beyond controls, all turned {angle:g}°", "p": p[0], "draws": np.inf}]


def move_by_chance(amounts: Amounts, seed: int) -> Rows:
    """Slopes and modularity of emotions that are directions like any other of each kind."""
    rng = np.random.default_rng(seed)
    setting = Setting(hidden=amounts.hidden, controls=0)
    meaningless = np.zeros((EMOTIONS, setting.hidden))
    (texts,) = read_planted([meaningless], setting, rng)
    clean = clean_texts(texts, find_confounds(texts.neutral, CONFOUND_VARIANCE))
    stories, labels = clean.stories.values, clean.stories["label"].values
    shuffled = np.nanmean(fit_texts(clean, "difference_of_means").emotions.values, axis=0)
    nulls = {
        "isotropic": draw_isotropic(setting.hidden, DRAWS, rng),
        "matched": draw_matched(stories, labels, DRAWS, rng),
        "shuffled": draw_shuffled(stories, labels, clean.stories["topic"].values, DRAWS, rng),
    }
    spread = stories - stories.mean(0)
    emotions = {
        "isotropic": rng.standard_normal((EMOTIONS, setting.hidden)),
        "matched": rng.standard_normal((EMOTIONS, len(spread))) @ spread,
        "shuffled": shuffled,
    }
    effects = rng.standard_normal((3, len(METRICS)))
    axes = draw_axes(3, setting.hidden, rng)
    behaviour = draw_behaviour(effects, axes, amounts, rng)
    rows = []
    for kind, drawn in emotions.items():
        question = ask(normalise(drawn), {kind: nulls[kind]}, BUNDLES, 9, seed)
        directions = question.locked["direction"].values
        exact = compute_slopes(behaviour.gradients, directions, 0)
        tables = {
            "slope": describe_effects(question, exact, behaviour.gradients),
            "modularity": describe_modularity(question, exact, behaviour.gradients),
        }
        for name, table in tables.items():
            by_concept = pd.DataFrame(table).drop_duplicates("concept").set_index("concept")
            for concept in ("e00", "caution"):
                what = "" if concept == "e00" else " of a bundle"
                p = by_concept.at[concept, f"p_{kind}"]
                rows.append({"test": f"{name}{what}, {kind}", "p": p, "draws": DRAWS})
    return rows


def fragment_nothing(setting: Setting, seed: int) -> Rows:
    """An emotion that is one direction in all topics."""
    rng = np.random.default_rng(seed)
    vectors, _ = plant_pairs([0.0] * (EMOTIONS // 2), setting.hidden, rng)
    (texts,) = read_planted([vectors], setting, rng)
    centred = center_stories(clean_stories(texts))
    own = centred[centred["label"].values == "e00"]
    rank = measure_rank(own.values, own["topic"].values, DRAWS, 0.95, rng)
    return [{"test": "fragments", "p": rank.p, "draws": DRAWS}]


def rate_nothing(setting: Setting, seed: int) -> Rows:
    """Ratings that have nothing to do with the emotions' components."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((2 * EMOTIONS, setting.hidden))
    topics = vectors + rng.standard_normal((setting.topics, *vectors.shape))
    ratings = rng.standard_normal((2, len(vectors)))
    weights = draw_weights([str(t) for t in range(setting.topics)], 9, rng)
    rated = rate_components(topics, ratings, weights, 0.95, seed)
    return [{"test": "ratings", "p": rated.p[0, 0], "draws": 999}]


def steer_by_chance(amounts: Amounts, seed: int) -> Rows:
    """Layers at which emotions are directions like any other."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((EMOTIONS, 2, amounts.hidden))
    gradients = rng.standard_normal((len(METRICS), 2, amounts.hidden))
    fitted = xr.Dataset(
        {
            "vector": (("emotion", "layer", "hidden"), vectors),
            "auroc": (("emotion", "layer"), np.ones((EMOTIONS, 2))),
            "pair_accuracy": ("layer", np.ones(2)),
        },
        coords={"layer": [0, 1]},
    )
    named = xr.DataArray(gradients, dims=("metric", "layer", "hidden"), coords={"layer": [0, 1]})
    judged = judge_layers(fitted, named, DRAWS, rng)
    return [{"test": "layer steers", "p": float(judged["p"][0]), "draws": DRAWS}]


EXPERIMENTS: list[Any] = [
    partial(turn_nothing, Setting(own=0.3), "difference_of_means"),
    partial(turn_nothing, Setting(own=0.3, hidden=24), "whitened_difference"),
    partial(turn_like_controls, Setting(), TURNED),
    partial(turn_like_controls, Setting(), 0.0),
    partial(move_by_chance, Amounts(families=3, prompts=2)),
    partial(fragment_nothing, Setting(topic_noise=0.0, controls=0)),
    partial(rate_nothing, Setting()),
    partial(steer_by_chance, Amounts()),
]


def spread_steps(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rows with ``spread``, and the group of each test for the figure.

    A p-value from n draws is one of n + 1 values; spread evenly over the step below it, it is
    uniform if it was so in steps.

    Parameters
    ----------
    rows
        test, p, draws.
    """
    step = 1 / (rows["draws"] + 1)
    group = [next(g for g, names in GROUPS.items() if t.startswith(names)) for t in rows["test"]]
    return rows.assign(spread=rows["p"] - rng.random(len(rows)) * step, group=group)


def judge_uniformity(rows: pd.DataFrame) -> pd.DataFrame:
    """Kolmogorov–Smirnov test of uniform p-values, and how often p is at most .05, by test.

    Parameters
    ----------
    rows
        From :func:`spread_steps`.
    """
    found = []
    for test, of_test in rows.dropna(subset="p").groupby("test", sort=False):
        number = len(of_test)
        found.append(
            {
                "test": test,
                "repetitions": number,
                "ks_p": float(kstest(of_test["spread"], "uniform").pvalue),
                "below_05": float((of_test["p"] <= 0.05).mean()),
                "lowest": binom.ppf(0.025, number, 0.05) / number,
                "highest": binom.ppf(0.975, number, 0.05) / number,
            }
        )
    return pd.DataFrame(found)
