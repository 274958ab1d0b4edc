"""Quality of the vectors of a checkpoint, beside controls that should score lower."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift.maps import RATINGS, correlate_plane

SCORES = ("auroc", "pair_accuracy", "pair_auroc")


def describe_quality(fitted: xr.Dataset, twin: xr.Dataset, ratings: np.ndarray) -> pd.DataFrame:
    """Rows of one checkpoint over layers: one for each emotion, and ``all`` for their mean.

    Held-out AUROC, minimal-pair accuracy and AUROC (``all`` alone), each also of the lexical-only
    control (``lexical_``: the same estimator on the mean embedding of a text's tokens) and of the
    random-initialised twin (``random_``: a model of the reference's shape with random weights, at
    the same layer); ``over_lexical`` and ``over_random``, the gaps in AUROC; split-half
    reliability; and of the ratings the multiple correlation with the vectors' two leading
    components.

    Parameters
    ----------
    fitted, twin
        Vectors of the checkpoint and of the twin.
    ratings
        (rating, emotion).
    """
    tables = []
    number = fitted.sizes["emotion"]
    for layer in fitted["layer"].values:
        at, control = fitted.sel(layer=layer), twin.sel(layer=layer)
        columns = {"reliability": _list_values(at["reliability"], number)}
        for score in SCORES:
            columns[score] = _list_values(at[score], number)
            columns[f"lexical_{score}"] = _list_values(at[f"lexical_{score}"], number)
            columns[f"random_{score}"] = _list_values(control[score], number)
        columns["over_lexical"] = columns["auroc"] - columns["lexical_auroc"]
        columns["over_random"] = columns["auroc"] - columns["random_auroc"]
        table = pd.DataFrame(columns)
        table.insert(0, "layer", int(layer))
        table.insert(1, "emotion", ["all", *map(str, fitted["emotion"].values)])
        table.loc[0, list(RATINGS)] = correlate_plane(at["vector"].values, ratings)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _list_values(values: xr.DataArray, number: int) -> np.ndarray:
    """The mean, then each emotion's; NaN for the latter where there is one value for all."""
    rest = values.values if values.dims else np.full(number, np.nan)
    return np.append(values.values.mean(), rest)
