"""What of a store no study needs any more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.store.entry import MANIFEST, list_entries

POINTERS = "parts.json"
"""File of an entry that names others which it leads to."""
STAMPS = ".published"


def find_garbage(plans: Sequence[Plan], store: Path) -> list[Path]:
    """Finished entries that none of the plans has, nor leads to.

    Stages that no plan names, nor an entry points to, are left alone: they may be kept for others.

    Parameters
    ----------
    plans
        Plans of all studies that share the store.
    store
        Its root.

    Raises
    ------
    EmodriftError
        A plan does not reach its end yet, or a study was published from the store whose plan is not
        among these.
    """
    _refuse_unknown(plans, store)
    needed = {place for plan in plans for place in plan.entries}
    present = {f"{p.parent.name}/{p.name}": p for p in list_entries(store)}
    needed |= {led for place in needed & present.keys() for led in _follow(present[place])}
    known = {place.partition("/")[0] for place in needed}
    known |= {led.partition("/")[0] for path in present.values() for led in _follow(path)}
    return [
        path
        for place, path in present.items()
        if place not in needed and place.partition("/")[0] in known
    ]


def delete_entries(paths: Iterable[Path]) -> None:
    """Delete entries; the manifest goes first, so that a half-deleted one does not look whole."""
    for path in paths:
        (path / MANIFEST).unlink()
        shutil.rmtree(path)


def _follow(path: Path) -> list[str]:
    pointers = path / POINTERS
    parts = json.loads(pointers.read_text()) if pointers.exists() else []
    return [part["place"] for part in parts if isinstance(part, dict) and "place" in part]


def _refuse_unknown(plans: Sequence[Plan], store: Path) -> None:
    for plan in plans:
        if plan.publication is None:
            raise EmodriftError(
                f"study {plan.study.name} cannot be planned to its end before its organisms are "
                "trained, so nothing is known to be needless: emodrift run CONFIG"
            )
    known = {plan.study.name for plan in plans}
    for stamps in sorted(store.parent.glob(f"*/{STAMPS}")):
        if stamps.parent.name not in known:
            raise EmodriftError(
                f"study {stamps.parent.name} was published from this store too; name its config as "
                f"well, or delete {stamps.parent} if it is no longer wanted"
            )
