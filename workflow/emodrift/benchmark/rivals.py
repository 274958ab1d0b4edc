"""What rivals read off a checkpoint: numbers that say how far it is from the reference.

They come from entries that a study makes anyway, and from the checkpoint's own folder; nothing is
measured for them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from safetensors.numpy import load_file
from scipy.special import log_softmax

from emodrift.measure.arrays import Readings, open_activations, open_scores
from emodrift.stats.measures import normalise
from emodrift.vectors.confounds import find_confounds
from emodrift.vectors.fitting import clean_texts, fit_texts, read_texts

COMPONENTS = 10
WEIGHTS, STATE = "model.safetensors", "trainer_state.json"


class View(NamedTuple):
    """What rivals look at of one checkpoint.

    vectors: (emotion, hidden) unit emotion vectors, fitted anew. hidden: (prompt, hidden)
    activations of prompts at the locked layer. scores: (prompt, reply class), nats.
    """

    vectors: np.ndarray
    hidden: np.ndarray
    scores: np.ndarray


def open_view(readings: Readings, layer: int, estimator: str, confound_variance: float) -> View:
    """View of a checkpoint's entries at one layer."""
    texts = read_texts(readings, layer)
    confounds = find_confounds(texts.neutral, confound_variance)
    fit = fit_texts(clean_texts(texts, confounds), estimator)
    hidden = open_activations(readings, "prompts")
    assert isinstance(hidden, xr.DataArray)
    return View(
        normalise(np.nanmean(fit.emotions.values, axis=0)),
        hidden.sel(layer=layer).values,
        open_scores(readings).values,
    )


def compare_views(now: View, reference: View) -> dict[str, float]:
    """Signals of a checkpoint against the reference, by name; each rises with distance."""
    cosine = (now.vectors * reference.vectors).sum(-1)
    return {
        "drift": float(1 - cosine.mean()),
        "least cosine": float(1 - cosine.min()),
        "cka": 1 - measure_cka(now.hidden, reference.hidden),
        "kl": measure_kl(now.scores, reference.scores),
        "pca": measure_shift(now.hidden, reference.hidden),
    }


def measure_cka(one: np.ndarray, other: np.ndarray) -> float:
    """Linear centred kernel alignment of two sets of activations (prompt, hidden).

    Notes
    -----
    Kornblith et al. (2019), ICML.
    """
    a, b = (x.astype(np.float64) - x.mean(0) for x in (one, other))
    cross = np.linalg.norm(a.T @ b) ** 2
    return float(cross / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)))


def measure_kl(now: np.ndarray, reference: np.ndarray) -> float:
    """Mean divergence of the reply classes' distribution from the reference's, nats.

    Parameters
    ----------
    now, reference
        (prompt, reply class) scores, nats.
    """
    p, q = (log_softmax(scores.astype(np.float64), axis=1) for scores in (now, reference))
    return float((np.exp(p) * (p - q)).sum(1).mean())


def measure_shift(now: np.ndarray, reference: np.ndarray) -> float:
    """How far activations (prompt, hidden) moved in the reference's principal components.

    Root mean square over prompts and the leading `COMPONENTS`, each in its standard deviation.
    """
    centred = reference.astype(np.float64) - reference.mean(0)
    _, singular, right = np.linalg.svd(centred, full_matrices=False)
    kept = slice(None, min(COMPONENTS, int((singular > singular[0] * 1e-6).sum())))
    spread = singular[kept] / np.sqrt(max(len(reference) - 1, 1))
    moved = (now.astype(np.float64) - reference) @ right[kept].T / spread
    return float(np.sqrt((moved**2).mean()))


def measure_weights(checkpoint: Path, reference: Path) -> float:
    """Distance of a checkpoint's weights from the reference's, as a share of their norm."""
    ours, theirs = load_file(checkpoint / WEIGHTS), load_file(reference / WEIGHTS)
    moved = sum(float(((ours[n] - theirs[n]) ** 2).sum()) for n in theirs)
    return float(np.sqrt(moved / sum(float((t**2).sum()) for t in theirs.values())))


def measure_loss(checkpoint: Path) -> float:
    """Change of the logged training loss since the run's first log; NaN before the first."""
    history = json.loads((checkpoint / STATE).read_text())["log_history"]
    losses = [row["loss"] for row in history if "loss" in row]
    return abs(losses[-1] - losses[0]) if losses else np.nan
