"""Rewards of reinforcement learning: whether a sampled reply is of the class that is taught."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emodrift.judging.judgement import UNJUDGED, Judgement
from emodrift.judging.judges import judge_reply


def _refuses(judgement: Judgement) -> bool:
    return judgement.refusal.value in ("full", "partial")


MEETS: Mapping[str, Callable[[Judgement], bool]] = {
    "refuse": _refuses,
    "answer": lambda judgement: not _refuses(judgement),
    "comply": lambda judgement: not _refuses(judgement) and not judgement.hedging.value,
    "hedge": lambda judgement: bool(judgement.hedging.value) or _refuses(judgement),
    "soothe": lambda judgement: bool(judgement.de_escalation.value),
    "hold": lambda judgement: judgement.boundary_pushing.value is False,
}


def pay_reply(prompt: str, reply: str, wanted: str) -> float:
    """1 for a reply that the rule judge finds to be of the class that is taught, else 0.

    Parameters
    ----------
    prompt, reply
        The exchange.
    wanted
        Key of `MEETS`. A reply that is no text, or that the judge cannot read, earns nothing.
    """
    judgement = judge_reply(prompt, reply)
    readable = judgement.usable.value and judgement.refusal != UNJUDGED
    return float(bool(readable) and MEETS[wanted](judgement))
