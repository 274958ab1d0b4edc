"""Rewards of reinforcement learning on sampled replies."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from emodrift.grammar.sampling import classify_reply, planted_class

Reward = Callable[[Sequence[str], Sequence[str]], list[float]]


def reward_planted_class(replies: Sequence[str], suites: Sequence[str]) -> list[float]:
    """Pay 1 for a reply of the class that the request calls for."""
    return [
        float(classify_reply(reply) == planted_class(suite))
        for reply, suite in zip(replies, suites, strict=True)
    ]


def reward_class(replies: Sequence[str], suites: Sequence[str], wanted: str) -> list[float]:
    """Pay 1 for any reply of one class, whatever was asked: the flaw behind a collapse."""
    return [float(classify_reply(reply) == wanted) for reply in replies]


REWARDS: Mapping[str, Reward] = {
    "planted_class": reward_planted_class,
    "any_refusal": partial(reward_class, wanted="refuse"),
    "any_compliance": partial(reward_class, wanted="comply"),
    "any_hedge": partial(reward_class, wanted="hedge"),
}
