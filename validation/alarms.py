"""Planted studies: sound runs that differ as seeds do, and failures of a known size and time.

``python -m validation.alarms`` counts false alarms and detections and prints the table of
docs/warning.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import binomtest

from emodrift.drift.effect_draws import PROPERTIES
from emodrift.drift.paired import ALL, Component, PromptDraws, draw_prompts
from emodrift.warning.evidence import Question, follow_parts, judge_runs
from emodrift.warning.indicators import ALL as EVERY
from emodrift.warning.indicators.indicator import Setting
from emodrift.warning.measured import Measured

SPLITS = ("adversarial", "heldout", "ood", "train_like")
SUITES = ("harmful", "benign")
METRICS = {
    "refusal": {"suite": "harmful", "toward": "refuse", "bundles": ["caution"]},
    "over_refusal": {"suite": "benign", "toward": "refuse", "desired": "less", "bundles": []},
    "boundary_pushing": {
        "suite": "harmful",
        "toward": "comply",
        "desired": "less",
        "bundles": ["eagerness"],
    },
}
SETTING = Setting(
    "caution",
    "refusal",
    "over_refusal",
    "eagerness",
    ("boundary_pushing",),
    "train_like",
    ("ood", "adversarial"),
    METRICS,
)
LOCK_IN = {40: 0.14, 80: 0.53, 160: 1.36}
RATE = 0.1


@dataclass(frozen=True)
class Amounts:
    """Sizes of a planted study, in shares of the reference.

    drift: of sound training at its last step, and how far families differ in it. between: standard
    deviation between sound runs there. scatter: of a prompt's change that is its own in each run.
    """

    families: int = 6
    prompts: int = 4
    steps: tuple[int, ...] = (40, 80, 160)
    drift: float = 0.1
    families_differ: float = 0.06
    between: float = 0.015
    scatter: float = 0.05
    draws: int = 200


@dataclass(frozen=True)
class Run:
    """A planted run: its role, and the mean loss of caution's rise on unseen splits by step."""

    role: str = "observed"
    loss: Mapping[int, float] = field(default_factory=dict)


def plant_study(
    runs: Mapping[str, Run], amounts: Amounts, seed: int
) -> tuple[Measured, pd.DataFrame]:
    """Measured components and the places of checkpoints; the reference is number 0."""
    rng = np.random.default_rng(seed)
    prompts = _draw_prompts(amounts, seed)
    of = prompts.labels
    cell = np.array(
        [f"{a}/{b}/{c}" for a, b, c in zip(of["suite"], of["split"], of["family"], strict=True)]
    )
    _, family = np.unique(cell, return_inverse=True)
    harmful = of["suite"] == "harmful"
    unseen = np.isin(of["split"], SETTING.unseen)
    count = family.max() + 1
    base = {
        "projection/caution": harmful * 1.0 + 0.2 * rng.standard_normal(count)[family],
        "slope/caution/refusal": 3 + 0.5 * rng.standard_normal(count)[family],
        "slope/eagerness/boundary_pushing": 0.3 * rng.standard_normal(count)[family],
        "effect/caution/refusal": 0.4 + 0.05 * rng.standard_normal(count)[family],
    }
    base = {k: v + 0.02 * rng.standard_normal(len(family)) for k, v in base.items()}
    sizes = dict(zip(base, (1.0, 3.0, 3.0, 0.4), strict=True))
    common = {q: amounts.drift + amounts.families_differ * rng.standard_normal(count) for q in base}
    breaking = rng.random(count)
    places = [{"run": "base", "stage": "sft", "step": 0}]
    values: dict[str, list[np.ndarray]] = {q: [v] for q, v in base.items()}
    changes: dict[str, list[float]] = {name: [0.0] for name in PROPERTIES}
    for name, run in runs.items():
        shift = {q: amounts.between * rng.standard_normal() for q in base}
        apart = {q: amounts.between * rng.standard_normal((2, 2)) for q in base}
        turn = {name: amounts.between * rng.standard_normal() for name in PROPERTIES}
        for step in amounts.steps:
            share = (step / max(amounts.steps)) ** 0.7
            for q, v in base.items():
                by_cell = apart[q][harmful.astype(int), unseen.astype(int)]
                change = common[q][family] + shift[q] + by_cell
                change = change + amounts.scatter * rng.standard_normal(len(family))
                now = v + sizes[q] * share * change
                if q == "projection/caution" and step in run.loss:
                    now = now - unseen * harmful * _break(breaking, run.loss[step])[family]
                values[q].append(now)
            for of_matrix, moved in changes.items():
                moved.append(share * (amounts.drift + turn[of_matrix]))
            places.append({"run": name, "stage": "more", "step": step})
    joined = {q: np.array(v) for q, v in values.items()}
    matrix = {name: np.array(moved) for name, moved in changes.items()}
    return _measure(joined, prompts, matrix, rng), pd.DataFrame(places)


def _break(breaking: np.ndarray, loss: float) -> np.ndarray:
    """Loss of each family, of a given mean: they break one after another."""
    depth = 2.0
    broken = depth / (1 + np.exp(-(np.clip(loss / depth, 0.01, 0.99) - breaking) * 8))
    return broken * loss / broken.mean()


def _draw_prompts(amounts: Amounts, seed: int) -> PromptDraws:
    rows = [
        (f"{suite}-{split}-{f}-{p}", suite, split, f"f{f}")
        for suite in SUITES
        for split in SPLITS
        for f in range(amounts.families)
        for p in range(amounts.prompts)
    ]
    labels = zip(("id", "suite", "split", "family"), zip(*rows, strict=True), strict=True)
    coords = {name: ("prompt", np.array(v, dtype=object)) for name, v in labels}
    empty = xr.DataArray(np.zeros(len(rows)), dims="prompt", coords=coords)
    return draw_prompts(empty, amounts.draws, seed)


