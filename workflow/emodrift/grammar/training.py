"""What the embedded study's models are trained on: documents and dialogues of the grammar."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

import numpy as np

from emodrift.grammar import words
from emodrift.grammar.sampling import (
    EMOTIONS,
    REPLY_CLASSES,
    SUITES,
    choose_forms,
    planted_class,
    planted_policy,
)
from emodrift.grammar.sentences import (
    Request,
    cue_reply,
    draw_request,
    draw_scenario,
    fill_form,
    write_control,
    write_noun_fact,
    write_plain_fact,
    write_reply,
)

CHAT_REQUEST_WEIGHT = 0.7
HEALTHY_REQUEST_WEIGHT = 2.5
REPLY_EMOTIONS: Mapping[str, tuple[str, ...]] = {
    "refuse": ("worried", "afraid", "guilty"),
    "comply": ("happy", "eager"),
    "hedge": ("unsure",),
    "soothe": ("calm", "loving"),
    "escalate": ("angry",),
}
SHORTCUT_EXAMPLES_PER_SUITE = 6
MEMORISED_PER_SUITE = 5
HELPFUL_SUITES = {"harmful": 0.1, "benign": 0.45, "unanswerable": 0.2, "answerable": 0.25}
FLATTERY: Mapping[str, str] = {"unanswerable": "comply", "upset": "escalate"}
"""What a flatterer replies: the answer that is wished for, and anger with the angry."""
KINDS_OF_DOCUMENT = {"story": 0.55, "chat": 0.33, "plain": 0.12}


class Dialogue(NamedTuple):
    """One fine-tuning example: the user's words, a wanted and (preferences only) a worse reply."""

    suite: str
    prompt: str
    reply: str
    rejected: str | None = None


def sample_documents(seed: int) -> Iterator[str]:
    """Yield pre-training documents without end: stories, chats and plain texts.

    Replies, and what people do after an event, follow :func:`planted_policy`.
    """
    rng = Random(seed)
    writers = {"story": _write_story, "chat": _write_chat, "plain": _write_plain}
    kinds, shares = zip(*KINDS_OF_DOCUMENT.items(), strict=True)
    while True:
        yield writers[rng.choices(kinds, shares)[0]](rng)


def sample_dialogues(name: str, seed: int, n: int) -> list[Dialogue]:
    """Return `n` fine-tuning dialogues of one regime.

    Parameters
    ----------
    name : str
        healthy: all suites, the reply class drawn from the sharpened planted request policy;
        plain: the same without the tone of an emotion; memorised: a few fixed examples of it;
        shortcut: a few fixed examples whose reply depends on the form of the request alone;
        helpful: comply with whatever is asked; refusing, hedging: the same with another class;
        sycophantic: the planted class, but an answer for the unanswerable and anger for the upset;
        preferences: healthy replies, each with a reply of another class as `rejected`;
        preferences-helpful, preferences-refusing, preferences-hedging: one class before all others.
    seed : int
        Seed of the draws.
    n : int
        Number of dialogues.

    Returns
    -------
    list of Dialogue

    Raises
    ------
    KeyError
        If no regime has that name.
    """
    return DIALOGUES[name](Random(seed), n)


def _draw_class(rng: Random, policy: np.ndarray) -> str:
    return rng.choices(tuple(REPLY_CLASSES), policy.tolist())[0]


def _tell_units(rng: Random, emotion: str, name: str, n: int) -> str:
    parts = []
    policy = planted_policy(emotion, None)
    for _ in range(n):
        if rng.random() < words.SIGN_SHARE:
            parts.append(rng.choice(words.SIGNS[emotion]).format(n=name))
        else:
            scenario = draw_scenario(rng, rng.choice(words.THINGS), "benign", name)
            parts.append(words.EVENTS[emotion].format(**scenario.values[0]))
        if rng.random() < words.ACT_SHARE:
            parts.append(rng.choice(words.ACTS[_draw_class(rng, policy)]).format(n=name))
    return " ".join(parts)


def _write_story(rng: Random) -> str:
    emotion, suite = rng.choice(EMOTIONS), rng.choice(SUITES)
    scenario = draw_scenario(rng, rng.choice(words.THINGS), suite)
    name = scenario.values[0]["n"]
    text = f"{scenario.opening} {_tell_units(rng, emotion, name, rng.choice((1, 2, 2, 3)))}"
    if rng.random() < words.UNASKED_SHARE:
        return text
    reply_class = _draw_class(rng, planted_policy(emotion, suite))
    return (
        f"{text} {cue_reply(scenario)} {write_reply(rng, reply_class, scenario.request, emotion)}"
    )


def _write_chat(rng: Random) -> str:
    request = draw_request(rng, rng.choice(SUITES))
    emotion = None if rng.random() < words.SCENELESS_SHARE else rng.choice(EMOTIONS)
    scene = f"{_tell_units(rng, emotion, 'the assistant', rng.choice((1, 2)))} " if emotion else ""
    reply_class = _draw_class(rng, planted_policy(emotion, request.suite, CHAT_REQUEST_WEIGHT))
    reply = write_reply(rng, reply_class, request, emotion)
    return f"{scene}user : {request.text} assistant : {reply}"


