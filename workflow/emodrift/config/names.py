"""Names of a config as prose writes them."""

from __future__ import annotations

import re

HYPHEN = re.compile(r"(?<![^_])(de|non|over|self|under)_|_(?=like(?:_|$))")
"""After these prefixes, and before this suffix, a word goes on."""


def say(name: str) -> str:
    """A metric, split, suite or run in words.

    >>> say("de_escalation"), say("train_like"), say("boundary_pushing")
    ('de-escalation', 'train-like', 'boundary pushing')
    """
    return HYPHEN.sub(lambda found: found[0].replace("_", "-"), name).replace("_", " ")
