"""Bring docs/warning-benchmark.md up to date with a finished benchmark of warnings.

``python -m benchmarks.warning`` from the root of the repository, or ``make warning-benchmark``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from emodrift.benchmark.detectors import AGAINST_SOUND, EMODRIFT, EXACT, MOST, OWN_LINE, WITH_EVALS
from emodrift.benchmark.scoring import SOUND, measure_leads, race_detectors
from validation.parts import fill_parts

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "warning-benchmark.md"
TABLES = ("detectors", "thresholds", "lead_figures", "races", "overlap", "practical", "confusion")
TABLES += ("scores", "crossings", "runs", "costs")
FIGURES = ("benchmark_roc", "benchmark_leads", "benchmark_verdicts")
OWN, ALONE = EMODRIFT, " alone"
INDEX = f"{EMODRIFT}, cvdi{ALONE}"
USUAL = f"evals, {MOST} sampled, against sound runs"
TOGETHER = (INDEX, AGAINST_SOUND, WITH_EVALS, USUAL, f"{WITH_EVALS}, {MOST} sampled")
FIRST_RATE = 0.02
RUN = ["seed", "run"]
FRESH = (
    EMODRIFT,
    INDEX,
    WITH_EVALS,
    f"{WITH_EVALS}, {MOST} sampled",
    EXACT,
    AGAINST_SOUND,
    f"{AGAINST_SOUND}, by split",
    OWN_LINE,
    f"evals, {MOST} sampled",
    USUAL,
)
"""Detectors that are scored on further seeds."""
SIGNIFICANT = 0.05
RATES = (0.02, 0.05, 0.1, 0.2)
"""Shares of sound runs told, at which detectors are compared."""
TO_BEAT = "AUROC .990, FNR 2.2 %, FPR 2.9 % (arXiv 2606.07631, 7 to 9 billion weights)"


def main() -> None:
    """Fill the page and copy the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warning", description=main.__doc__)
    parser.add_argument("results", type=Path, help="folder of the finished benchmark")
    parser.add_argument("fresh", type=Path, nargs="?", help="the same of further seeds")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    text = options.page.read_text(encoding="utf-8")
    text = fill_page(text, read_tables(options.results), options.results.name)
    if options.fresh:
        fresh = {"fresh": list_fresh(read_tables(options.fresh))}
        text = fill_parts(text, fresh, all_of_them=False)
    options.page.write_text(text, encoding="utf-8")
    figures = options.page.parent / "figures"
    figures.mkdir(exist_ok=True)
    for name in FIGURES:
        shutil.copyfile(options.results / "figures" / f"{name}.svg", figures / f"{name}.svg")


def read_tables(results: Path) -> dict[str, pd.DataFrame]:
    """Published tables of a benchmark by name."""
    return {name: pd.read_csv(results / f"tables/{name}.csv") for name in TABLES}


def fill_page(text: str, tables: Mapping[str, pd.DataFrame], study: str) -> str:
    """A page whose marked parts are made from the tables of a benchmark."""
    parts = {
        "seeds": describe_seeds(tables["runs"], study),
        "answer": answer(tables),
        "detectors": list_detectors(tables["detectors"], tables["thresholds"]),
        "recall": list_recall(tables["detectors"]),
        "alone": list_alone(tables["scores"], tables["runs"]),
        "crossings": list_crossings(tables["crossings"], tables["runs"]),
        "together": list_together(tables["scores"], tables["runs"]),
        "first": list_first(tables["scores"], tables["runs"]),
        "equal": list_equal(tables["scores"], tables["runs"]),
        "leads": list_leads(tables["lead_figures"], tables["races"]),
        "overlap": list_overlap(tables["overlap"]),
        "practical": list_practical(tables["practical"]),
        "confusion": list_confusion(tables["confusion"]),
        "costs": list_costs(tables["costs"], tables["thresholds"]),
    }
    return fill_parts(text, parts, all_of_them=False)