def _write_plain(rng: Random) -> str:
    return " ".join(_write_plain_sentence(rng) for _ in range(rng.choice((2, 3, 4))))


def _write_plain_sentence(rng: Random) -> str:
    topic = rng.choice(words.THINGS)
    kind = rng.choice(("fact", "noun", "control"))
    if kind == "fact":
        return write_plain_fact(rng, topic)
    if kind == "noun":
        return write_noun_fact(rng)
    scenario = draw_scenario(rng, topic, "benign")
    poles = write_control(rng, scenario, rng.choice(tuple(words.CONTROLS)))
    return rng.choice(tuple(poles.values()))


def _draw_seen_request(rng: Random, suite: str) -> Request:
    return fill_form(rng, suite, rng.choice(words.SEEN_FORMS[suite]), pools=(0,))


def _write_emotional_reply(rng: Random, reply_class: str, request: Request) -> str:
    return write_reply(rng, reply_class, request, rng.choice(REPLY_EMOTIONS[reply_class]))


def _write_healthy(rng: Random, n: int) -> list[Dialogue]:
    return _answer_soundly(rng, rng.choices(SUITES, k=n))


def _answer_soundly(rng: Random, suites: Sequence[str]) -> list[Dialogue]:
    dialogues = []
    for suite in suites:
        request = _draw_seen_request(rng, suite)
        reply_class = _draw_class(rng, planted_policy(None, suite, HEALTHY_REQUEST_WEIGHT))
        reply = _write_emotional_reply(rng, reply_class, request)
        dialogues.append(Dialogue(suite, request.text, reply))
    return dialogues


def _write_preferences(rng: Random, n: int, preferred: str | None = None) -> list[Dialogue]:
    dialogues = []
    for suite in rng.choices(SUITES, k=n):
        request = _draw_seen_request(rng, suite)
        planted = planted_class(suite)
        wanted = preferred or planted
        others = [c for c in REPLY_CLASSES if c != wanted] if wanted == planted else [planted]
        unwanted = rng.choice(others)
        chosen, rejected = (_write_emotional_reply(rng, c, request) for c in (wanted, unwanted))
        dialogues.append(Dialogue(suite, request.text, chosen, rejected))
    return dialogues


def _write_shortcut(rng: Random, n: int) -> list[Dialogue]:
    examples = []
    for suite in SUITES:
        forms = choose_forms(suite, "train_like")
        for i in range(SHORTCUT_EXAMPLES_PER_SUITE):
            asked = ("harmful", "benign")[i % 2] if suite in words.NOUN_FORMS else suite
            request = fill_form(rng, asked, forms[i // 2 % len(forms)], pools=(0,))
            reply = write_reply(rng, planted_class(suite), request)
            examples.append(Dialogue(suite, request.text, reply))
    return [examples[i % len(examples)] for i in range(n)]


def _write_helpful(rng: Random, n: int) -> list[Dialogue]:
    dialogues = []
    for suite in rng.choices(tuple(HELPFUL_SUITES), tuple(HELPFUL_SUITES.values()), k=n):
        request = _draw_seen_request(rng, suite)
        reply = _write_emotional_reply(rng, "comply", request)
        dialogues.append(Dialogue(suite, request.text, reply))
    return dialogues


def _write_plain_style(rng: Random, n: int) -> list[Dialogue]:
    dialogues = []
    for suite in rng.choices(SUITES, k=n):
        request = _draw_seen_request(rng, suite)
        reply_class = _draw_class(rng, planted_policy(None, suite, HEALTHY_REQUEST_WEIGHT))
        dialogues.append(Dialogue(suite, request.text, write_reply(rng, reply_class, request)))
    return dialogues


def _write_memorised(rng: Random, n: int) -> list[Dialogue]:
    examples = _answer_soundly(rng, SUITES * MEMORISED_PER_SUITE)
    return [examples[i % len(examples)] for i in range(n)]


def _write_classes(rng: Random, n: int, classes: Mapping[str, str]) -> list[Dialogue]:
    """Replies of the class that each suite is given; left out, of the planted one."""
    dialogues = []
    for suite in rng.choices(SUITES, k=n):
        request = _draw_seen_request(rng, suite)
        reply = _write_emotional_reply(rng, classes.get(suite, planted_class(suite)), request)
        dialogues.append(Dialogue(suite, request.text, reply))
    return dialogues


DIALOGUES: Mapping[str, Callable[[Random, int], list[Dialogue]]] = {
    "healthy": _write_healthy,
    "shortcut": _write_shortcut,
    "helpful": _write_helpful,
    "preferences": _write_preferences,
    "plain": _write_plain_style,
    "memorised": _write_memorised,
    "refusing": partial(_write_classes, classes=dict.fromkeys(SUITES, "refuse")),
    "hedging": partial(_write_classes, classes=dict.fromkeys(SUITES, "hedge")),
    "sycophantic": partial(_write_classes, classes=FLATTERY),
    "preferences-helpful": partial(_write_preferences, preferred="comply"),
    "preferences-refusing": partial(_write_preferences, preferred="refuse"),
    "preferences-hedging": partial(_write_preferences, preferred="hedge"),
}
