"""Behaviour of generated replies, as a judge has it, beside the log-odds of reply classes.

The share of judged replies that are of the class a metric counts, with intervals over prompt
families, and how far it agrees with the log-odds (docs/steering.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from emodrift.drift.evocation import contrast_groups, correlate
from emodrift.drift.log_odds import compute_probabilities
from emodrift.drift.params import MetricParams
from emodrift.drift.table import label_rows, read_table, write_table
from emodrift.measure.arrays import Readings, open_scores
from emodrift.stage import Stage
from emodrift.stats.bootstrap import (
    UNLIMITED,
    Resampling,
    bound_settled,
    resample,
    summarise_draws,
)
from emodrift.stats.settings import Statistics

STAGE = Stage(
    "reply_behaviour",
    "measure_reply_behaviour",
    reads={"verdicts": "verdicts", "activations": ["gradients"]},
    settings=["checkpoints", "statistics", "seed", "metrics"],
    needs="generation",
)
SHARES = ("ended", "usable", "apologetic", "polite")
MEANS = ("reply_tokens", "repetition", "distinct")


class ReplyBehaviourInputs(NamedTuple):
    """Entries that the stage reads.

    verdicts: of each checkpoint. activations: gradients of each, whose scores are read.
    """

    verdicts: Sequence[Path]
    activations: Sequence[Readings]


class Replies(NamedTuple):
    """One checkpoint's judged replies.

    prompts: one row each, with id, suite, split and family; conditions: (concept, strength) of
    each, the unsteered one first; classes: (condition, prompt) reply class or None; values: name of
    a count -> (condition, prompt); texts: (condition, prompt).
    """

    prompts: pd.DataFrame
    conditions: list[tuple[str | None, float]]
    classes: np.ndarray
    values: dict[str, np.ndarray]
    texts: np.ndarray


def measure_reply_behaviour(params: MetricParams, inputs: ReplyBehaviourInputs, out: Path) -> None:
    """Summarise judged replies over all checkpoints.

    Writes ``replies.parquet`` (checkpoint, concept, strength, metric, split: judged share with
    interval, change from unsteered, unsteered readout), ``reply_style.parquet`` (checkpoint,
    concept, strength, suite, measure: value with interval), ``reply_agreement.parquet``
    (checkpoint: agreement of the log-odds readout with the judge, unsteered) and
    ``verdicts.parquet`` (every reply).

    Parameters
    ----------
    params, inputs
        What is asked, and the entries that are read.
    out
        Directory to write to.
    """
    checkpoints, statistics, seed, metrics = params
    shares: list[dict[str, Any]] = []
    styles: list[dict[str, Any]] = []
    agreements: list[dict[str, Any]] = []
    tables: list[pd.DataFrame] = []
    pairs = zip(inputs.verdicts, inputs.activations, strict=True)
    for number, (entry, activation) in enumerate(pairs):
        table = read_table(entry, "verdicts")
        judged = arrange_replies(table)
        readout = compute_probabilities(open_scores(activation))
        readout = _pick_prompts(readout, judged.prompts["id"])
        shares += _describe_shares(number, judged, readout, metrics, statistics, seed)
        styles += _describe_style(number, judged, statistics, seed)
        agreements.append({"checkpoint": number} | _compare(judged, readout, statistics, seed))
        tables.append(table.assign(checkpoint=number))
    write_table(label_rows(shares, checkpoints), out, "replies")
    write_table(label_rows(styles, checkpoints), out, "reply_style")
    write_table(label_rows(agreements, checkpoints), out, "reply_agreement")
    write_table(label_rows(pd.concat(tables), checkpoints), out, "verdicts")


def arrange_replies(table: pd.DataFrame) -> Replies:
    """Verdicts of one checkpoint by condition and prompt."""
    table = table.assign(concept=table["concept"].fillna(""))
    prompts = table.drop_duplicates("id")[["id", "suite", "split", "family"]]
    keys = list(dict.fromkeys(zip(table["concept"], table["strength"], strict=True)))

    def spread(column: str) -> np.ndarray:
        wide = table.pivot(index=["concept", "strength"], columns="id", values=column)
        return wide.loc[keys, prompts["id"]].to_numpy(dtype=object, na_value=None)

    return Replies(
        prompts.reset_index(drop=True),
        [(concept or None, strength) for concept, strength in keys],
        spread("reply_class"),
        {name: spread(name).astype(np.float64) for name in (*MEANS, *SHARES)},
        spread("text"),
    )


def weigh_share(
    hit: np.ndarray, counted: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share of counted prompts that are hit, as it is and resampled.

    Parameters
    ----------
    hit, counted
        (condition, prompt); values (0 or 1 for a share), and which prompts count.
    weights
        (draw, prompt).

    Returns
    -------
    share, draws : np.ndarray
        (condition,) and (draw, condition); NaN where nothing counts.
    """
    weights = np.concatenate([np.ones((1, hit.shape[1]), weights.dtype), weights])
    total = weights @ counted.T.astype(np.float64)
    sums = weights @ np.where(counted, hit, 0.0).T
    share = np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)
    return share[0], share[1:]


