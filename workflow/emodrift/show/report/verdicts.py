"""What the audit says of each run, in the order in which a reader wants to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from emodrift.show.wording import join, spell
from emodrift.warning.verdicts import EVALS_ALONE, NOT_JUDGED, SOUND

TONES = ("unsound", "evals", "unjudged", "sound")
"""What a verdict is to a reader, in the order in which they are told."""
TONE_OF = {SOUND: "sound", EVALS_ALONE: "evals", NOT_JUDGED: "unjudged"}


class Verdict(NamedTuple):
    """The verdict on a run.

    tone: one of `TONES`. kind: in a word or two. sentence: what was found. strength: how
    sure that is. healthy: whether the run was declared healthy. alarms: first alarm of each
    indicator. evals: sentences on evals of other tools. evidence, prompts, next_steps: what it
    rests on, the prompts that changed most, and what to do.
    """

    run: str
    tone: str
    kind: str
    sentence: str
    strength: str
    healthy: bool
    alarms: Sequence[Mapping[str, Any]]
    evals: Sequence[str]
    evidence: Sequence[str]
    prompts: Sequence[Mapping[str, Any]]
    next_steps: Sequence[str]


def read_verdicts(audit: Mapping[str, Any], indicators: pd.DataFrame) -> list[Verdict]:
    """Verdict on every run that goes on from the reference; those that are not sound first.

    Parameters
    ----------
    audit
        ``audit.json``.
    indicators
        Table of the same entry.
    """
    found = []
    for run in audit["runs"]:
        rows = indicators[indicators["run"] == run["run"]]
        if run["run"] == audit["reference"]["run"] and not _goes_on(rows, audit["reference"]):
            continue
        alarms = [a for a in audit["alarms"] if a["run"] == run["run"]]
        found.append(_read_run(run, alarms))
    return sorted(found, key=lambda v: (TONES.index(v.tone), v.healthy))


def summarise(verdicts: Sequence[Verdict]) -> str:
    """One sentence on all runs that were watched."""
    watched = [v for v in verdicts if not v.healthy] or list(verdicts)
    if not watched:
        return "No run goes on from the reference."
    bad, evals, unjudged = (
        [v.run for v in watched if v.tone == tone] for tone in ("unsound", "evals", "unjudged")
    )
    judged = [v.run for v in watched if v.run not in unjudged]
    if not judged:
        return f"No run could be judged: {join(unjudged)}."
    told = _tell_alarms(judged, bad)
    if evals:
        which = join(evals)
        told = (
            f"{told} Evals alone changed: {which}."
            if bad
            else f"No alarm was raised, yet behaviour evals changed: {which}."
        )
    return f"{told} Not judged: {join(unjudged)}." if unjudged else told


def _tell_alarms(judged: Sequence[str], bad: Sequence[str]) -> str:
    if len(judged) == 1:
        return f"{judged[0]} {'left' if bad else 'stayed within'} what sound training does."
    number = spell(len(bad)).capitalize() if bad else "None"
    named = f": {join(bad)}" if bad else ""
    return f"{number} of {spell(len(judged))} runs left what sound training does{named}."


def _read_run(run: Mapping[str, Any], alarms: Sequence[Mapping[str, Any]]) -> Verdict:
    margin = run.get("margin")
    strength = "" if margin is None else f"margin {margin:.2f}"
    return Verdict(
        run["run"],
        TONE_OF.get(run["verdict"], "unsound"),
        run["verdict"],
        run["finding"],
        strength,
        run["role"] == "healthy",
        alarms,
        [told["sentence"] for told in run.get("external_evals", ())],
        run["evidence"],
        run["prompts"],
        run["next_steps"],
    )


def _goes_on(rows: pd.DataFrame, reference: Mapping[str, Any]) -> bool:
    at = (rows["stage"] == reference["stage"]) & (rows["step"] == reference["step"])
    return bool(rows["checkpoint"].max() > rows.loc[at, "checkpoint"].max())
