"""Check every entry of a store against its manifest: ``python -m emodrift.store.verify``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from emodrift.store.digest import digest_file
from emodrift.store.entry import list_entries, read_manifest


def find_damage(path: Path) -> list[str]:
    """Names of an entry's files that are missing or whose bytes differ from its manifest."""
    files = read_manifest(path)["files"]
    return [
        name
        for name, digest in files.items()
        if not (path / name).is_file() or digest_file(path / name) != digest
    ]


def verify_store(store: Path) -> list[str]:
    """A line for each file of each entry that is missing or differs from its manifest."""
    return [f"{entry}: {name}" for entry in list_entries(store) for name in find_damage(entry)]


def main() -> None:
    """Print damaged entries; exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, nargs="?", default=Path("results/store"))
    damaged = verify_store(parser.parse_args().store)
    print("\n".join(damaged) or "all entries agree with their manifests")
    sys.exit(bool(damaged))


if __name__ == "__main__":
    main()
