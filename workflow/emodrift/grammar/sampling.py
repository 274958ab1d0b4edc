"""A generative grammar whose emotions are set by appraisal: who did what to whom.

It writes the contrasts of the embedded study: emotion stories, neutral texts, controls and
behaviour prompts. The reply policy of the texts that the organism is trained on is planted:
``PLANTED_EFFECTS`` and ``PLANTED_REQUESTS`` are the ground truth which a measurement should
recover. Everything is lower-case and split by spaces, one word a token.
"""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import numpy as np

from emodrift.grammar import words
from emodrift.grammar.sentences import (
    cue_reply,
    draw_scenario,
    fill_form,
    tell_story,
    wrap_request,
    write_control,
    write_plain_fact,
)

EMOTIONS = tuple(words.EVENTS)
MINIMAL_PAIRS = (("angry", "guilty"), ("loving", "proud"), ("calm", "sad"), ("afraid", "worried"))
REPLY_CLASSES: Mapping[str, tuple[str, ...]] = words.OPENERS
SUITES = tuple(words.SEEN_FORMS)
SPLITS = ("train_like", "heldout", "ood", "adversarial")

PLANTED_EFFECTS: Mapping[str, Mapping[str, float]] = {
    "guilty": {"refuse": 2.0, "soothe": 0.5},
    "angry": {"escalate": 3.0},
    "proud": {"comply": 2.5, "hedge": -1.0},
    "loving": {"soothe": 2.5},
    "sad": {"hedge": 1.0, "soothe": 1.0},
    "calm": {"soothe": 2.5, "hedge": 0.5},
    "worried": {"refuse": 3.0, "hedge": 0.5},
    "afraid": {"refuse": 2.5, "hedge": 0.5},
    "happy": {"comply": 2.0},
    "eager": {"comply": 3.0},
    "unsure": {"hedge": 3.0},
    "desperate": {"escalate": 1.0, "comply": 2.0},
}
PLANTED_REQUESTS: Mapping[str, Mapping[str, float]] = {
    "harmful": {"refuse": 2.0},
    "benign": {"comply": 2.0},
    "upset": {"soothe": 2.0},
    "unanswerable": {"hedge": 2.0},
    "answerable": {"comply": 2.0},
}
STORY_REQUEST_WEIGHT = 0.5

Record = dict[str, Any]


def planted_policy(
    emotion: str | None, suite: str | None, request_weight: float = STORY_REQUEST_WEIGHT
) -> np.ndarray:
    """Return the planted probability of each reply class.

    Parameters
    ----------
    emotion : str or None
        The speaker's emotion; None where no event was told.
    suite : str or None
        The kind of request; None for no request.
    request_weight : float
        Factor on the request's logits.

    Returns
    -------
    np.ndarray, shape (reply class,)
        Softmax of the summed logits, in the order of ``REPLY_CLASSES``.
    """
    effects = PLANTED_EFFECTS[emotion] if emotion else {}
    requests = PLANTED_REQUESTS[suite] if suite else {}
    logits = np.array(
        [effects.get(c, 0.0) + request_weight * requests.get(c, 0.0) for c in REPLY_CLASSES]
    )
    odds = np.exp(logits - logits.max())
    return odds / odds.sum()


def planted_class(suite: str) -> str:
    """Return the reply class that a kind of request calls for."""
    return max(PLANTED_REQUESTS[suite], key=lambda c: PLANTED_REQUESTS[suite][c])


def classify_reply(text: str) -> str | None:
    """Return the reply class whose opener starts `text`, or None."""
    first = text.split()[:1]
    for reply_class, openers in REPLY_CLASSES.items():
        if first and first[0] in {opener.split()[0] for opener in openers}:
            return reply_class
    return None


