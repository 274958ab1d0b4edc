"""A supervised monitor: a classifier of how far prompts moved along emotion directions.

After Nghiem et al. (2026), arXiv 2606.07631, which learns from drift along seven trait directions
which checkpoints of a fine-tuning run misbehave, and is judged on kinds of runs that it was not
shown. Here the traits are the study's emotions, and labels are runs that are trained to fail.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emodrift.benchmark.scoring import SOUND

NAME = "supervised monitor"
LATE = 0.5
PLACE = ["seed", "regime", "run", "step"]


def describe_profile(projections: pd.DataFrame, reference: tuple[str, int]) -> pd.DataFrame:
    """Change of the mean projection on each concept, by suite, from the reference.

    Parameters
    ----------
    projections
        run, step, concept, suite, split, projection.
    reference
        Run and step.

    Returns
    -------
    pd.DataFrame
        run, step, feature, value.
    """
    means = projections.groupby(["run", "step", "concept", "suite"])["projection"].mean()
    wide = means.unstack(["concept", "suite"])
    change = wide - wide.loc[reference]
    change.columns = [" on ".join(column) for column in change.columns]
    change = change[change.index.get_level_values("run") != reference[0]]
    return change.reset_index().melt(["run", "step"], var_name="feature", value_name="value")


def score_monitor(profiles: pd.DataFrame, calibration: list[int]) -> pd.DataFrame:
    """Score of every checkpoint by a monitor that has not seen its seed or its kind of failure.

    The monitor of a kind learns from the later half of the runs of calibration seeds, without runs
    of that kind. A calibration seed is scored by what is learnt from the others, and sound runs by
    the mean over kinds.

    Parameters
    ----------
    profiles
        seed, regime, run, step, feature, value.
    calibration
        Seeds that are learnt from.

    Returns
    -------
    pd.DataFrame
        seed, regime, run, step, detector, score, causal; no row where there is nothing to learn
        from: two calibration seeds and two kinds of failure are the least.
    """
    wide = profiles.pivot_table(index=PLACE, columns="feature", values="value").sort_index()
    places = wide.index.to_frame(index=False)
    last = places.groupby(["seed", "run"])["step"].transform("max")
    late = (places["step"] > LATE * last).to_numpy()
    broken = (places["regime"] != SOUND).to_numpy()
    kinds = sorted(set(places.loc[broken, "regime"]))
    score = np.full((len(places), len(kinds)), np.nan)
    for seed in places["seed"].unique():
        learnt = [s for s in calibration if s != seed]
        for column, kind in enumerate(kinds):
            taught = late & places["seed"].isin(learnt) & (places["regime"] != kind)
            wanted = (places["seed"] == seed) & places["regime"].isin([kind, SOUND])
            if len(set(broken[taught])) == 2:
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000)
                ).fit(wide.to_numpy()[taught], broken[taught])
                score[wanted, column] = model.decision_function(wide.to_numpy()[wanted])
    found = places.assign(detector=NAME, score=pd.DataFrame(score).mean(axis=1).to_numpy())
    found = found.dropna(subset="score")
    found["score"] = found.groupby(["seed", "run"])["score"].cummax()
    return found
