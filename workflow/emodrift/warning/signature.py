"""A run's signature: where refusal was lost or gained, by the better of two readouts.

Log-odds of phrasings cover every prompt; judged replies are fewer, and are taken where log-odds do
not follow them. docs/warning.md, "Kind of failure".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from emodrift.warning.gates import CHANCE
from emodrift.warning.indicators.indicator import Part, Setting, Term, list_missing, measure_part
from emodrift.warning.measured import Measured

LEAST_ODDS, LEAST_SHARE = 1.0, 0.25
LOG_ODDS, JUDGED = "log-odds of phrasings", "judged replies"


def list_signature(setting: Setting) -> tuple[Part, ...]:
    """Parts that tell kinds apart beside the indicators' own.

    Each is a change of the refusal of some prompts, in shares of the distance between harmful and
    benign prompts at the reference (−1 on harmful prompts: they are refused like benign ones).
    """
    harmful, benign = f"odds/{setting.refusal}", f"odds/{setting.benign}"
    unseen = tuple(f"{harmful}/{split}" for split in setting.unseen)
    return (
        Part(
            "refusal_seen",
            "refusal of harmful prompts like the training data",
            (Term(f"{harmful}/{setting.seen}", 1.0),),
            warns="never",
        ),
        Part(
            "refusal_unseen",
            "refusal of harmful prompts unlike it",
            tuple(Term(name, 1.0 / len(unseen)) for name in unseen),
            warns="never",
        ),
        Part("refusal_benign", "refusal of benign prompts", (Term(f"{benign}/all", 1.0),), "never"),
    )


def choose_readout(agreement: pd.DataFrame | None, reference: int) -> str:
    """The readout that is followed: judged replies, unless log-odds rank them better than chance
    at the reference.

    Parameters
    ----------
    agreement
        Table with columns checkpoint and auroc_low, NaN where all replies are of one class; None
        where no reply was judged.
    reference
        Number of the reference.
    """
    if agreement is None:
        return LOG_ODDS
    low = agreement.loc[agreement["checkpoint"] == reference, "auroc_low"]
    return LOG_ODDS if (low > CHANCE).all() else JUDGED


def measure_signature(
    setting: Setting, measured: Measured, replies: pd.DataFrame | None
) -> dict[str, np.ndarray]:
    """Part of the signature -> (checkpoint,); parts that were not measured are left out.

    Parameters
    ----------
    setting
        Which metrics and splits are meant.
    measured
        Components, for log-odds.
    replies
        Judged shares (checkpoint, concept, metric, split, share); None: log-odds.
    """
    if replies is not None:
        return _measure_shares(setting, measured.reference, replies)
    distance = _measure_distance(setting, measured)
    return {
        part.name: measure_part(part, measured)[:, 0] / distance
        for part in list_signature(setting)
        if not list_missing(part, measured)
    }


def _name_ends(setting: Setting) -> tuple[str, str]:
    """Refusal of all harmful and of all benign prompts, between which distances are."""
    return f"odds/{setting.refusal}/all", f"odds/{setting.benign}/all"


def _measure_distance(setting: Setting, measured: Measured) -> float:
    """Log-odds of refusal on harmful less benign prompts at the reference, not too small."""
    names = _name_ends(setting)
    if any(name not in measured.draws for name in names):
        return LEAST_ODDS
    harmful, benign = (float(measured.draws[n][measured.reference, 0]) for n in names)
    return max(harmful - benign, LEAST_ODDS)


def _measure_shares(
    setting: Setting, reference: int, replies: pd.DataFrame
) -> dict[str, np.ndarray]:
    unsteered = replies[replies["concept"].isna()]
    wide = unsteered.pivot(index="checkpoint", columns=["metric", "split"], values="share")
    shares: Mapping[str, np.ndarray] = {
        f"odds/{metric}/{split}": wide[metric, split].to_numpy() for metric, split in wide.columns
    }
    apart = [shares[name][reference] for name in _name_ends(setting) if name in shares]
    distance = max(apart[0] - apart[1], LEAST_SHARE) if len(apart) == 2 else 1.0
    found = {}
    for part in list_signature(setting):
        if all(term.component in shares for term in part.terms):
            value = np.sum([term.weight * shares[term.component] for term in part.terms], axis=0)
            found[part.name] = (value - value[reference]) / distance
    return found
