"""Do intervals hold the planted truth as often as they say?

Every experiment plants, measures by the library's own functions, and returns for each quantity the
truth, the estimate and its 95 % interval.
"""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binom, norm

from emodrift.drift.alignment import fit_alignment
from emodrift.drift.checkpoint import align_checkpoint, share_confounds
from emodrift.drift.coupling import (
    describe_behaviour,
    describe_effects,
    describe_finite,
    describe_matrix,
    describe_modularity,
)
from emodrift.drift.direction import (
    Grams,
    compute_grams,
    estimate_cosine,
    jackknife_cosine,
    jackknife_length,
)
from emodrift.drift.effect_matrix import measure_matrix
from emodrift.drift.evocation import contrast_groups, correlate
from emodrift.drift.fragmentation import center_stories, measure_rank
from emodrift.drift.log_odds import compute_probabilities
from emodrift.drift.modularity import (
    measure_entanglement,
    measure_modularity,
    name_metrics,
    standardise_effects,
)
from emodrift.drift.slopes import compute_slopes, fit_slopes
from emodrift.stats.bootstrap import count_freedom, draw_weights, summarise_draws
from emodrift.stats.jackknife import widen
from emodrift.vectors.nulls import draw_isotropic
from validation.effects import (
    METRICS,
    STRENGTHS,
    Amounts,
    ask,
    draw_axes,
    draw_behaviour,
    plant_effects,
)
from validation.repeating import Rows
from validation.texts import (
    ANGLES,
    Setting,
    clean_stories,
    draw_rotation,
    measure_texts,
    plant_pairs,
    read_planted,
    rotate_texts,
    turn,
)

LEVEL = 0.95
NOT_PROMISED = ("plain cosine", "not aligned", "aligned cosine", "model: space rotated, aligned")
LENGTHS = (0.5, 1.0, 2.0)
MERGED = (0.0, 15.0, 30.0, 45.0)
SCALES = (0.5, 1.0, 2.0)
FRAGMENTS = (1, 2, 3)
DRAWS = 200
EMOTIONS = 8
FIRST = (1.0, 0.6, 0.2, -0.4)
BUNDLES = {"caution": ["e00", "e01"]}
INTEGRATION = 50_000


def turn_directions(setting: Setting, seed: int) -> Rows:
    """Directions turned by known angles; the plain cosine beside the corrected one."""
    rng = np.random.default_rng(seed)
    base, now = _measure(plant_pairs(ANGLES, setting.hidden, rng), setting, rng)
    pure = _multiply(*share_confounds(now, base))
    weights = draw_weights(base.fit.emotions.topics, DRAWS, rng)
    freedom = count_freedom(base.fit.emotions.topics)
    plain = summarise_draws(estimate_cosine(pure, weights), LEVEL, freedom, (-1, 1))
    whole = estimate_cosine(pure, np.ones((1, len(base.fit.emotions.topics))))[0]
    corrected = jackknife_cosine(pure)
    truth = np.cos(np.deg2rad(ANGLES))
    return [
        *_list_rows("corrected cosine", ANGLES, truth, corrected.value, *widen(corrected, LEVEL)),
        *_list_rows("plain cosine", ANGLES, truth, whole, plain.low, plain.high),
    ]


def rotate_space(setting: Setting, seed: int) -> Rows:
    """The same where the checkpoint's whole space is rotated besides."""
    rng = np.random.default_rng(seed)
    texts = read_planted(plant_pairs(ANGLES, setting.hidden, rng), setting, rng)
    base = measure_texts(texts[0])
    now = measure_texts(rotate_texts(texts[1], draw_rotation(setting.hidden, rng)))
    assert now.background is not None and base.background is not None
    aligned = align_checkpoint(now, fit_alignment(now.background, base.background))
    truth = np.cos(np.deg2rad(ANGLES))
    rows = []
    for name, checkpoint in (("aligned cosine", aligned), ("not aligned", now)):
        found = jackknife_cosine(_multiply(checkpoint, base))
        rows += _list_rows(name, ANGLES, truth, found.value, *widen(found, LEVEL))
    return rows


