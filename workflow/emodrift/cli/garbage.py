"""What of a store no study needs any more."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.store.entry import MANIFEST, list_entries
from emodrift.store.stamps import STAMPS


def find_garbage(plans: Sequence[Plan], store: Path) -> list[Path]:
    """Finished entries that none of the plans has.

    Stages that no plan names are left alone: they may be kept for others.

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
    known = {place.partition("/")[0] for place in needed}
    return [
        path
        for path in list_entries(store)
        if path.parent.name in known and f"{path.parent.name}/{path.name}" not in needed
    ]


def delete_entries(paths: Iterable[Path]) -> None:
    """Delete entries; the manifest goes first, so that a half-deleted one does not look whole."""
    for path in paths:
        (path / MANIFEST).unlink()
        shutil.rmtree(path)


def _refuse_unknown(plans: Sequence[Plan], store: Path) -> None:
    for plan in plans:
        if plan.awaited:
            raise EmodriftError(
                f"study {plan.study.name} cannot be planned to its end before it has "
                f"{plan.awaited[0].label}, so nothing is known to be needless: emodrift run CONFIG"
            )
    known = {plan.study.name for plan in plans}
    for stamps in sorted(store.parent.glob(f"*/{STAMPS}")):
        if stamps.parent.name not in known:
            raise EmodriftError(
                f"study {stamps.parent.name} was published from this store too; name its config as "
                f"well, or delete {stamps.parent} if it is no longer wanted"
            )
