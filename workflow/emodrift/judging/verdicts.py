"""Verdicts on the replies of one checkpoint: a judge's, and what can be counted without one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from emodrift.corpus.reading import load_replies
from emodrift.corpus.records import read_lines
from emodrift.judging.judgement import Judgement, classify_reply
from emodrift.judging.judges import (
    judge_apology,
    measure_repetition,
    open_judge,
    split_sentences,
)

KEPT = ("id", "suite", "split", "family", "concept", "strength", "text", "ended")
VERDICTS = {
    "usable": "boolean",
    "refusal": "string",
    "hedging": "boolean",
    "de_escalation": "boolean",
    "escalation": "boolean",
    "apology": "string",
    "boundary_pushing": "boolean",
}
"""Verdict -> type of its column."""


def judge_replies(
    replies: Path,
    judge: str | Mapping[str, Any],
    connection: Mapping[str, Any],
    contrasts: Path,
    cache: Path,
    out: Path,
) -> None:
    """Judge all replies of a checkpoint; those that came twice to a prompt are judged once.

    Writes ``verdicts.parquet``: a row for each reply with prompt, condition and text, the judge's
    verdicts, ``reply_class`` (see :func:`emodrift.judging.judgement.classify_reply`) and
    the counts of :func:`describe_style`.

    Parameters
    ----------
    replies
        Entry of the replies' texts.
    judge
        Config: ``generation.judge``.
    connection
        ``parallel``, and ``key_variable`` and ``timeout`` of a chat model that judges.
    contrasts
        Entry of the contrast data.
    cache
        Directory of a chat model's verdicts.
    out
        Directory to write to.
    """
    written = [line for _, line in read_lines(replies / "replies.jsonl")]
    ask = open_judge(judge, load_replies(contrasts), connection, cache)
    exchanges = list(dict.fromkeys((reply["prompt"], reply["text"]) for reply in written))
    with ThreadPoolExecutor(connection["parallel"]) as pool:
        judged = dict(zip(exchanges, pool.map(lambda e: ask(*e), exchanges), strict=True))
    rows = [
        {name: reply[name] for name in KEPT}
        | {"reply_tokens": reply["tokens"]}
        | _list_verdicts(judged[reply["prompt"], reply["text"]])
        | describe_style(reply["text"])
        for reply in written
    ]
    types = VERDICTS | {"concept": "string", "reply_class": "string", "distinct": "float64"}
    pd.DataFrame(rows).astype(types).to_parquet(out / "verdicts.parquet", index=False)


def describe_style(text: str) -> dict[str, Any]:
    """What can be counted in a reply, whoever judges it.

    Returns
    -------
    dict
        ``repetition``: share of words in a 4-gram seen before; ``distinct``: distinct share of word
        pairs, None under two words (Li et al. 2016); ``apologetic`` and ``polite``: whether the
        rules' phrases of apology and courtesy occur.
    """
    words = re.findall(r"\w+", text.lower())
    pairs = list(itertools.pairwise(words))
    sentences = split_sentences(text)
    return {
        "repetition": measure_repetition(text).value,
        "distinct": len(set(pairs)) / len(pairs) if pairs else None,
        "apologetic": judge_apology(sentences, "none").value != "none",
        "polite": any("pleasantry" in sentence.tags for sentence in sentences),
    }


def _list_verdicts(judgement: Judgement) -> dict[str, Any]:
    verdicts = {name: getattr(judgement, name).value for name in VERDICTS}
    sure = max(judgement.refusal.confidence, judgement.reply_class.confidence)
    return verdicts | {"confidence": sure, "reply_class": classify_reply(judgement)}
