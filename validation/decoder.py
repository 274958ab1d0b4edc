"""The same through models: planted decoders, read, differentiated and steered like anybody's."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from emodrift.drift.alignment import align_vectors, fit_alignment, gather_background
from emodrift.drift.coupling import describe_effects
from emodrift.drift.direction import compute_grams, jackknife_cosine
from emodrift.drift.slopes import compare_slopes, compute_slopes, join_strengths
from emodrift.measure.activations import extract_part
from emodrift.measure.dialogues import open_dialogues
from emodrift.measure.gradients import measure_gradients
from emodrift.measure.responses import score_steered
from emodrift.measure.session import Session
from emodrift.models.language_model import LanguageModel
from emodrift.models.loading import verify_network
from emodrift.models.memory import TokenBudget
from emodrift.organisms.planting import (
    Planted,
    draw_embeddings,
    mix_embeddings,
    plant_decoder,
    rotate_decoder,
)
from emodrift.organisms.tokenizer import build_tokenizer
from emodrift.stats.jackknife import widen
from emodrift.vectors.fitting import Texts, fit_texts
from emodrift.vectors.nulls import draw_isotropic
from validation.effects import METRICS, ask, draw_axes
from validation.repeating import Rows
from validation.texts import ANGLES, plant_pairs, turn

HIDDEN = 64
TOPICS, STORIES, FILLERS = 14, 2, 3
PROMPTS, FAMILIES = 4, 6
OWN = 0.3
LAYER = 2
LEVEL = 0.95
SCALES = (0.5, 1.0, 2.0)
READING = {"pooling": "mean", "from_token": 1}
ASKING: dict[str, Any] = {
    "first_layer": 0,
    "prompt_format": "plain",
    "plain_prompt": "{prompt}",
    "phrasing_score": "mean",
    "positions": "reply",
    "toward": {metric["suite"]: [metric["toward"]] for metric in METRICS.values()},
}
REPLIES = {"yes": ["agreed"], "no": ["again"]}
STRENGTH = 0.05


class Vocabulary:
    """Words of the grammar's tokenizer, some set aside as triggers, the rest as filling."""

    def __init__(self, emotions: int) -> None:
        self.tokenizer = build_tokenizer()
        self.tokens = self.tokenizer.get_vocab()
        special = {*self.tokenizer.all_special_tokens, *(w for r in REPLIES.values() for w in r)}
        words = sorted(w for w in self.tokens if w not in special and w.isalpha())
        self.triggers = [words[2 * e : 2 * e + 2] for e in range(emotions)]
        self.topics = words[2 * emotions : 2 * emotions + TOPICS]
        self.fillers = words[2 * emotions + TOPICS :]


