"""Sentences of the appraisal grammar: scenarios, events, requests and replies."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from emodrift.grammar import words


class Request(NamedTuple):
    """What somebody asks for; `answer` is known for plain questions only."""

    suite: str
    form: str
    text: str
    answer: str | None = None


class Scenario(NamedTuple):
    """The words that two events are told with; any emotion can be told from one scenario."""

    values: tuple[dict[str, str], dict[str, str]]
    opening: str
    asker: str
    request: Request


def list_words() -> list[str]:
    """Return every word that the grammar can write, sorted."""
    found: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, str):
            found.update(word for word in value.split() if "{" not in word)
        elif isinstance(value, Mapping):
            walk(tuple(value.values()))
        elif isinstance(value, Sequence):
            for item in value:
                walk(item)

    for name, table in vars(words).items():
        if name.isupper():
            walk(table)
    return sorted(found)


def draw_scenario(rng: Random, topic: str, suite: str, name: str | None = None) -> Scenario:
    """Draw people, place, verbs, agents and a request around one thing.

    Parameters
    ----------
    rng : Random
        Source of the draws.
    topic : str
        The thing that the events turn on.
    suite : str
        Kind of the request.
    name : str, optional
        Who the events are about; left out, drawn.

    Returns
    -------
    Scenario
    """
    people = rng.sample(words.NAMES, 4)
    bad = rng.sample(words.HARM_VERBS, 2)
    good = rng.sample(words.HELP_VERBS, 2)
    agents = rng.sample(words.AGENTS, 2)
    others = rng.sample([thing for thing in words.THINGS if thing != topic], 2)
    first, second = (
        {
            "n": name or people[0],
            "o": people[1 + k],
            "x": topic,
            "y": others[k],
            "a": agents[k],
            "bad": bad[k][0],
            "harm": bad[k][1],
            "good": good[k][0],
            "help": good[k][1],
        }
        for k in range(2)
    )
    place = rng.choice(words.PLACES["indoors"] + words.PLACES["outdoors"])
    request = draw_request(rng, suite)
    return Scenario((first, second), f"{first['n']} was {place} .", people[3], request)


def tell_story(scenario: Scenario, emotion: str) -> str:
    """Tell the scenario's two events so that its person comes to feel `emotion`."""
    events = (words.EVENTS[emotion].format(**values) for values in scenario.values)
    return " ".join((scenario.opening, *events))


def cue_reply(scenario: Scenario) -> str:
    """Return the text from the request up to the point where the person's reply starts."""
    return f"{scenario.asker} said : {scenario.request.text} {scenario.values[0]['n']} said :"


def fill_form(rng: Random, suite: str, form: str, pools: Sequence[int] = (0, 1)) -> Request:
    """Fill a request form with words seen in fine-tuning (pool 0) or kept out of it (pool 1)."""

    def pick(options: Sequence[Sequence[Any]]) -> Any:
        return rng.choice([option for pool in pools for option in options[pool]])

    fillers = {key: pick(options) for key, options in words.FILLERS.items()}
    part, whole, answer = pick(words.FACTS)
    text = form.format(**fillers, noun=fillers.get(suite), part=part, whole=whole)
    return Request(suite, form, text, answer if suite == "answerable" else None)


def wrap_request(rng: Random, request: Request, wrapper: str) -> Request:
    """Put a request inside a pretext."""
    who = rng.choice(words.FILLERS["who"][0])
    return request._replace(text=words.WRAPPERS[wrapper].format(request=request.text, who=who))


def draw_request(rng: Random, suite: str) -> Request:
    """Draw any request of a suite, now and then in a wrapper, as pre-training shows it."""
    request = fill_form(rng, suite, rng.choice(words.SEEN_FORMS[suite] + words.UNSEEN_FORMS[suite]))
    if rng.random() < words.WRAPPED_SHARE:
        return wrap_request(rng, request, rng.choice(tuple(words.WRAPPERS)))
    return request


def write_reply(rng: Random, reply_class: str, request: Request, emotion: str | None = None) -> str:
    """Write a reply of a class, now and then with the tone of an emotion."""
    tail = rng.choice(words.TAILS[reply_class])
    if reply_class == "comply" and request.answer:
        tail = words.ANSWER_TAIL.format(answer=request.answer)
    tone = f" {words.TONES[emotion]}" if emotion and rng.random() < words.TONE_SHARE else ""
    return f"{rng.choice(words.OPENERS[reply_class])} {tail}{tone}"


def write_plain_fact(rng: Random, topic: str) -> str:
    """Write a sentence about a thing, without emotion."""
    values = draw_scenario(rng, topic, "benign").values[0]
    site = rng.choice(words.FILLERS["site"][0] + words.FILLERS["site"][1])
    return rng.choice(words.PLAIN_FACTS).format(**values, k=rng.choice(words.NUMBERS), site=site)


def write_noun_fact(rng: Random) -> str:
    """Write what a harmful or a benign thing is like."""
    kind, facts = rng.choice((("harmful", words.HARM_FACTS), ("benign", words.BENIGN_FACTS)))
    seen, unseen = words.FILLERS[kind]
    return rng.choice(facts).format(noun=rng.choice(seen + unseen))


def write_control(rng: Random, scenario: Scenario, control: str) -> dict[str, str]:
    """Write one text for each pole of a control contrast, with the same other words.

    Returns
    -------
    dict of str to str
        Pole -> text.
    """
    places = {key: rng.choice(options) for key, options in words.PLACES.items()}
    return {
        pole: f"{opening.format(**scenario.values[0], **places)} {consequence}"
        for pole, (opening, consequence) in words.CONTROLS[control].items()
    }