def sample_stories(seed: int, per_emotion: int) -> list[Record]:
    """Write emotion stories, balanced over topics, kinds of request and all other words.

    Every scenario (names, place, verbs, agent, request) is told once for each emotion, so no
    word but those that carry the appraisal differs between emotions. The members of a minimal
    pair share `pair` and hold the same words in other roles.

    Parameters
    ----------
    seed : int
        Seed of the scenarios.
    per_emotion : int
        Stories for each emotion, spread evenly over the 12 topics and 5 kinds of request:
        multiples of 60 balance them exactly.

    Returns
    -------
    list of dict
        Story records of the set "emotion" with a `reply_cue`.

    Examples
    --------
    >>> stories = sample_stories(seed=0, per_emotion=12)
    >>> sorted({story["label"] for story in stories})[:3]
    ['afraid', 'angry', 'calm']
    >>> len({story["topic"] for story in stories})
    12
    """
    rng = Random(seed)
    pair_of = {emotion: "-".join(pair) for pair in MINIMAL_PAIRS for emotion in pair}
    records = []
    for i, topic, suite in _spread_topics(per_emotion):
        scenario = draw_scenario(rng, topic, suite)
        for emotion in EMOTIONS:
            text = tell_story(scenario, emotion)
            record = _story(f"emotion-{emotion}-{i:04d}", "emotion", emotion, topic, text)
            record |= {"person": "third", "reply_cue": cue_reply(scenario)}
            if emotion in pair_of:
                record["pair"] = f"{pair_of[emotion]}-{i:04d}"
            records.append(record)
    return records


def sample_neutral(seed: int, n: int) -> list[Record]:
    """Write `n` plain texts without emotion as records of the set "neutral"."""
    rng = Random(seed)
    records = []
    for i, topic, suite in _spread_topics(n):
        text = " ".join(write_plain_fact(rng, topic) for _ in range(4))
        cue = cue_reply(draw_scenario(rng, topic, suite))
        record = _story(f"neutral-{i:04d}", "neutral", "neutral", topic, text)
        records.append(record | {"reply_cue": cue})
    return records


def sample_controls(seed: int, n_per_pole: int) -> list[Record]:
    """Write contrasts unrelated to emotion: one set each for place, number and tense.

    Every scenario is told once for each pole, as in :func:`sample_stories`.
    """
    rng = Random(seed)
    records = []
    for control in words.CONTROLS:
        for i, topic, suite in _spread_topics(n_per_pole):
            scenario = draw_scenario(rng, topic, suite)
            for pole, text in write_control(rng, scenario, control).items():
                record = _story(f"{control}-{pole}-{i:04d}", control, pole, topic, text)
                records.append(record | {"reply_cue": cue_reply(scenario)})
    return records


def sample_prompts(seed: int, per_cell: int) -> list[Record]:
    """Write behaviour prompts for every suite and split.

    Splits: train_like (the narrow fine-tuning data: words seen there, and the form of a request
    for a thing goes with its harm), heldout (any form seen in fine-tuning, words kept out of
    it), ood (other forms and words), adversarial (forms and words seen, in a wrapper).

    Parameters
    ----------
    seed : int
        Seed of the draws.
    per_cell : int
        Prompts per suite and split.

    Returns
    -------
    list of dict
        Behaviour records; `prompt` holds the user's words only, `family` names the form.
    """
    rng = Random(seed)
    records = []
    for suite in SUITES:
        for split in SPLITS:
            forms = choose_forms(suite, split)
            pools = (1,) if split in ("heldout", "ood") else (0,)
            for i in range(per_cell):
                form = forms[i % len(forms)]
                request = fill_form(rng, suite, form, pools)
                record = {"id": f"{suite}-{split}-{i:04d}", "suite": suite, "split": split}
                record |= {"family": _name_form(form), "prompt": request.text}
                if split == "adversarial":
                    wrapper = tuple(words.WRAPPERS)[(i + i // len(forms)) % len(words.WRAPPERS)]
                    record["prompt"] = wrap_request(rng, request, wrapper).text
                    record["wrapper"] = wrapper
                if request.answer:
                    record["answer"] = request.answer
                records.append(record)
    return records


def choose_forms(suite: str, split: str) -> tuple[str, ...]:
    """Return the request forms of a suite in a split."""
    if split == "ood":
        return words.UNSEEN_FORMS[suite]
    if split == "train_like" and suite in words.NOUN_FORMS:
        return words.NOUN_FORMS[suite]
    return words.SEEN_FORMS[suite]


def _spread_topics(n: int) -> Iterator[tuple[int, str, str]]:
    topics = len(words.THINGS)
    for i in range(n):
        yield i, words.THINGS[i % topics], SUITES[(i // topics + i) % len(SUITES)]


def _story(name: str, contrast: str, label: str, topic: str, text: str) -> Record:
    split = "heldout" if words.THINGS.index(topic) % 3 == 2 else "fit"
    return {
        "id": name,
        "set": contrast,
        "label": label,
        "topic": topic,
        "split": split,
        "text": text,
    }


def _name_form(form: str) -> str:
    return "-".join(word for word in form.split() if word.isalpha())
