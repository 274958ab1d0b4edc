"""How well vectors discriminate emotions: on held-out stories, and on minimal pairs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.stats.measures import compute_auroc, normalise


class PairScores(NamedTuple):
    """What minimal pairs say of the vectors; NaN where there are none.

    accuracy: share of pairs whose members are ordered rightly along the difference of the vectors.
    auroc: area under the ROC curve of the members of one emotion against those of the other, over
    all pairs of the two emotions; mean over pairs.
    """

    accuracy: float
    auroc: float


def score_heldout(stories: xr.DataArray, vector: np.ndarray, labels: list[str]) -> np.ndarray:
    """AUROC of each emotion's projection, its held-out stories against those of the others.

    Parameters
    ----------
    stories
        (prompt, hidden).
    vector
        (emotion, hidden).

    Returns
    -------
    np.ndarray
        (emotion,).
    """
    scores = (stories.values - stories.values.mean(0)) @ vector.T
    return compute_auroc(scores, stories["label"].values[:, None] == np.array(labels))


def score_pairs(stories: xr.DataArray, vector: np.ndarray, labels: list[str]) -> PairScores:
    """Accuracy and AUROC of held-out minimal pairs along the difference of two unit vectors.

    The members of a pair hold (nearly) the same words in other roles. Each is scored by its
    projection on v[a] − v[b], a and b being the emotions of the pair. A control that knows only
    words is at .5 where the words are the same.

    Parameters
    ----------
    stories, vector, labels
        As in :func:`score_heldout`.
    """
    pairs = _find_pairs(stories, labels)
    if pairs.empty:
        return PairScores(np.nan, np.nan)
    unit = normalise(vector)
    right, areas = [], []
    for _, of_emotions in pairs.groupby(["a", "b"]):
        a, b = of_emotions[["a", "b"]].to_numpy()[0]
        axis = unit[a] - unit[b]
        first, second = (stories.values[of_emotions[m]] @ axis for m in ("first", "second"))
        right.append((first > second) + 0.5 * (first == second))
        positive = np.repeat([True, False], len(first))
        area = compute_auroc(np.concatenate([first, second]), positive)
        areas.append(np.full(len(first), area))
    return PairScores(float(np.concatenate(right).mean()), float(np.concatenate(areas).mean()))


def _find_pairs(stories: xr.DataArray, labels: list[str]) -> pd.DataFrame:
    """Rows of both members of every pair and the numbers of their emotions, a before b."""
    found = []
    if "pair" in stories.coords:
        place = {label: i for i, label in enumerate(labels)}
        frame = pd.DataFrame({"pair": stories["pair"].values, "label": stories["label"].values})
        for _, members in frame[frame["pair"] != ""].groupby("pair"):
            if len(members) == 2 and members["label"].nunique() == 2:
                (a, first), (b, second) = sorted(
                    (place[label], row) for row, label in members["label"].items()
                )
                found.append((a, b, first, second))
    return pd.DataFrame(found, columns=["a", "b", "first", "second"])
