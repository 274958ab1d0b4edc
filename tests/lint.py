"""Snakemake's linter over the rules, but for what CONTRIBUTING.md argues for.

python -m tests.lint
"""

from __future__ import annotations

import re
import subprocess
import sys

from tests.conftest import ROOT

ARGUED = ("Specify a conda environment or container for each rule.",)
CONFIG = "config/examples/smoke.yaml"


def list_lints(text: str) -> list[str]:
    """Place and title of what the linter reports and is not argued for."""
    found = []
    for report in text.split("Lints for ")[1:]:
        place = report.splitlines()[0].rstrip(":")
        titles = re.findall(r"^ +\* (.+):$", report, re.M)
        found += [f"{place}: {title}" for title in titles if title not in ARGUED]
    return found


def main() -> None:
    """Lint the rules, and fail with what is left."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint", "--configfile", CONFIG],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if "Lints for " not in done.stderr:
        sys.exit(f"snakemake --lint said nothing of rules:\n{done.stderr}")
    sys.exit("\n".join(list_lints(done.stderr)) or None)


if __name__ == "__main__":
    main()
