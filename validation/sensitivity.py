"""The table of docs/sensitivity.md, from a published study with variants.

``python -m validation.sensitivity [results/default-sensitivity]`` writes what stands between the
page's markers; the words around are a person's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from emodrift.config.variants import AS_CONFIGURED
from emodrift.warning.indicators import INDICATORS
from emodrift.warning.sensitivity import ALARM
from validation.parts import fill_parts

PAGE = Path("docs/sensitivity.md")


def write_page(results: Path, page: Path) -> None:
    """Fill in the page.

    Parameters
    ----------
    results
        Folder of a published study.
    page
        Markdown with markers ``<!-- variants: begin -->`` and ``<!-- variants: end -->``.
    """
    conclusions, summary = (
        pd.read_csv(results / f"tables/{name}.csv") for name in ("sensitivity", "variants")
    )
    table = list_variants(conclusions, summary)
    text = page.read_text(encoding="utf-8")
    page.write_text(fill_parts(text, {"variants": table}), encoding="utf-8")


def list_variants(conclusions: pd.DataFrame, summary: pd.DataFrame) -> str:
    """A row for each variant: what stays, and the verdict on each run with its alarms.

    Parameters
    ----------
    conclusions
        Table (variant, run, conclusion: verdict).
    summary
        Table (variant: share, reverse, profile).
    """
    kinds = conclusions[conclusions["conclusion"] == "kind"]
    raised = conclusions[conclusions["conclusion"].isin(INDICATORS)]
    raised = raised[raised["verdict"] == ALARM]
    alarms = raised.groupby(["variant", "run"])["conclusion"].agg(", ".join)
    shown = [
        f"{verdict} ({alarms[place]})" if (place := (variant, run)) in alarms.index else verdict
        for variant, run, verdict in kinds[["variant", "run", "verdict"]].itertuples(index=False)
    ]
    wide = kinds.assign(shown=shown).pivot(index="variant", columns="run", values="shown")
    wide = wide[list(dict.fromkeys(kinds["run"]))]
    of_variant = summary.set_index("variant")
    head = pd.DataFrame(
        {
            "verdicts that stay": of_variant["share"].map("{:.0%}".format),
            "signs reversed": of_variant["reverse"].astype(str),
            "profile of effects": of_variant["profile"].map("{:.2f}".format),
        }
    )
    table = head.reindex([AS_CONFIGURED, *of_variant.index]).fillna("").join(wide)
    return (
        table.rename_axis("variant").reset_index().to_markdown(index=False, disable_numparse=True)
    )


if __name__ == "__main__":
    write_page(Path(*(sys.argv[1:] or ["results/default-sensitivity"])), PAGE)