def describe_seeds(runs: pd.DataFrame, study: str) -> str:
    """Which seeds and runs stand behind the page."""
    sentences = [f"Made from the study `{study}`."]
    for scored, what in ((False, "Thresholds"), (True, "Scores")):
        part = runs[runs["scored"] == scored]
        seeds = ", ".join(str(seed) for seed in sorted(part["seed"].unique()))
        sound = int((part["regime"] == "sound").sum())
        sentences.append(
            f"{what}: organism seeds {seeds} ({sound} sound and {len(part) - sound} failing runs)."
        )
    if runs.loc[runs["scored"], "seed"].nunique() < 5:
        sentences.append(
            "*So few seeds settle no order of detectors*: intervals over them are too narrow."
        )
    return " ".join(sentences)


def answer(tables: Mapping[str, pd.DataFrame]) -> str:
    """The user's question in plain words, from the numbers."""
    found = tables["detectors"].set_index(["detector", "figure"])["value"]
    areas = found.xs("auroc", level="figure").drop(OWN).sort_values()
    better = [name for name, value in areas.items() if value > found[OWN, "auroc"] + 1e-9]
    verdict = (
        f"{len(better)} of {len(areas)} rivals and parts have a larger AUROC, the largest being "
        f"{areas.iloc[-1]:.2f} ({areas.index[-1]})"
        if better
        else f"no rival has a larger one (the next is {areas.index[-1]}, {areas.iloc[-1]:.2f})"
    )
    sentences = [
        f"Emodrift tells failing runs from sound ones with AUROC {found[OWN, 'auroc']:.2f}, "
        f"misses {found[OWN, 'fnr']:.0%} of failing runs and raises false alarms in "
        f"{found[OWN, 'fpr']:.0%} of sound ones; {verdict}. To beat: {TO_BEAT}."
    ]
    leads = tables["lead_figures"].set_index(["detector", "figure"])
    if (OWN, "ahead") in leads.index:
        ahead = leads.xs("ahead", level="figure")
        shares = ahead["value"]
        own, exact, against = (
            f"{shares[name]:.0%} ({ahead['low'][name]:.0%} to {ahead['high'][name]:.0%})"
            for name in (OWN, EXACT, AGAINST_SOUND)
        )
        sentences.append(
            f"Of {int(ahead['runs'][OWN])} failing runs whose evals changed in practice it told "
            f"{own} before that change, exact evals {exact}, the same evals held against sound "
            f"runs {against}, the best detector "
            f"{shares.max():.0%} ({shares.idxmax()})."
        )
    races = tables["races"]
    sentences += [_tell_race(race) for _, race in races[races["detector"] == OWN].iterrows()]
    return " ".join(sentences)


def _tell_race(race: pd.Series) -> str:
    earlier, later = int(race["earlier"]), int(race["later"])
    p = binomtest(earlier, earlier + later).pvalue if earlier + later else 1.0
    told = {True: "it leads", False: "they lead"}[earlier > later]
    return (
        f"Raced against *{race['against']}*, each with a threshold of its own, it was earlier in "
        f"{earlier} failing runs, at the same checkpoint in {race['same']}, later in {later} (sign "
        f"test over runs, p {p:.2g}): {told if p <= SIGNIFICANT else 'neither leads'}."
    )


def list_detectors(detectors: pd.DataFrame, thresholds: pd.DataFrame) -> str:
    """A row for each detector: AUROC, misses and false alarms."""
    wide = detectors.set_index(["detector", "figure"])
    rows = [
        {
            "detector": name,
            "AUROC": _show(wide.loc[(name, "auroc")]),
            "misses": _show(wide.loc[(name, "fnr")]),
            "false alarms": _show(wide.loc[(name, "fpr")]),
        }
        for name in thresholds["detector"]
    ]
    return _format(rows)


def list_recall(detectors: pd.DataFrame) -> str:
    """Recall of every detector by regime."""
    chosen = detectors[detectors["figure"].str.startswith("recall, ")]
    chosen = chosen.assign(regime=chosen["figure"].str.removeprefix("recall, "))
    wide = chosen.pivot_table(index="detector", columns="regime", values="value", sort=False)
    return wide.map("{:.2f}".format).reset_index().to_markdown(index=False)


