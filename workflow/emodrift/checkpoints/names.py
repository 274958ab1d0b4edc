"""Names of revisions and folders: the stage, step and tokens that they tell.

Pythia's ``step1000``, OLMo's ``stage1-step1000-tokens5B``, Olmo 3's ``stage1-step1000``, SmolLM3's
``stage1-step-40000``, Amber's ``ckpt_007``, the Trainer's ``checkpoint-500`` and their like.
"""

from __future__ import annotations

import re
from typing import NamedTuple

UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
NAME = re.compile(
    r"(?P<stage>.*?)[-_]?(?P<word>(?:global[-_]?)?(?:step|ckpt|checkpoint|iter|iteration|epoch)s?"
    r"[-_]?)(?P<step>\d+)(?:(?P<then>[-_]tokens?[-_]?)(?P<tokens>\d+)(?P<unit>[KMBT]))?",
    re.IGNORECASE,
)
TOKENS_PLACE = re.compile(r"\{tokens[^}]*\}([KMBTkmbt]?)")


class Named(NamedTuple):
    """What a name tells.

    Parameters
    ----------
    stage
        What stands before the step, such as ``stage1``; may be empty.
    step
        Step, or number of the checkpoint.
    tokens
        Training tokens, if the name says.
    spelled
        The tokens as the name spells them, without their unit.
    pattern
        The name with ``{step}`` and ``{tokens}`` in place of the numbers.
    digits
        Digits of the step; more than its value has where it is padded with zeros.
    """

    stage: str
    step: int
    tokens: int | None
    spelled: int | None
    pattern: str
    digits: int


def read_name(name: str) -> Named | None:
    """What the name of a revision or folder tells, or None if it tells no step.

    Examples
    --------
    >>> name = read_name("stage1-step1000-tokens5B")
    >>> name.stage, name.step, name.tokens, name.pattern
    ('stage1', 1000, 5000000000, 'stage1-step{step}-tokens{tokens}B')
    """
    found = NAME.fullmatch(name)
    if not found:
        return None
    count = int(found["tokens"]) if found["tokens"] else None
    unit = (found["unit"] or "").upper()
    rest = f"{found['then']}{{tokens}}{found['unit']}" if found["tokens"] else ""
    return Named(
        stage=found["stage"],
        step=int(found["step"]),
        tokens=None if count is None else count * UNITS[unit],
        spelled=count,
        pattern=f"{name[: found.start('step')]}{{step}}{rest}",
        digits=len(found["step"]),
    )


def count_tokens(pattern: str, count: int) -> int:
    """Training tokens that a `token_counts` value stands for, by the unit behind its place."""
    place = TOKENS_PLACE.search(pattern)
    return count * UNITS[place[1].upper() if place else ""]
