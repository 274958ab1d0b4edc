"""Phrasings of reply classes that the checkpoints of a study use themselves.

Log-odds of phrasings that a model never uses miss what it does. So the openings of replies that the
checkpoints wrote, by the class that a judge puts them in, are what all of them are scored on.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emodrift.corpus.reading import REPLIES, load_replies

PIECES = 8
"""Words and marks of an opening, at the most; fewer where its first sentence ends."""
DEFAULT_AMOUNT = 8
FEWEST_FAMILIES = 2
"""Prompt families that an opening answers; what answers one tells of the prompt."""
SURE = 2 / 3
"""Share of the replies with an opening that are of its class, at the least."""


def find_phrasings(
    amount: int | None, verdicts: Sequence[Path], contrasts: Path, out: Path
) -> None:
    """Choose the phrasings of every reply class and write ``replies.json``.

    Parameters
    ----------
    amount
        Config: `contrasts.amounts.phrasings`; None: 8.
    verdicts
        Entries of the judged unsteered replies, one for each checkpoint.
    contrasts
        Entry of the contrast data, whose phrasings fill up classes with too few openings.
    out
        Directory to write to.
    """
    amount = amount or DEFAULT_AMOUNT
    tables = [pd.read_parquet(entry / "verdicts.parquet") for entry in verdicts]
    found = choose_phrasings(tables, amount)
    classes = {}
    for name, given in load_replies(contrasts).items():
        own = found.get(name, [])
        added = [text for text in given if text not in own][: amount - len(own)]
        logging.info("%s: %s; as given: %s", name, " | ".join(own), " | ".join(added))
        classes[name] = [*own, *added]
    (out / REPLIES).write_text(json.dumps(classes, indent=1, ensure_ascii=False) + "\n")


def choose_phrasings(tables: Sequence[pd.DataFrame], amount: int) -> dict[str, list[str]]:
    """Openings of replies, by class, the most general first.

    Parameters
    ----------
    tables
        Verdicts of each checkpoint, with columns ``text``, ``reply_class`` and ``family``.
    amount
        Of each class, at the most.

    Returns
    -------
    dict
        Class -> openings. One tells of a class if it answers at least `FEWEST_FAMILIES` prompt
        families and `SURE` of its replies, each family once a checkpoint, are of that class. Of
        those that tell, the shortest are taken, so that none begins another.
    """
    count: dict[tuple[str, ...], dict[str, set[tuple[int, str]]]] = defaultdict(
        lambda: defaultdict(set)
    )
    for number, table in enumerate(tables):
        known = table.dropna(subset=["reply_class"])
        for text, name, family in known[["text", "reply_class", "family"]].itertuples(index=False):
            pieces = cut_opening(text)
            for length in range(1, len(pieces) + 1):
                count[pieces[:length]][name].add((number, family))
    owned: dict[str, list[tuple[int, str]]] = defaultdict(list)
    telling: set[tuple[str, ...]] = set()
    for pieces in sorted(count, key=len):
        if any(pieces[:length] in telling for length in range(1, len(pieces))):
            continue
        classes = count[pieces]
        name = max(classes, key=lambda c: (len(classes[c]), c))
        families = {family for _, family in classes[name]}
        share = len(classes[name]) / sum(map(len, classes.values()))
        sayable = any(map(str.isalnum, "".join(pieces)))
        if sayable and len(families) >= FEWEST_FAMILIES and share >= SURE:
            telling.add(pieces)
            owned[name].append((-len(classes[name]), "".join(pieces)))
    return {
        name: [opening for _, opening in sorted(openings)[:amount]]
        for name, openings in sorted(owned.items())
    }


def cut_opening(text: str) -> tuple[str, ...]:
    """First words and marks of a reply, at most `PIECES` and not past its first sentence or line;
    joined they are its beginning. Contractions are cut, as tokenizers cut them."""
    first = text.strip().partition("\n")[0]
    first = re.split(r"(?<=[.!?])\s", first)[0]
    return tuple(re.findall(r"(?<=\w)['’]\w+|\s*(?:\w+|[^\w\s])", first)[:PIECES])
