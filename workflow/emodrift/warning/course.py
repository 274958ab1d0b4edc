"""The verdict on a run at each of its checkpoints, from its evidence so far.

The last one is the run's. docs/warning.md, "Kind of failure".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emodrift.warning.behaviour import EvalChange
from emodrift.warning.evidence import TOLERANCE, Judged, Question, RunEvidence, list_judged
from emodrift.warning.sound import expect_sound
from emodrift.warning.verdicts import KINDS, Verdict, judge_kind


def measure_changes(
    run: str,
    judged: Judged,
    signature: Mapping[str, np.ndarray],
    question: Question,
    reference: int,
) -> dict[str, np.ndarray]:
    """Part, of indicators and of the signature -> (checkpoint,) change from what sound runs show.

    Parameters
    ----------
    run, judged, question
        Its evidence among that of all.
    signature
        See :func:`emodrift.warning.signature.measure_signature`.
    reference
        Number of the reference.
    """
    found = judged.runs[run]
    at = found.checkpoints
    changes = {
        f.part.name: f.draws[at, 0] - found.expected[:, k] for k, f in enumerate(judged.followed)
    }
    chosen = list_judged(question.places, reference)
    for name, value in signature.items():
        expected = expect_sound(question.places, value, run, question.roles, chosen)
        changes[name] = value[at] - expected
    return changes


def follow_verdicts(
    changes: Mapping[str, np.ndarray],
    judged: Judged,
    run: str,
    rate: float,
    evals: Sequence[Sequence[EvalChange]],
) -> list[Verdict]:
    """Verdict on a run at each of its checkpoints.

    Parameters
    ----------
    changes
        Of the run; see :func:`measure_changes`.
    judged, run
        Its evidence among that of all.
    rate
        Of false alarms.
    evals
        At each checkpoint, those that changed; see
        :func:`emodrift.warning.behaviour.list_eval_changes`.
    """
    found, alarmed = judged.runs[run], judged.runs[run].alarmed
    return [
        judge_kind(
            {name: float(change[k]) for name, change in changes.items()},
            bool(alarmed[k]),
            _measure_margin(found, judged.alarming, k, rate),
            [change.describe() for change in evals[k]],
        )
        for k in range(len(found.checkpoints))
    ]


def find_onset(verdicts: Sequence[Verdict]) -> int | None:
    """Place of the first verdict from which on the last one stands; None of a run that is sound."""
    kinds = [verdict.kind for verdict in verdicts]
    if kinds[-1] not in KINDS:
        return None
    others = [k for k, kind in enumerate(kinds) if kind != kinds[-1]]
    return others[-1] + 1 if others else 0


def tabulate_course(
    runs: Mapping[str, RunEvidence],
    changes: Mapping[str, Mapping[str, np.ndarray]],
    verdicts: Mapping[str, Sequence[Verdict]],
    signature: Sequence[str],
) -> pd.DataFrame:
    """A row for each judged checkpoint: checkpoint, alarmed (so far), verdict, margin, the score of
    each kind, and the signature's changes.

    Parameters
    ----------
    runs, changes, verdicts
        Of each judged run.
    signature
        Names of its parts.
    """
    tables = []
    for run, found in runs.items():
        course = verdicts[run]
        table = pd.DataFrame(
            {
                "checkpoint": found.checkpoints,
                "alarmed": found.alarmed,
                "verdict": [verdict.kind for verdict in course],
                "margin": [verdict.margin for verdict in course],
            }
        )
        for kind in KINDS:
            table[name_score(kind)] = [verdict.scores[kind] for verdict in course]
        tables.append(table.assign(**{name: changes[run][name] for name in signature}))
    columns = ["checkpoint", "alarmed", "verdict", "margin", *map(name_score, KINDS), *signature]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def name_score(kind: str) -> str:
    """Column of a kind's score."""
    return kind.replace(" ", "_").replace("-", "_")


def _measure_margin(found: RunEvidence, alarming: np.ndarray, last: int, rate: float) -> float:
    """How far a run stayed from an alarm until a checkpoint: 1 none of the way, 0 at the line."""
    if found.kind == TOLERANCE:
        return float(1 - min(1.0, rate / found.level[last]))
    if not alarming.any():
        return 1.0
    return float(1 - found.deviation[: last + 1, alarming].max() / found.threshold)
