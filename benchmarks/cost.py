"""How the time of finished visits compares with a probe: the factor behind `emodrift plan`.

``python -m benchmarks.cost results/store`` counts the operations of the measurements of the latest
visits in a store, and divides what they took by what as many operations of a probe take. The probe
is timed in seconds of the processor, so that other processes on the machine do not matter to it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from emodrift.cost.ledger import Ledger
from emodrift.cost.pace import PROBED, find_visited, learn_pace
from emodrift.cost.probe import time_products
from emodrift.cost.shapes import read_shape


def calibrate(store: Path, share: float) -> list[str]:
    """Rows of stages: operations a second, and their share of the probe's.

    Parameters
    ----------
    store
        Root of a store with finished visits of one network.
    share
        Of a core that the visits had to themselves.
    """
    model, size = find_visited(store)
    mixed = model.get("mixed", False)
    ledger = Ledger(store, {}, *size)
    shape = read_shape(model["location"], *size)
    learned = learn_pace(ledger, shape, mixed)
    torch.set_num_threads(1)
    probe = time_products(shape, mixed, PROBED, time.process_time)
    rows = [
        f"probe{' in mixed precision' * mixed}: {probe.reading:.2e} reading, "
        f"{probe.writing:.2e} writing, operations a second"
    ]
    for stage, seconds in sorted(learned.items()):
        rate = 1 / (seconds * share)
        against = probe.writing if stage in ("samples", "replies") else probe.reading
        rows.append(f"{stage:12} {rate:.2e} operations a second, {rate / against:.2f} of the probe")
    return rows


def main() -> None:
    """Print the rows of a store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--share", type=float, default=1.0, help="of a core that visits had")
    options = parser.parse_args()
    print("\n".join(calibrate(options.store, options.share)))


if __name__ == "__main__":
    main()
