"""Phrasings of reply classes that the checkpoints of a study use themselves.

Log-odds of phrasings that a model never uses miss what it does. So the openings of replies that the
checkpoints wrote, by the class that a judge puts them in, are what all of them are scored on.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from emodrift.corpus.reading import REPLIES, load_replies

WORDS = 6
"""Length of an opening; shorter where its first sentence ends."""
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
        Class -> openings. An opening counts as often as there are prompt families that it answers,
        at least `FEWEST_FAMILIES`, each in as many checkpoints as it does; it belongs to the class
        that `SURE` of these are of, or to none.
    """
    count: Mapping[str, dict[str, set[tuple[int, str]]]] = defaultdict(lambda: defaultdict(set))
    for number, table in enumerate(tables):
        known = table.dropna(subset=["reply_class"])
        for text, name, family in known[["text", "reply_class", "family"]].itertuples(index=False):
            if opening := cut_opening(text):
                count[opening][name].add((number, family))
    owned: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for opening, classes in count.items():
        name = max(classes, key=lambda c: (len(classes[c]), c))
        families = {family for _, family in classes[name]}
        share = len(classes[name]) / sum(map(len, classes.values()))
        if len(families) < FEWEST_FAMILIES or share < SURE:
            continue
        owned[name].append((-len(families), -len(classes[name]), opening))
    return {
        name: [opening for _, _, opening in sorted(openings)[:amount]]
        for name, openings in sorted(owned.items())
    }


def cut_opening(text: str) -> str:
    """First words of a reply, at most `WORDS` and not past its first sentence or line."""
    first = text.strip().partition("\n")[0]
    first = re.split(r"(?<=[.!?])\s", first)[0]
    words = first.split()
    opening = " ".join(words[:WORDS])
    return opening if re.search(r"\w", opening) else ""