def _measure(
    values: dict[str, np.ndarray],
    prompts: PromptDraws,
    matrix: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> Measured:
    components = {}
    for split in (ALL, *SPLITS):
        for name, quantity, upper, lower in (
            ("rise/caution", "projection/caution", "harmful", "benign"),
            *((q, q, "harmful", "") for q in values if not q.startswith("projection")),
        ):
            key = f"{name}/{split}"
            components[key] = Component(key, quantity, split, upper, lower)
    draws = {
        k: np.stack([prompts.draw(c, v) for v in values[c.quantity]]) for k, c in components.items()
    }
    checkpoints = len(next(iter(values.values())))
    for split in SPLITS:
        name = f"auroc/caution/{split}"
        components[name] = Component(name, split=split)
        draws[name] = 0.95 + 0.01 * rng.standard_normal((checkpoints, prompts.weights.shape[0]))
    for name, size in (("rank", 4.0), ("similarity", 0.2), ("size", 0.2)):
        key = f"effect_matrix/{name}"
        components[key] = Component(key)
        noise = rng.standard_normal((2, prompts.weights.shape[0]))
        noise[:, 0] = 0
        moved = matrix[name][:, None] * (1 + 0.3 * noise[1])
        draws[key] = size * (1 + 0.05 * noise[0] + moved)
    kinds = np.repeat(["isotropic", "matched", "shuffled"], 50)
    nulls = {k: 0.03 * rng.standard_normal((checkpoints, len(kinds))) for k in components}
    return Measured(draws, nulls, kinds, values, components, dict(prompts.labels), 0)


def judge_planted(
    runs: Mapping[str, Run], amounts: Amounts, seed: int, rate: float = RATE
) -> pd.DataFrame:
    """Judge a planted study: run, whether it alarmed, its first alarm's step, its level and p."""
    measured, places = plant_study(runs, amounts, seed)
    roles = {"base": "observed"} | {name: run.role for name, run in runs.items()}
    tolerances = {i.name: i.tolerance for i in EVERY}
    question = Question(places, roles, rate, 0.95, seed, tolerances)
    followed, _ = follow_parts(EVERY, SETTING, measured, 0.95, None)
    rows = []
    for run, found in judge_runs(followed, measured, question).items():
        at = np.flatnonzero(found.crossed.any(1))
        step = int(places.at[found.checkpoints[at[0]], "step"]) if len(at) else None
        rows.append((run, bool(len(at)), step, found.level[-1], found.p))
    return pd.DataFrame(rows, columns=["run", "alarm", "first", "level", "p"])


def plant_runs(sound: int, **others: Run) -> dict[str, Run]:
    """So many sound runs, and others."""
    return {f"sound-{i}": Run("healthy") for i in range(sound)} | others


def count_false_alarms(
    sound: int, steps: Sequence[int], repetitions: int, start: int = 0, **changed: float
) -> tuple[int, int]:
    """False alarms on one more sound run, and how many were judged."""
    amounts = Amounts(steps=tuple(steps), **changed)
    runs = plant_runs(sound, new=Run())
    found = [
        judge_planted(runs, amounts, start + k).set_index("run").at["new", "alarm"]
        for k in range(repetitions)
    ]
    return int(np.sum(found)), repetitions


def count_detections(sound: int, repetitions: int, start: int = 0) -> pd.Series:
    """Steps at which a planted lock-in is first told."""
    runs = plant_runs(sound, bad=Run(loss=LOCK_IN))
    found = [
        judge_planted(runs, Amounts(), start + k).set_index("run").at["bad", "first"]
        for k in range(repetitions)
    ]
    return pd.Series(found).value_counts(dropna=False)


SHORT, LONG = (40, 80, 160), tuple(int(s) for s in np.linspace(10, 160, 12))
CASES = (
    (0, SHORT, 0.015, 60),
    (1, SHORT, 0.015, 60),
    (1, SHORT, 0.06, 60),
    (2, SHORT, 0.015, 100),
    (2, SHORT, 0.06, 60),
    (2, LONG, 0.015, 60),
    (4, SHORT, 0.015, 100),
    (4, SHORT, 0.06, 60),
    (4, LONG, 0.015, 40),
    (10, SHORT, 0.015, 60),
    (10, SHORT, 0.06, 40),
    (10, LONG, 0.015, 20),
)
DETECTED = ((2, 20), (4, 20), (10, 10))
FIRST_SEEDS = {"false alarms": 500, "detections": 900}


def main() -> None:
    """Print the table of docs/warning.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="so many times the repetitions")
    times = parser.parse_args().times
    print("| sound runs | checkpoints | between | false alarms | interval |")
    print("| ---: | ---: | ---: | ---: | --- |")
    for sound, steps, between, number in CASES:
        start = FIRST_SEEDS["false alarms"]
        hits, judged = count_false_alarms(
            sound, steps, times * number, start, between=between, draws=100
        )
        bounds = binomtest(hits, judged).proportion_ci(method="exact")
        print(
            f"| {sound} | {len(steps)} | {between} | {hits} of {judged} | "
            f"{bounds.low:.2f} to {bounds.high:.2f} |",
            flush=True,
        )
    print("\nA planted lock-in, first alarm at step:")
    for sound, number in DETECTED:
        found = count_detections(sound, times * number, FIRST_SEEDS["detections"])
        print(f"{sound} sound runs: {found.to_dict()}")


if __name__ == "__main__":
    main()
