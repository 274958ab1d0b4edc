"""What a study takes through SLURM, beside the same study without it, on this machine.

``python -m benchmarks.cluster`` runs the smoke study twice, each time from nothing: by Snakemake
alone, and by sbatch on a cluster of one node that it starts (`python -m tests.machine` installs
SLURM). It prints how often as long the second took, and for what share of the time jobs ran.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tests.slurm.node import Node, run_node

CONFIG = Path("config/examples/smoke.yaml")


def main() -> None:
    """Run the study both ways and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", default=CONFIG)
    config = parser.parse_args().config.resolve()
    with tempfile.TemporaryDirectory() as folder:
        alone = time_study(config, Path(folder, "alone"), "default", {})
        with run_node(Path(folder, "node")) as node:
            through = time_study(config, Path(folder, "slurm"), "slurm", node.environment)
            running = list_durations(node)
    print(
        f"{config.stem}: {len(running)} jobs; {through / alone:.2f} times as long as without SLURM "
        f"({through:.0f} and {alone:.0f} s); jobs ran {100 * sum(running) / through:.0f} % of the "
        f"time, {', '.join(f'{seconds:.0f}' for seconds in running)} s"
    )


def time_study(config: Path, folder: Path, profile: str, environment: Mapping[str, str]) -> float:
    """Seconds that a study takes from nothing, in a folder of its own, by a shipped profile."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", Path("Snakefile").resolve()]
    command += ["--configfile", config, "--directory", folder, "--quiet", "all"]
    command += ["--workflow-profile", Path("profiles", profile).resolve()]
    start = time.perf_counter()
    subprocess.run(command, env=os.environ | environment, check=True)
    return time.perf_counter() - start


def list_durations(node: Node) -> list[float]:
    """Seconds that each job of a cluster ran."""
    lines = node.ask("squeue", "-h", "--states=all", "-o", "%S %e").splitlines()
    times = [[datetime.fromisoformat(word) for word in line.split()] for line in lines]
    return [(end - start).total_seconds() for start, end in sorted(times)]


if __name__ == "__main__":
    main()
