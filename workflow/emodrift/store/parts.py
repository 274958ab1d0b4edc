"""Parts of an entry that are entries of their own, which its job makes where they are missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from emodrift.store.entry import entry_exists, write_entry
from emodrift.store.verify import check_intact

Part = TypeVar("Part")


def keep_parts(
    entries: Sequence[Mapping[str, Any]],
    store: Path,
    save: Callable[[Part, Path], None],
    load: Callable[[Path], Part],
) -> Callable[[int, Callable[[], Part]], Part]:
    """What gives a part by its number, and makes and keeps it first where it is missing.

    Parameters
    ----------
    entries
        Parts in order, as plain values (:meth:`emodrift.store.entry.Entry.describe`).
    store
        Root of the store.
    save, load
        Write a part into the directory of its entry, and read it.

    Raises
    ------
    EmodriftError
        What is returned raises it where a part that is kept is damaged.
    """

    def take(number: int, make: Callable[[], Part]) -> Part:
        entry = entries[number]
        place = store / entry["stage"] / entry["key"]
        if entry_exists(place):
            check_intact(place)
        else:
            logging.info("%s of %s", entry["stage"], entry["label"])
            with write_entry(place, entry) as out:
                save(make(), out)
        return load(place)

    return take