def write_stories(vocabulary: Vocabulary, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Records of stories: a topic's word, filling, and a trigger of the emotion, in any order."""
    records = []
    for topic in vocabulary.topics:
        for emotion, triggers in enumerate(vocabulary.triggers):
            for copy in range(STORIES):
                words = [topic, rng.choice(triggers), *rng.choice(vocabulary.fillers, FILLERS)]
                records.append(
                    {
                        "id": f"{topic}-{emotion}-{copy}",
                        "label": f"e{emotion:02d}",
                        "topic": topic,
                        "split": "fit",
                        "text": " ".join(rng.permutation(words)),
                    }
                )
    return records


def write_neutral(vocabulary: Vocabulary, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Records of texts without triggers."""
    return [
        {
            "id": f"{topic}-{copy}",
            "topic": topic,
            "split": "fit",
            "text": " ".join([topic, *rng.choice(vocabulary.fillers, FILLERS)]),
        }
        for topic in vocabulary.topics
        for copy in range(2 * len(vocabulary.triggers))
    ]


def write_prompts(vocabulary: Vocabulary, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Records of prompts of every suite, families of which share a word."""
    return [
        {
            "id": f"{metric['suite']}-{family}-{copy}",
            "suite": metric["suite"],
            "split": "heldout",
            "family": f"{metric['suite']}-{family}",
            "prompt": " ".join(
                [vocabulary.fillers[family], *rng.choice(vocabulary.fillers, FILLERS)]
            ),
        }
        for metric in METRICS.values()
        for family in range(FAMILIES)
        for copy in range(PROMPTS)
    ]


def read_stories(model: LanguageModel, records: list[dict[str, Any]]) -> xr.DataArray:
    """Activations (prompt, hidden) at the layer that is compared."""
    return extract_part(model, records, READING, 4096, "planted").sel(layer=LAYER, drop=True)


def turn_directions(seed: int) -> Rows:
    """Angles planted in the weights; besides, the whole space rotated, and a merger."""
    rng = np.random.default_rng(seed)
    before, after = plant_pairs(ANGLES, HIDDEN, rng)
    vocabulary = Vocabulary(len(before))
    embeddings = draw_embeddings(len(vocabulary.tokens), HIDDEN, rng)
    later = mix_embeddings(embeddings, OWN, rng)
    networks = [
        plant_decoder(Planted(directions, vocabulary.triggers, {}), vocabulary.tokens, table)
        for directions, table in ((before, embeddings), (after, later))
    ]
    rotation = draw_axes(HIDDEN, HIDDEN, rng)
    networks.append(rotate_decoder(networks[0], rotation))
    stories, neutral = write_stories(vocabulary, rng), write_neutral(vocabulary, rng)
    fitted, backgrounds = [], []
    for network in networks:
        model = verify_network(network, vocabulary.tokenizer, "planted")
        texts = Texts(read_stories(model, stories), read_stories(model, neutral), None)
        fitted.append(fit_texts(texts, "difference_of_means").emotions.values)
        background = gather_background(texts)
        assert background is not None
        backgrounds.append(background)
    truth = np.cos(np.deg2rad(ANGLES))
    rows = _list_cosines("model: corrected cosine", fitted[1], fitted[0], ANGLES, truth)
    back = fit_alignment(backgrounds[2], backgrounds[0])
    ones = np.ones(len(ANGLES))
    aligned = align_vectors(fitted[2], back)
    rows += _list_cosines("model: space rotated, aligned", aligned, fitted[0], ANGLES, ones)
    return rows


def merge_directions(seed: int) -> Rows:
    """Two emotions that write directions which have turned towards each other."""
    rng = np.random.default_rng(seed)
    merged = (0.0, 15.0, 30.0, 45.0)
    axes = draw_axes(2 * len(merged), HIDDEN, rng)
    pairs = [turn(axes[::2], axes[1::2], merged), turn(axes[1::2], axes[::2], merged)]
    first = np.concatenate(pairs)
    directions = np.concatenate([first, -first])
    vocabulary = Vocabulary(len(directions))
    embeddings = draw_embeddings(len(vocabulary.tokens), HIDDEN, rng)
    planted = Planted(directions, vocabulary.triggers, {})
    network = plant_decoder(planted, vocabulary.tokens, embeddings)
    model = verify_network(network, vocabulary.tokenizer, "planted")
    texts = Texts(read_stories(model, write_stories(vocabulary, rng)), None, None)
    values = fit_texts(texts, "difference_of_means").emotions.values
    truth = np.cos(np.deg2rad(90 - 2 * np.array(merged)))
    number = len(merged)
    return _list_cosines(
        "model: merged cosine", values[:, :number], values[:, number : 2 * number], merged, truth
    )


def scale_readout(seed: int) -> Rows:
    """Slopes of reply words along planted directions whose read-out is scaled, over the unscaled.

    Beside them the correlation and the ratio of finite steering with gradients.
    """
    rng = np.random.default_rng(seed)
    directions, _ = plant_pairs([0.0] * 3, HIDDEN, rng)
    vocabulary = Vocabulary(len(directions))
    embeddings = draw_embeddings(len(vocabulary.tokens), HIDDEN, rng)
    readout = np.array([1.0, 0.5, 0.0]) @ directions[:3]
    records = write_prompts(vocabulary, rng)
    nulls = {"isotropic": draw_isotropic(HIDDEN, 20, rng)}
    question = ask(directions, nulls, {"caution": ["e00", "e01"]}, 200, seed)
    locked = question.locked["direction"].values
    slopes, rows = {}, []
    for scale in SCALES:
        replies = {"agreed": scale * readout, "again": -scale * readout}
        planted = Planted(directions, vocabulary.triggers, replies)
        network = plant_decoder(planted, vocabulary.tokens, embeddings)
        model = verify_network(network, vocabulary.tokenizer, "planted")
        session = Session(model, TokenBudget(4096), "planted")
        found = measure_gradients(session, records, REPLIES, ASKING)
        exact = compute_slopes(found, locked, LAYER)
        table = describe_effects(_at_layer(question), exact, found)
        of_metric = {r["concept"]: r for r in table if r["metric"] == "refusal"}
        slopes[scale] = of_metric["e00"]
        agreement = compare_slopes(exact, _steer(model, records, locked, found))
        if scale == 1:
            rows.append(_row("model: unread direction", scale, 0.0, of_metric["e02"], "slope"))
        rows += [
            {
                "quantity": "model: finite over exact slope",
                "planted": scale,
                "truth": 1.0,
                "estimate": float(agreement["ratio"].mean()),
                "correlation": float(agreement["correlation"].min()),
            },
        ]
    unscaled = slopes[1.0]["slope"]
    rows += [
        {
            "quantity": "model: scaled slope",
            "planted": scale,
            "truth": scale * unscaled,
            "estimate": slopes[scale]["slope"],
        }
        for scale in SCALES
    ]
    return rows


def _steer(
    model: LanguageModel, records: list[dict[str, Any]], locked: np.ndarray, found: xr.Dataset
) -> xr.DataArray:
    import torch

    dialogues = open_dialogues(model, records, REPLIES, ASKING, TokenBudget(4096), "planted")
    norm = float(found["residual_norm"].sel(layer=LAYER))
    strengths = [-STRENGTH, STRENGTH]
    scores = score_steered(
        dialogues,
        torch.from_numpy(locked).float(),
        LAYER,
        [norm * strength for strength in strengths],
        ASKING["positions"],
        TokenBudget(4096),
    )
    labels = {k: found.coords[k] for k in ("id", "suite", "split", "family")}
    response = xr.Dataset(
        {"steered_score": (("direction", "strength", "prompt", "reply_class"), scores)},
        coords=labels
        | {"strength": strengths, "reply_class": np.array(dialogues.tree.classes, dtype=object)}
        | {"direction": np.arange(len(locked))},
    )
    return join_strengths(response, found["score"])


def _at_layer(question: Any) -> Any:
    from dataclasses import replace

    return replace(question, locked=question.locked.assign_coords(layer=LAYER))


def _list_cosines(
    quantity: str, ours: np.ndarray, theirs: np.ndarray, planted: Any, truth: np.ndarray
) -> Rows:
    found = jackknife_cosine(compute_grams(ours, theirs))
    low, high = widen(found, LEVEL)
    return [
        {
            "quantity": quantity,
            "planted": float(value),
            "truth": float(truth[i]),
            "estimate": float(found.value[i]),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i, value in enumerate(planted)
    ]


def _row(quantity: str, planted: float, truth: float, found: Any, name: str) -> dict[str, Any]:
    ends = {end: float(found[f"{name}_{end}"]) for end in ("low", "high")}
    estimate = float(found[name])
    return {"quantity": quantity, "planted": planted, "truth": truth, "estimate": estimate} | ends


EXPERIMENTS = {
    "turned in the weights": turn_directions,
    "merged in the weights": merge_directions,
    "scaled in the weights": scale_readout,
}