def list_alone(scores: pd.DataFrame, runs: pd.DataFrame) -> str:
    """AUROC of each indicator by regime, on the seeds that set thresholds and on scoring seeds."""
    own = scores[
        scores["detector"].str.startswith(f"{OWN}, ") & scores["detector"].str.endswith(ALONE)
    ]
    largest = own.groupby(["detector", *RUN], sort=False)["score"].max().reset_index()
    told = largest.merge(runs[[*RUN, "regime", "scored"]], on=RUN)
    rows = []
    for (name, scored), group in told.groupby(["detector", "scored"], sort=False):
        sound = group["regime"] == SOUND
        areas = {
            regime: roc_auc_score(of_either["regime"] == regime, of_either["score"])
            for regime in sorted(set(group.loc[~sound, "regime"]))
            if len(of_either := group[sound | (group["regime"] == regime)]) and sound.any()
        }
        rows.append(
            {"indicator": name.removeprefix(f"{OWN}, ").removesuffix(ALONE)}
            | {"seeds": "scoring" if scored else "thresholds"}
            | {regime: f"{area:.2f}" for regime, area in areas.items()}
        )
    return _format(rows)


def list_crossings(crossings: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Scored runs in which each part raised an alarm, and in which it was first, by regime."""
    scored = runs[runs["scored"]]
    found = crossings.merge(scored[RUN], on=RUN)
    found["first"] = found["step"] == found.groupby(RUN)["step"].transform("min")
    counts = found.groupby(["regime", "component"], sort=False)["first"].agg(["size", "sum"])
    shown = counts.apply(lambda c: f"{c['size']} ({c['sum']})", axis=1).unstack()
    table = shown.reindex(sorted(set(scored["regime"])))
    table.insert(0, "runs", scored.groupby("regime").size().astype(str))
    return table.fillna("").reset_index().to_markdown(index=False, disable_numparse=True)


def list_equal(scores: pd.DataFrame, runs: pd.DataFrame) -> str:
    """A row for each detector of :func:`measure_equal`."""
    shown = measure_equal(scores, runs).map(_show_share)
    return _format(shown.rename_axis("detector").reset_index())


def measure_equal(scores: pd.DataFrame, runs: pd.DataFrame, *, scored: bool = True) -> pd.DataFrame:
    """Share of failing runs told before their practical change, at equal rates of false alarms.

    Parameters
    ----------
    scores, runs
        Tables of a benchmark.
    scored
        Whether scoring seeds are looked at, or those that set thresholds.
    """
    chosen = runs.loc[runs["scored"] == scored, [*RUN, "regime", "practical_step"]]
    practical = chosen.set_index(RUN)["practical_step"]
    own = scores.drop(columns="regime").merge(chosen, on=RUN)
    columns = {}
    for rate in RATES:
        leads = measure_leads(own[own["regime"] != SOUND], draw_lines(own, rate), practical)
        ahead = (leads["lead"] > 0) & ~leads["censored"]
        columns[f"at most {rate:.0%}"] = ahead.groupby(leads["detector"]).mean()
    return pd.DataFrame(columns).reindex(own["detector"].unique())


def draw_lines(scores: pd.DataFrame, rate: float) -> pd.Series:
    """The least line of each detector that tells at most so many of the sound runs among the
    scores: for comparison alone, since nobody knows it beforehand."""
    sound = scores[scores["regime"] == SOUND]
    largest = sound.groupby(["detector", *RUN])["score"].max().groupby("detector")
    return largest.agg(lambda s: s.sort_values().iloc[-1 - int(rate * len(s))])


def list_together(scores: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Shares told beforehand at equal rates, of the index, of evals and of both, on the seeds that
    set thresholds and on scoring seeds."""
    columns = {
        f"{seeds} seeds, {rate}": shares.map(_show_share)
        for seeds, scored in (("threshold", False), ("scoring", True))
        for rate, shares in measure_equal(scores, runs, scored=scored).items()
    }
    table = pd.DataFrame(columns).loc[list(TOGETHER)]
    return _format(table.rename_axis("detector").reset_index())


def list_first(scores: pd.DataFrame, runs: pd.DataFrame) -> str:
    """Which of the index and of evals tells each scored failing run first, by regime, where either
    tells at most `FIRST_RATE` of the sound runs."""
    own = scores.drop(columns="regime").merge(runs.loc[runs["scored"], [*RUN, "regime"]], on=RUN)
    lines = draw_lines(own, FIRST_RATE)
    failing = own[(own["regime"] != SOUND) & own["detector"].isin([INDEX, AGAINST_SOUND])]
    rows = []
    for regime, group in failing.groupby("regime"):
        race = race_detectors(group, lines, AGAINST_SOUND).set_index("detector").loc[INDEX]
        number = len(group.drop_duplicates(RUN))
        rows.append(
            {"regime": regime, "index first": race["earlier"], "together": race["same"]}
            | {"evals first": race["later"], "neither": number - race.sum()}
        )
    return pd.DataFrame(rows).to_markdown(index=False)


def list_leads(figures: pd.DataFrame, races: pd.DataFrame) -> str:
    """Lead of every detector on the practical change, and its races against evals."""
    wide, race = figures.set_index(["detector", "figure"]), races.set_index(["detector", "against"])
    rows = []
    for name in figures["detector"].unique():
        row = {
            "detector": name,
            "ahead": _show(wide.loc[(name, "ahead")]),
            "in time": _show(wide.loc[(name, "in time")]),
            "median lead": _show(wide.loc[(name, "median lead")], "{:.0f}"),
        }
        for rival in races["against"].unique():
            row[f"earlier / same / later than {rival}"] = (
                " / ".join(str(race.at[(name, rival), k]) for k in ("earlier", "same", "later"))
                if (name, rival) in race.index
                else "–"
            )
        rows.append(row)
    return _format(rows) if rows else "No failing run changed in practice."


def list_fresh(tables: Mapping[str, pd.DataFrame]) -> str:
    """Figures of the detectors that are compared on further seeds, and those at equal rates."""
    wide = tables["detectors"].set_index(["detector", "figure"])
    leads = tables["lead_figures"].set_index(["detector", "figure"])
    equal = measure_equal(tables["scores"], tables["runs"])
    rows = [
        {
            "detector": name,
            "AUROC": _show(wide.loc[(name, "auroc")]),
            "misses": _show(wide.loc[(name, "fnr")]),
            "false alarms": _show(wide.loc[(name, "fpr")]),
            "ahead": _show(leads.loc[(name, "ahead")]),
            **{f"ahead, {rate}": _show_share(s) for rate, s in equal.loc[name].items()},
        }
        for name in FRESH
    ]
    return f"{describe_seeds(tables['runs'], 'warning-benchmark-fresh')}\n\n{_format(rows)}"


def list_overlap(overlap: pd.DataFrame) -> str:
    """Runs of each regime that emodrift and exact evals tell."""
    names = {"one": "emodrift alone", "other": "exact evals alone"}
    return overlap.rename(columns=names).to_markdown(index=False)


def list_practical(practical: pd.DataFrame) -> str:
    """Runs of each regime whose evals changed by what matters."""
    rows = [
        {
            "regime": row["regime"],
            "runs": row["runs"],
            "changed in practice": row["changed"],
            "median step": "–" if np.isnan(row["median_step"]) else f"{row['median_step']:.0f}",
        }
        for row in practical.to_dict("records")
    ]
    return _format(rows)


def list_confusion(confusion: pd.DataFrame) -> str:
    """Verdicts by regime, runs."""
    wide = confusion.pivot_table(index="regime", columns="verdict", values="runs", aggfunc="sum")
    return wide.astype(int).reset_index().to_markdown(index=False)


def list_costs(costs: pd.DataFrame, thresholds: pd.DataFrame) -> str:
    """What every detector reads of a checkpoint, and what measuring that took."""
    seconds = ", ".join(f"{row.measurement} {row.seconds:.1f} s" for row in costs.itertuples())
    rows = thresholds[["detector", "reads"]].to_dict("records")
    return f"{_format(rows)}\n\nMedian time of a checkpoint: {seconds}."


def _show(row: pd.Series, form: str = "{:.2f}") -> str:
    value, low, high = (
        "never" if np.isinf(v) else "–" if np.isnan(v) else form.format(v)
        for v in (row["value"], row["low"], row["high"])
    )
    return value if low == high == value else f"{value} ({low} to {high})"


def _show_share(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.2f}"


def _format(rows: list[dict[str, object]] | pd.DataFrame) -> str:
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    main()
