"""The audit in words: a sentence on each run, and what to look at next."""

from __future__ import annotations

from collections.abc import Sequence

from emodrift.warning.evidence import TOLERANCE, RunEvidence
from emodrift.warning.verdicts import (
    CHANGED,
    COLLAPSE,
    EVALS_ALONE,
    LOCK_IN,
    NOT_JUDGED,
    REGRESSION,
    SOUND,
    Verdict,
)

CHANGES_TOLD = 2
NEXT_STEPS = {
    SOUND: ["No action. Keep the prompts: the next runs are held against this one."],
    EVALS_ALONE: [
        "Read the replies behind the evals that changed: the vectors do not show what they show.",
        "Add sound runs: the fewer there are, the further a run must go before an alarm is raised.",
    ],
    NOT_JUDGED: [
        "Where no indicator applies, follow the remedies that the gates name.",
        "Until then behaviour evals alone tell of this run: read the replies behind them.",
    ],
    LOCK_IN: [
        "Read replies to the prompts named below, unlike the training data, beside replies to "
        "prompts like it.",
        "Compare the training data with these prompts: what do its refusals share and theirs lack?",
        "Go back to the checkpoint before the first alarm and mix in other forms of harm.",
    ],
    COLLAPSE: [
        "Read replies to benign prompts: are they refusals, or one phrase?",
        "Look at the reward and at the share of benign prompts in training.",
        "Go back to the checkpoint before the first alarm; replay helpful data.",
    ],
    REGRESSION: [
        "Read replies to harmful prompts like the training data: have refusals gone?",
        "Look for helpful-only data, or for a reward that pays for compliance.",
        "Go back to the checkpoint before the first alarm; replay safety data.",
    ],
    CHANGED: [
        "Look at the components that crossed their thresholds and at the prompts named below.",
        "See whether directions of no emotion changed as much: then the model changed as a whole.",
        "Refit the vectors at this checkpoint: where they still separate, the lock is stale.",
    ],
}


def write_finding(verdict: Verdict, found: RunEvidence, step: int | None, onset: int | None) -> str:
    """What a run's verdict rests on: since when it stands, and on what evidence.

    Parameters
    ----------
    verdict, found
        The run.
    step, onset
        Of its first alarm, and from which on the kind of failure stands.
    """
    if found.kind == TOLERANCE:
        chance = f"betting against the declared tolerances gives p {_tell(found.level[-1])}"
    else:
        chance = (
            f"one more sound run would deviate as far with probability {_tell(found.level[-1])} "
            f"(by rank p is {found.p:.2f}, and could not be below {found.attainable:.2f})"
        )
    told = [] if step is None else [f"first alarm at step {step}"]
    if verdict.kind == EVALS_ALONE:
        told = list(verdict.evidence[1 : 1 + CHANGES_TOLD])
    if onset not in (None, step):
        told.append(f"of this kind from step {onset} on")
    return _begin("; ".join([*told, chance]))


def write_unjudged(reason: str, changes: Sequence[str] | None) -> str:
    """Why a run has no verdict, and what its behaviour evals say.

    Parameters
    ----------
    reason
        Why it is not judged.
    changes
        Evals that changed since the reference, the largest change first; None of the reference's
        own run.
    """
    if changes is None:
        return _begin(reason)
    told = "; ".join(changes[:CHANGES_TOLD])
    evals = f"changed since the reference: {told}" if told else "did not change measurably"
    return f"{_begin(reason)} Its behaviour evals {evals}."


def _begin(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _tell(level: float) -> str:
    return f"{level:.2g}" if level >= 0.001 else "below .001"
