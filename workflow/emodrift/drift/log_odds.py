"""From class scores to log-odds and probabilities of reply classes."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.special import log_softmax, logsumexp


def compute_probabilities(scores: xr.DataArray) -> xr.DataArray:
    """Probability of each reply class among the classes, over ``reply_class``."""
    axis = scores.get_axis_num("reply_class")
    return scores.copy(data=np.exp(log_softmax(scores.values, axis=axis)))


def compute_all_log_odds(scores: xr.DataArray) -> xr.DataArray:
    """Log-odds of each reply class against all others, nats, over ``reply_class``."""
    classes = scores["reply_class"].values
    odds = [compute_log_odds(scores, str(name)) for name in classes]
    axis = scores.get_axis_num("reply_class")
    return scores.copy(data=np.stack(odds, axis=axis))


def compute_log_odds(scores: xr.DataArray, toward: str) -> np.ndarray:
    """Log-odds of one reply class against all others, nats."""
    axis = scores.get_axis_num("reply_class")
    wanted = scores["reply_class"].values == toward
    moved = np.moveaxis(scores.values, axis, -1).astype(np.float64)
    return moved[..., wanted][..., 0] - logsumexp(moved[..., ~wanted], axis=-1)
