"""What the audit says of each run, in the order in which a reader wants to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from emodrift.show.wording import join, spell

SOUND = "sound"


class Verdict(NamedTuple):
    """The verdict on a run.

    sound: whether nothing is wrong. kind: in a word or two. sentence: what was found. strength: how
    sure that is. healthy: whether the run was declared healthy. alarms: first alarm of each
    indicator. evals: sentences on evals of other tools. evidence, prompts, next_steps: what it
    rests on, the prompts that changed most, and what to do.
    """

    run: str
    sound: bool
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
    return sorted(found, key=lambda v: (v.sound, v.healthy))


def summarise(verdicts: Sequence[Verdict]) -> str:
    """One sentence on all runs that were watched."""
    watched = [v for v in verdicts if not v.healthy] or list(verdicts)
    if not watched:
        return "No run goes on from the reference."
    bad = [v.run for v in watched if not v.sound]
    runs = "run" if len(watched) == 1 else "runs"
    if not bad:
        return f"None of {spell(len(watched))} {runs} left what sound training does."
    return (
        f"{spell(len(bad)).capitalize()} of {spell(len(watched))} {runs} left what sound training "
        f"does: {join(bad)}."
    )


def _read_run(run: Mapping[str, Any], alarms: Sequence[Mapping[str, Any]]) -> Verdict:
    margin = run.get("margin")
    strength = "" if margin is None else f"margin {margin:.2f}"
    return Verdict(
        run["run"],
        run["verdict"] == SOUND,
        run["verdict"],
        run["sentence"].removeprefix(f"{run['run']}: "),
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