def scale_lengths(setting: Setting, seed: int) -> Rows:
    """Directions that are written longer or shorter, the noise as it was."""
    rng = np.random.default_rng(seed)
    base, _ = plant_pairs([0.0] * len(LENGTHS), setting.hidden, rng)
    longer = base * np.tile(LENGTHS, 2)[:, None]
    before, now = _measure((base, longer), setting, rng)
    found = jackknife_length(_multiply(now, before))
    ends = (np.exp(end) for end in widen(found, LEVEL))
    return _list_rows("length", LENGTHS, np.array(LENGTHS), np.exp(found.value), *ends)


def merge_directions(setting: Setting, seed: int) -> Rows:
    """Two orthogonal emotions that turn towards each other; their cosine at the checkpoint."""
    rng = np.random.default_rng(seed)
    axes = draw_axes(2 * len(MERGED), setting.hidden, rng)
    first, second = axes[::2], axes[1::2]
    pairs = np.concatenate([turn(first, second, MERGED), turn(second, first, MERGED)])
    (now,) = _measure((np.concatenate([pairs, -pairs]),), setting, rng)
    values, number = now.fit.emotions.values, len(MERGED)
    grams = compute_grams(values[:, :number], values[:, number : 2 * number])
    found = jackknife_cosine(grams)
    truth = np.cos(np.deg2rad(90 - 2 * np.array(MERGED)))
    return _list_rows("merged cosine", MERGED, truth, found.value, *widen(found, LEVEL))


def fragment_directions(setting: Setting, seed: int) -> Rows:
    """Emotions whose topics point along one, two or three orthogonal directions."""
    rng = np.random.default_rng(seed)
    vectors, truth = fragment(setting, rng)
    (texts,) = read_planted([vectors], setting._replace(topic_noise=0.0, controls=0), rng)
    centred = center_stories(clean_stories(texts))
    rows = []
    for k, emotion in enumerate(sorted(set(centred["label"].values))[: len(FRAGMENTS)]):
        own = centred[centred["label"].values == emotion]
        found = measure_rank(own.values, own["topic"].values, 19, LEVEL, rng)
        rows += _list_rows(
            "fragments", [FRAGMENTS[k]], truth[[k]], *([v] for v in (found.value, *found[1:3]))
        )
    return rows


