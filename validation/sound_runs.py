"""False alarms and detections by the number of sound runs, on organisms: in docs/warning.md.

``python -m validation.sound_runs`` after ``make sound-runs`` has measured its study. Every sound
run is judged once against so many others of its seed, drawn at random, as any study would judge it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from emodrift.config.reading import read_study
from emodrift.plan.entries import Plan
from emodrift.plan.study import plan_study
from emodrift.store.entry import Entry
from emodrift.warning.evidence import Followed, Question, follow_parts, judge_runs
from emodrift.warning.indicators import ALL
from emodrift.warning.indicators.indicator import read_setting
from emodrift.warning.measured import Measured, read_measured
from validation.parts import fill_parts

CONFIG, RESULTS = Path("config/examples/sound-runs.yaml"), Path("results")
PAGE = Path("docs/warning.md")
NUMBERS = (2, 4, 10)
LENGTHS = (3, 7)
FAILING = "lock-in"


@dataclass(frozen=True)
class Seed:
    """One organism seed: the parts that are followed, what they were measured on, how runs are
    judged, and which of them are sound."""

    followed: Sequence[Followed]
    measured: Measured
    question: Question
    sound: Sequence[str]
    number: int


def open_seeds(plan: Plan) -> Iterator[Seed]:
    """What each organism seed of a finished benchmark has to be judged by."""
    for signals in plan.of_stage("signals"):
        judged = signals.inputs["indicators"]
        assert isinstance(judged, Entry)
        params = judged.params
        entries = [plan.store / judged.inputs[name].place for name in ("evocation", "coupling")]
        measured = read_measured(entries, params["reference"])
        question = Question(
            pd.DataFrame(params["checkpoints"]),
            {},
            params["alarms"]["false_alarm_rate"],
            params["statistics"]["level"],
            params["seed"],
            {indicator.name: indicator.tolerance for indicator in ALL},
        )
        setting = read_setting(params["indicators"], params["metrics"])
        followed, _ = follow_parts(ALL, setting, measured, question.level, None)
        yield Seed(
            followed, measured, question, signals.params["sound"], int(signals.params["seed"])
        )


def judge_run(seed: Seed, run: str, sound: Sequence[str], checkpoints: int) -> bool:
    """Whether a run raises an alarm in its first checkpoints, held against some sound runs.

    Parameters
    ----------
    seed
        Where they are from.
    run, sound
        The run, and those that it is held against.
    checkpoints
        How many of each run there are.
    """
    places = seed.question.places
    reference = seed.measured.reference
    among = places["run"].isin([run, *sound])
    early = places.groupby("run").cumcount() < checkpoints
    kept = places.index[(among & early) | (places.index == reference)]
    followed = [f._replace(draws=f.draws[kept], nulls=f.nulls[kept]) for f in seed.followed]
    roles = {name: "healthy" if name in sound else "observed" for name in places["run"]}
    question = replace(seed.question, places=places.loc[kept].reset_index(drop=True), roles=roles)
    measured = replace(seed.measured, reference=int(np.flatnonzero(kept == reference)[0]))
    return bool(judge_runs(followed, measured, question)[run].alarmed[-1])


def count_alarms(seeds: Sequence[Seed]) -> pd.DataFrame:
    """A row for each run that was judged: sound runs, checkpoints, seed, run, alarm."""
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed.number)
        for run in (*seed.sound, FAILING):
            others = [name for name in seed.sound if name != run]
            for number in NUMBERS:
                drawn = [str(name) for name in rng.choice(others, number, replace=False)]
                for length in LENGTHS:
                    alarm = judge_run(seed, run, drawn, length)
                    rows.append((number, length, seed.number, run, alarm))
    return pd.DataFrame(rows, columns=["sound runs", "checkpoints", "seed", "run", "alarm"])


def tabulate_alarms(judged: pd.DataFrame) -> str:
    """A row for each number of sound runs and of checkpoints: false alarms, and lock-ins told."""
    rows = []
    for (number, length), group in judged.groupby(["sound runs", "checkpoints"]):
        failing = group["run"] == FAILING
        false, told = group.loc[~failing, "alarm"], group.loc[failing, "alarm"]
        bounds = binomtest(int(false.sum()), len(false)).proportion_ci(method="exact")
        rows.append(
            {
                "sound runs": number,
                "checkpoints": length,
                "false alarms": f"{false.sum()} of {len(false)}",
                "interval": f"{bounds.low:.2f} to {bounds.high:.2f}",
                "lock-ins told": f"{told.sum()} of {len(told)}",
            }
        )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


def main() -> None:
    """Fill in the page."""
    plan = plan_study(read_study(CONFIG), RESULTS)
    table = tabulate_alarms(count_alarms(list(open_seeds(plan))))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(fill_parts(text, {"organisms": table}, all_of_them=False), encoding="utf-8")


if __name__ == "__main__":
    main()