def measure_entropy(classes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entropy of the judged classes, nats, as it is and resampled; shapes as in `weigh_share`."""
    counted = pd.notna(classes)
    names = sorted(set(classes[counted]))
    if not names:
        empty = np.full(len(classes), np.nan)
        return empty, np.full((len(weights), len(classes)), np.nan)
    shares = [weigh_share(classes == name, counted, weights) for name in names]
    share, draws = (
        sum(p * np.log(1 / np.where(p > 0, p, 1.0)) for p in part)
        for part in zip(*shares, strict=True)
    )
    return share, draws


def _describe_shares(
    number: int,
    judged: Replies,
    readout: xr.DataArray,
    metrics: Mapping[str, Mapping[str, Any]],
    statistics: Statistics,
    seed: int,
) -> list[dict[str, Any]]:
    rows = []
    suites, splits = judged.prompts["suite"].values, judged.prompts["split"].values
    for metric, meaning in metrics.items():
        for split in ("all", *sorted(set(splits[suites == meaning["suite"]]))):
            chosen = (suites == meaning["suite"]) & ((splits == split) | (split == "all"))
            classes = judged.classes[:, chosen]
            counted = pd.notna(classes)
            prompts, level = judged.prompts[chosen], statistics.level
            drawn = _draw(prompts, statistics, seed)
            share, draws = weigh_share(classes == meaning["toward"], counted, drawn.weights)
            interval = _bound_share(share, draws, drawn, prompts, counted, level)
            change = _summarise(draws - draws[:, :1], drawn, level, (-1, 1))
            expected = float(readout.sel(reply_class=meaning["toward"]).values[chosen].mean())
            for i, (concept, strength) in enumerate(judged.conditions):
                rows.append(
                    {
                        "checkpoint": number,
                        "concept": concept,
                        "strength": strength,
                        "metric": metric,
                        "split": str(split),
                        "share": share[i],
                        "low": interval[0][i],
                        "high": interval[1][i],
                        "change": share[i] - share[0] if i else np.nan,
                        "change_low": change[0][i] if i else np.nan,
                        "change_high": change[1][i] if i else np.nan,
                        "readout": np.nan if i else expected,
                        "judged": counted[i].mean(),
                        "prompts": int(chosen.sum()),
                    }
                )
    return rows


def _describe_style(
    number: int, judged: Replies, statistics: Statistics, seed: int
) -> list[dict[str, Any]]:
    rows = []
    suites = judged.prompts["suite"].values
    for suite in ("all", *sorted(set(suites))):
        chosen = (suites == suite) | (suite == "all")
        prompts, level = judged.prompts[chosen], statistics.level
        drawn = _draw(prompts, statistics, seed)
        classes = judged.classes[:, chosen]
        nowhere = np.full(classes.shape[0], np.nan)
        unlike = np.array([len(set(texts)) / len(texts) for texts in judged.texts[:, chosen]])
        measured = {"different_texts": (unlike, nowhere, nowhere)}
        entropy, draws = measure_entropy(classes, drawn.weights)
        measured["class_entropy"] = entropy, *_summarise(draws, drawn, level, (0, np.inf))
        given = judged.values | {"judged": pd.notna(judged.classes).astype(np.float64)}
        for name, values in given.items():
            values = values[:, chosen]
            known = ~np.isnan(values)
            value, draws = weigh_share(values, known, drawn.weights)
            interval = (
                _summarise(draws, drawn, level)
                if name in MEANS
                else _bound_share(value, draws, drawn, prompts, known, level)
            )
            measured[name] = value, *interval
        for measure, (values, low, high) in measured.items():
            for i, (concept, strength) in enumerate(judged.conditions):
                rows.append(
                    {
                        "checkpoint": number,
                        "concept": concept,
                        "strength": strength,
                        "suite": str(suite),
                        "measure": measure,
                        "value": values[i],
                        "low": low[i],
                        "high": high[i],
                    }
                )
    return rows


def _compare(
    judged: Replies, readout: xr.DataArray, statistics: Statistics, seed: int
) -> dict[str, Any]:
    """Agreement of the log-odds readout with judged replies, over unsteered prompts.

    ``auroc``: of a class's probability for replies judged to be of it, with interval; ``same``:
    share of judged prompts whose likeliest class is the judged one, with interval; ``chance``: that
    share if the two were independent; ``kappa``: Cohen's; ``correlation``: over prompts and
    classes, of the class's probability with whether the reply was judged to be of it.
    """
    classes = judged.classes[0]
    counted = pd.notna(classes)
    names = readout["reply_class"].values
    likeliest = names[readout.values.argmax(-1)]
    drawn = _draw(judged.prompts, statistics, seed)
    same, draws = weigh_share((likeliest == classes)[None], counted[None], drawn.weights)
    low, high = _bound_share(same, draws, drawn, judged.prompts, counted[None], statistics.level)
    found, expected = classes[counted], likeliest[counted]
    chance = sum((found == n).mean() * (expected == n).mean() for n in names) if len(found) else 0
    row = {
        "prompts": len(classes),
        "judged": int(counted.sum()),
        "same": same[0],
        "low": low[0],
        "high": high[0],
        "chance": chance if len(found) else np.nan,
        "kappa": (same[0] - chance) / (1 - chance) if chance < 1 else np.nan,
    }
    ranked = rank_replies(readout.values[counted], found, names, drawn.weights[:, counted])
    interval = _bound_ranks(ranked[1:], drawn, statistics.level)
    row |= {"auroc": ranked[0], "auroc_low": interval[0], "auroc_high": interval[1]}
    values = readout.values[counted].reshape(-1, 1)
    hits = (classes[counted][:, None] == names).reshape(-1).astype(np.float64)
    defined = len(hits) > 0 and 0 < hits.sum() < len(hits)
    row["correlation"] = (
        float(correlate(values, hits, np.ones((1, len(hits))))[0, 0]) if defined else np.nan
    )
    return row


def rank_replies(
    probability: np.ndarray, judged: np.ndarray, names: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AUROC of a class's probability for replies judged to be of it, averaged over replies.

    Unlike the likeliest class it does not depend on how many phrasings a class has.

    Parameters
    ----------
    probability
        (prompt, reply_class).
    judged
        (prompt,) class of each reply.
    names
        (reply_class,).
    weights
        (draw, prompt).

    Returns
    -------
    np.ndarray
        (1 + draw,), as it is and resampled; NaN where all replies are of one class.
    """
    weights = np.concatenate([np.ones((1, len(judged)), weights.dtype), weights])
    areas, number = np.zeros(len(weights)), 0
    for name, values in zip(names, probability.T, strict=True):
        positive = judged == name
        if positive.any() and not positive.all():
            with np.errstate(invalid="ignore", divide="ignore"):
                area = contrast_groups(values[:, None], positive, weights).auroc[:, 0]
            areas += positive.sum() * area
            number += positive.sum()
    return areas / number if number else np.full(len(weights), np.nan)


def _bound_ranks(draws: np.ndarray, drawn: Resampling, level: float) -> tuple[float, float]:
    known = draws[np.isfinite(draws)]
    if not len(known):
        return np.nan, np.nan
    interval = summarise_draws(known, level, drawn.freedom, (0, 1))
    return float(interval.low), float(interval.high)


def _pick_prompts(readout: xr.DataArray, names: pd.Series) -> xr.DataArray:
    place = {name: i for i, name in enumerate(readout["id"].values)}
    return readout[[place[name] for name in names]]


def _draw(prompts: pd.DataFrame, statistics: Statistics, seed: int) -> Resampling:
    cells = (prompts["suite"] + "/" + prompts["split"]).values
    return resample(prompts["family"].values, statistics.draws, seed, cells)


def _bound_share(
    share: np.ndarray,
    draws: np.ndarray,
    drawn: Resampling,
    prompts: pd.DataFrame,
    counted: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share (condition,) over the counted prompts (condition, prompt)."""
    families = np.array([prompts.loc[of_condition, "family"].nunique() for of_condition in counted])
    settled = bound_settled(share, families, level)
    wide = _summarise(draws, drawn, level, (0, 1))
    low, high = (
        np.where(np.isin(share, (0, 1)), *ends) for ends in zip(settled, wide, strict=True)
    )
    return low, high


def _summarise(
    draws: np.ndarray,
    drawn: Resampling,
    level: float,
    limits: tuple[float, float] = UNLIMITED,
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of each column of draws; NaN where hardly a draw is defined."""
    low, high = np.full((2, draws.shape[1]), np.nan)
    known = (~np.isnan(draws)).sum(0) > 1
    if known.any():
        low[known], high[known], _ = summarise_draws(draws[:, known], level, drawn.freedom, limits)
    return low, high
