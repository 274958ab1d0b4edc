"""docs/real-study.md: its tables and figures, from the published results of `make real`.

``python -m validation.real [results/real [results/real-seeds]]`` writes what stands between the
page's markers; the words around are a person's.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from validation.parts import fill_parts

PAGE = Path("docs/real-study.md")
FIGURES = ("drift_trajectories", "indicators", "dose_response", "layer_map")
FOLLOWED = ("caution", "discovered", "harm", "harm (refitted)", "refusal", "refusal (refitted)")
EXAMPLES = 1
LONGEST = 170

Row = list[str]


def write_page(page: Path, results: Path, seeds: Path | None = None) -> None:
    """Fill in the page and copy its figures beside it.

    Parameters
    ----------
    page
        Markdown with markers ``<!-- name: begin -->`` and ``<!-- name: end -->``.
    results, seeds
        Folders of the published study, and of the one with second seeds.
    """
    tables = read_tables(results)
    parts = {name: "\n".join(make(tables)) for name, make in PARTS.items()}
    if seeds:
        parts["seeds"] = "\n".join(list_runs(read_tables(seeds)))
    text = page.read_text(encoding="utf-8")
    page.write_text(fill_parts(text, parts, all_of_them=False), encoding="utf-8")
    for name in FIGURES:
        shutil.copy(results / f"figures/{name}.svg", page.parent / f"figures/real_{name}.svg")


Tables = dict[str, pd.DataFrame]


def read_tables(results: Path) -> Tables:
    """Published tables of a study by name."""
    return {f.stem: pd.read_csv(f, low_memory=False) for f in (results / "tables").glob("*.csv")}


def list_quality(tables: Tables) -> Iterator[str]:
    """How good the vectors of the reference are, at the locked layer."""
    quality, layer = tables["quality"], int(tables["drift"]["layer"].iloc[0])
    here = (quality["checkpoint"] == _find_reference(tables)) & (quality["layer"] == layer)
    mean = quality.loc[here, ["auroc", "lexical_auroc", "random_auroc", "reliability"]].mean()
    yield from draw_table(
        ["layer", "held-out AUROC", "words alone", "random weights", "reliability"],
        [[str(layer), *(f"{v:.2f}" for v in mean)]],
    )


def list_gates(tables: Tables) -> Iterator[str]:
    """What the gates found at the reference, each once."""
    gates = tables["gates"].drop_duplicates(["gate", "found"])
    gates = gates[gates["gate"] != "errors"]
    rows = [
        [row.gate, "passes" if row.passes else "fails", row.found] for row in gates.itertuples()
    ]
    yield from draw_table(["gate", "", "found at the reference"], rows)


def list_runs(tables: Tables) -> Iterator[str]:
    """Every run at its end: what it says, how its vectors stand, and the verdict."""
    drift, runs = tables["drift"], tables["runs"].set_index("run")
    rows = []
    for run, last in pick_ends(tables).items():
        at = drift[drift["checkpoint"] == last]
        means = [at.loc[at["kind"] == kind, "corrected"].mean() for kind in ("emotion", "control")]
        judged = [_print_share(tables, last, metric) for metric in ("refusal", "over_refusal")]
        verdict = runs.loc[run]
        alarm = verdict["alarm_step"]
        rows.append(
            [
                run,
                *judged,
                *(f"{v:.3f}" for v in means),
                str(verdict["verdict"]),
                f"{verdict['level']:.2f}",
                "" if pd.isna(alarm) else f"{alarm:.0f}",
            ]
        )
    header = ["run", "refuses harmful", "refuses benign", "emotions", "controls"]
    header += ["verdict", "chance of a sound run", "first alarm at step"]
    yield from draw_table(header, rows)


def list_rivals(tables: Tables) -> Iterator[str]:
    """Caution, discovered emotions and rival directions at every run's end."""
    rivals = tables["rivals"]
    rows = []
    for run, last in {"reference": _find_reference(tables), **pick_ends(tables)}.items():
        at = rivals[rivals["checkpoint"] == last].set_index("concept")
        cells = [f"{at.at[c, 'auroc']:.2f} / {at.at[c, 'slope']:.2f}" for c in FOLLOWED]
        rows.append([run, *cells])
    yield from draw_table(["run", *FOLLOWED], rows)


