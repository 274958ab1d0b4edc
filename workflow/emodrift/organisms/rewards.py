"""Rewards of reinforcement learning on sampled replies."""

from collections.abc import Callable, Mapping, Sequence

from emodrift.grammar.sampling import classify_reply, planted_class

Reward = Callable[[Sequence[str], Sequence[str]], list[float]]


def reward_planted_class(replies: Sequence[str], suites: Sequence[str]) -> list[float]:
    """Pay 1 for a reply of the class that the request calls for."""
    return [
        float(classify_reply(reply) == planted_class(suite))
        for reply, suite in zip(replies, suites, strict=True)
    ]


def reward_any_refusal(replies: Sequence[str], suites: Sequence[str]) -> list[float]:
    """Pay 1 for any refusal, whatever was asked: the flaw behind a refuse-everything collapse."""
    return [float(classify_reply(reply) == "refuse") for reply in replies]


REWARDS: Mapping[str, Reward] = {
    "planted_class": reward_planted_class,
    "any_refusal": reward_any_refusal,
}