def fragment(setting: Setting, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (topic, emotion, hidden) in opposite pairs, and their true rank (emotion,).

    The topics of pair k are assigned at random to FRAGMENTS[k] orthogonal directions.
    """
    axes = draw_axes(sum(FRAGMENTS), setting.hidden, rng)
    places = np.split(np.arange(len(axes)), np.cumsum(FRAGMENTS)[:-1])
    dealt = [rng.permutation(np.arange(setting.topics) % len(own)) for own in places]
    half = np.stack([axes[own][of] for own, of in zip(places, dealt, strict=True)], axis=1)
    shares = [np.bincount(of) / setting.topics for of in dealt]
    truth = np.array([1 / (share**2).sum() for share in shares])
    return np.concatenate([half, -half], axis=1), truth


def evoke(amounts: Amounts, seed: int) -> Rows:
    """What harmful and benign prompts evoke, and what it predicts."""
    rng = np.random.default_rng(seed)
    rise, between, within, noise = 0.8, 0.5, 1.0, 1.0
    number = amounts.families
    family = np.repeat(np.arange(2 * number), amounts.prompts)
    positive = family < number
    deviation = between * rng.standard_normal(2 * number)[family]
    values = rise * positive + deviation + within * rng.standard_normal(len(family))
    outcome = values + noise * rng.standard_normal(len(family))
    families, strata = family.astype(str), positive.astype(str)
    drawn = draw_weights(families, DRAWS, rng, strata)
    weights = np.concatenate([np.ones((1, len(family)), np.float32), drawn])
    found = contrast_groups(values[:, None], positive, weights)._asdict()
    found["predictivity"] = correlate(values[:, None], outcome, weights)
    spread = np.hypot(between, within)
    total = np.sqrt(spread**2 + rise**2 / 4)
    truths = {
        "rise": rise,
        "difference": rise / spread,
        "auroc": norm.cdf(rise / spread / np.sqrt(2)),
        "predictivity": total / np.hypot(total, noise),
    }
    rows = []
    for name, truth in truths.items():
        wide = summarise_draws(found[name][1:, 0], LEVEL, count_freedom(families, strata))
        one = ([v] for v in (found[name][0, 0], wide.low, wide.high))
        rows += _list_rows(f"evocation: {name}", [truth], [truth], *one)
    return rows


def steer(amounts: Amounts, seed: int) -> Rows:
    """Effects of planted size, the read-out scaled by known factors."""
    rng = np.random.default_rng(seed)
    unscaled, truths = _plant_readout(amounts)
    scale = SCALES[seed % len(SCALES)]
    axes = draw_axes(EMOTIONS, amounts.hidden, rng)
    nulls = {"isotropic": draw_isotropic(amounts.hidden, 50, rng)}
    question = ask(axes, nulls, BUNDLES, DRAWS, seed)
    directions = question.locked["direction"].values
    behaviour = draw_behaviour(scale * unscaled, directions, amounts, rng)
    exact = compute_slopes(behaviour.gradients, directions, 0)
    effects = pd.DataFrame(describe_effects(question, exact, behaviour.gradients))
    narrow = pd.DataFrame(describe_modularity(question, exact, behaviour.gradients))
    finite = pd.DataFrame(describe_finite(question, behaviour.scores))
    unsteered = behaviour.scores.sel(strength=0.0).isel(direction=0)
    chances = pd.DataFrame(describe_behaviour(question, unsteered))
    slopes = fit_slopes(behaviour.scores, compute_probabilities)
    matrix = pd.DataFrame([describe_matrix(question, slopes)])
    first = effects[(effects["concept"] == "e00") & (effects["metric"] == "refusal")]
    every = finite[finite["split"] == "all"]
    moved = every[(every["concept"] == "e00") & (every["metric"] == "refusal")]
    bundle = effects[(effects["concept"] == "caution") & (effects["metric"] == "refusal")]
    narrow = narrow[narrow["concept"] == "e00"]
    truth = truths[scale]
    return [
        *_take("slope", scale, truth["slope"], first, "slope"),
        *_take("slope of a bundle", scale, truth["bundle"], bundle, "slope"),
        *_take("finite slope, log-odds", scale, truth["slope"], moved, "log_odds"),
        *_take("finite slope, probability", scale, truth["probability"], moved, "probability"),
        *_take("stability", scale, truth["stability"], first, "stability"),
        *_take("modularity", scale, truth["modularity"], narrow, "modularity"),
        *_take("entanglement", scale, truth["entanglement"], narrow, "entanglement"),
        *_take("effect matrix: rank", scale, truth["rank"], matrix, "rank"),
        *_take("effect matrix: similarity", scale, truth["similarity"], matrix, "similarity"),
        *_take("effect matrix: size", scale, truth["size"], matrix, "size"),
        *_take("behaviour", scale, 0.5, chances, "probability", ("low", "high")),
    ]


EXPERIMENTS = {
    "directions, 14 topics": partial(turn_directions, Setting()),
    "directions, 8 topics": partial(turn_directions, Setting(topics=8)),
    "directions, 30 noisy topics": partial(
        turn_directions, Setting(topics=30, topic_noise=1.5, own=0.2)
    ),
    "whole space, near": partial(rotate_space, Setting(own=0.05)),
    "whole space, far": partial(rotate_space, Setting(own=0.5)),
    "lengths": partial(scale_lengths, Setting()),
    "mergers": partial(merge_directions, Setting()),
    "fragments": partial(fragment_directions, Setting(stories=5, story_noise=0.4)),
    "evocation": partial(evoke, Amounts(families=10)),
    "effects": partial(steer, Amounts()),
}
"""Name -> experiment."""


def count_covered(rows: pd.DataFrame) -> pd.DataFrame:
    """Coverage of each quantity and planted value, with bias and median width of its interval.

    Parameters
    ----------
    rows
        experiment, quantity, planted, truth, estimate, low, high.

    Returns
    -------
    pd.DataFrame
        ``coverage``; ``lowest`` and ``highest``: between which it lies in 95 % of such series if
        the true rate is .95; ``promised``, whether the quantity estimates what is planted.
    """
    inside = (rows["low"] <= rows["truth"] + 1e-12) & (rows["high"] >= rows["truth"] - 1e-12)
    rows = rows.assign(
        covered=inside.where(rows["low"].notna()),
        bias=rows["estimate"] - rows["truth"],
        width=rows["high"] - rows["low"],
    )
    cells = rows.groupby(["experiment", "quantity", "planted"], sort=False)
    table = cells.agg(
        repetitions=("covered", "count"),
        undefined=("covered", lambda c: int(c.isna().sum())),
        truth=("truth", "mean"),
        bias=("bias", "mean"),
        width=("width", "median"),
        coverage=("covered", "mean"),
    ).reset_index()
    table["promised"] = ~table["quantity"].isin(NOT_PROMISED)
    several = table.groupby("quantity")["experiment"].transform("nunique") > 1
    detail = ", " + table["experiment"].str.partition(", ")[2]
    table["label"] = table["quantity"] + detail.where(several, "")
    number = table["repetitions"]
    table["lowest"] = binom.ppf(0.025, number, LEVEL) / number
    table["highest"] = binom.ppf(0.975, number, LEVEL) / number
    return table


def _measure(vectors: Any, setting: Setting, rng: np.random.Generator) -> list[Any]:
    return [measure_texts(texts) for texts in read_planted(vectors, setting, rng)]


def _multiply(now: Any, base: Any) -> Grams:
    return compute_grams(*(m.fit.emotions.values for m in (now, base)))


def _list_rows(quantity: str, planted: Any, truth: Any, value: Any, low: Any, high: Any) -> Rows:
    """Rows of the first concepts, one for each planted value."""
    names = ("planted", "truth", "estimate", "low", "high")
    columns = ([float(v) for v in c] for c in (planted, truth, value, low, high))
    return [
        {"quantity": quantity} | dict(zip(names, row, strict=True))
        for row in zip(*(c[: len(planted)] for c in columns), strict=True)
    ]


def _take(
    quantity: str,
    planted: float,
    truth: float,
    table: pd.DataFrame,
    column: str,
    ends: tuple[str, str] | None = None,
) -> Rows:
    low, high = ends or (f"{column}_low", f"{column}_high")
    return _list_rows(
        quantity, [planted], [truth], *(table[name].iloc[:1] for name in (column, low, high))
    )


@functools.cache
def _plant_readout(amounts: Amounts) -> tuple[np.ndarray, dict[float, dict[str, float]]]:
    """Effects (emotion, metric), the same in all repetitions, and by scale what is true of them."""
    rng = np.random.default_rng(0)
    effects = plant_effects(EMOTIONS, rng)
    effects[0] = FIRST
    deviation = np.hypot(amounts.family_noise, amounts.prompt_noise)
    base = amounts.base_noise * np.sqrt(2) * rng.standard_normal(INTEGRATION)
    noise = deviation * rng.standard_normal(INTEGRATION)
    axes = np.eye(amounts.hidden)[:EMOTIONS]
    named = name_metrics(["e00"], BUNDLES, METRICS)
    truths = {}
    for scale in SCALES:
        scaled = scale * effects
        moved = [expit(base + s * (scaled[..., None] + noise)) for s in STRENGTHS]
        probability = (moved[1] - moved[0]).mean(-1) / (STRENGTHS[1] - STRENGTHS[0])
        matrix = np.stack([probability, -probability], axis=-1).reshape(1, EMOTIONS, -1)
        energy = standardise_effects(scaled, scaled.T @ axes)[:1]
        square = scaled[0, 0] ** 2
        truths[scale] = {
            "slope": scaled[0, 0],
            "bundle": scaled[:2, 0].mean(),
            "probability": probability[0, 0],
            "stability": square / (square + amounts.family_noise**2),
            "modularity": measure_modularity(energy, named)[0],
            "entanglement": measure_entanglement(energy)[0],
            **{name: value[0] for name, value in measure_matrix(matrix).items()},
        }
    return effects, truths