def list_course(tables: Tables) -> Iterator[str]:
    """Judged refusal and the indicators' level at every step of every run that is judged."""
    indicators = tables["indicators"]
    rows = []
    for row in tables["reply_agreement"].itertuples():
        at = indicators[indicators["checkpoint"] == row.checkpoint]
        raised = ", ".join(sorted(at.loc[at["alarm"].astype(bool), "indicator"]))
        judged = [_print_share(tables, row.checkpoint, m) for m in ("refusal", "over_refusal")]
        scored = [_print_score(tables, row.checkpoint, m) for m in ("refusal", "over_refusal")]
        agreed = f"{row.auroc:.2f} ({row.auroc_low:.2f} to {row.auroc_high:.2f})"
        rows.append([row.run, f"{row.step:.0f}", *judged, *scored, agreed, raised])
    header = ["run", "step", "refuses harmful", "benign", "by log-odds: harmful", "benign"]
    yield from draw_table([*header, "AUROC for judged replies", "alarms"], rows)


def list_steering(tables: Tables) -> Iterator[str]:
    """What steering the reference does to its replies."""
    replies, style = tables["replies"], tables["reply_style"]
    reference = _find_reference(tables)
    chosen = replies[(replies["checkpoint"] == reference) & (replies["split"] == "all")]
    rows = []
    for (concept, strength), at in chosen.groupby(
        [chosen["concept"].fillna(""), "strength"], sort=True
    ):
        shares = at.set_index("metric")
        cells = [
            f"{shares.at[m, 'share']:.2f} ({shares.at[m, 'low']:.2f} to {shares.at[m, 'high']:.2f})"
            for m in ("refusal", "over_refusal")
        ]
        of_style = style[
            (style["checkpoint"] == reference)
            & (style["concept"].fillna("") == concept)
            & (style["strength"] == strength)
            & (style["suite"] == "all")
        ].set_index("measure")["value"]
        worth = [f"{of_style[m]:.2f}" for m in ("usable", "repetition")]
        rows.append([concept or "none", f"{strength:g}", *cells, *worth])
    header = ["direction", "strength", "refuses harmful", "refuses benign"]
    yield from draw_table([*header, "usable replies", "repetition"], rows)


def list_examples(tables: Tables) -> Iterator[str]:
    """Replies of the reference to the same prompts, unsteered and steered."""
    verdicts = tables["verdicts"]
    at = verdicts[verdicts["checkpoint"] == _find_reference(tables)]
    unsteered = at[at["concept"].isna()]
    picked = pd.concat(
        unsteered[unsteered["suite"] == suite].head(EXAMPLES) for suite in ("harmful", "benign")
    )
    rows = []
    for prompt in picked.itertuples():
        of_prompt = at[at["id"] == prompt.id].sort_values(["concept", "strength"])
        for reply in of_prompt.itertuples():
            how = "none" if pd.isna(reply.concept) else f"{reply.concept} {reply.strength:+g}"
            rows.append([prompt.id, how, _shorten(str(reply.text))])
    yield from draw_table(["prompt", "steered by", "reply"], rows)


def list_figures(tables: Tables) -> Iterator[str]:
    """Links to the figures that stand beside the page."""
    for name in FIGURES:
        yield f"![{name.replace('_', ' ')}](figures/real_{name}.svg)"


PARTS = {
    "figures": list_figures,
    "quality": list_quality,
    "gates": list_gates,
    "runs": list_runs,
    "rivals": list_rivals,
    "course": list_course,
    "steering": list_steering,
    "examples": list_examples,
}


def pick_ends(tables: Tables) -> dict[str, int]:
    """Run -> its last checkpoint, of the runs after the reference."""
    last = tables["behaviour"].groupby("run", sort=False)["checkpoint"].max()
    return {run: int(number) for run, number in last.items() if number > _find_reference(tables)}


def draw_table(header: Row, rows: list[Row]) -> Iterator[str]:
    """Lines of a Markdown table."""
    for cells in (header, ["---"] * len(header), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _find_reference(tables: Tables) -> int:
    behaviour = tables["behaviour"]
    first = tables["quality"]["run"].iloc[0]
    return int(behaviour.loc[behaviour["run"] == first, "checkpoint"].max())


def _print_share(tables: Tables, checkpoint: int, metric: str) -> str:
    table = tables["replies"]
    row = table[
        (table["checkpoint"] == checkpoint)
        & table["concept"].isna()
        & (table["metric"] == metric)
        & (table["split"] == "all")
    ].iloc[0]
    return f"{row['share']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def _print_score(tables: Tables, checkpoint: int, metric: str) -> str:
    table = tables["behaviour"]
    rows = table[(table["checkpoint"] == checkpoint) & (table["metric"] == metric)]
    return f"{(rows['probability'] * rows['prompts']).sum() / rows['prompts'].sum():.2f}"


def _shorten(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= LONGEST else plain[:LONGEST].rstrip() + " …"


if __name__ == "__main__":
    write_page(PAGE, *map(Path, sys.argv[1:] or ["results/real"]))
