"""Space that a study's downloads take, said and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from emodrift.checkpoints.checkpoint import find_reference
from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.store.downloads import (
    Download,
    find_cache,
    format_size,
    list_missing,
    measure_free_space,
)
from emodrift.store.entry import entry_exists


class Need(NamedTuple):
    """Bytes that downloads take.

    Parameters
    ----------
    total
        All of them.
    alone
        At a time, where weights are deleted after measuring and one job runs at a time.
    further
        Added by each job that runs beside it.
    """

    total: int
    alone: int
    further: int


def check_disk(plan: Plan) -> str | None:
    """What a study has yet to download, in a line; None if nothing.

    Raises
    ------
    EmodriftError
        The downloads cannot fit on the disk, or there is no network to fetch them.
    """
    sizes = {
        place: sum(list_missing(Download(*need["download"])).values())
        for place, need in plan.list_needs().items()
        if not all(entry_exists(plan.store / entry) for entry in need["entries"])
    }
    missing = {place for place, size in sizes.items() if size}
    if not missing:
        return None
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        first = next(c for c in plan.checkpoints if {d.place for d in c.downloads} & missing)
        raise EmodriftError(
            f"the weights of {first.label}"
            + (f" and {len(missing) - 1} more downloads" if len(missing) > 1 else "")
            + f" are not in the hub's cache at {find_cache()}, and HF_HUB_OFFLINE is set; unset it,"
            " or run `emodrift download CONFIG` where there is network"
        )
    reference = find_reference(plan.checkpoints, plan.study.reference)
    need = add_up(
        sizes,
        [[d.place for d in c.downloads] for c in plan.checkpoints],
        [d.place for d in reference.downloads],
    )
    return judge_disk(need, len(missing), measure_free_space(), plan.study.compute.keep_downloads)


def add_up(
    sizes: Mapping[str, int], loads: Sequence[Sequence[str]], reference: Sequence[str]
) -> Need:
    """Bytes that downloads take in all, and at a time if weights are deleted after measuring.

    Parameters
    ----------
    sizes
        Place on the hub -> bytes still to be fetched.
    loads
        Places that each checkpoint is loaded from.
    reference
        Places that the reference is loaded from. They stay for long, as does a base model that
        several adapters share.
    """
    places = [p for load in {tuple(load) for load in loads} for p in load]
    standing = {*reference, *(p for p in places if places.count(p) > 1)}
    passing = max(sum(sizes.get(p, 0) for p in {*load} - standing) for load in loads)
    return Need(
        total=sum(sizes.values()),
        alone=sum(sizes.get(p, 0) for p in standing) + passing,
        further=passing,
    )


def judge_disk(need: Need, number: int, free: int, kept: bool) -> str:
    """What downloads take, in a line.

    Parameters
    ----------
    need
        Bytes they take.
    number
        How many there are.
    free
        Bytes free where they go.
    kept
        Whether weights stay after measuring.

    Raises
    ------
    EmodriftError
        They cannot fit.
    """
    total, alone, further, room = map(format_size, (*need, free))
    place = f"{room} is free at {find_cache()}"
    elsewhere = "make room, or set HF_HUB_CACHE to a folder on another disk"
    if kept and need.total > free:
        raise EmodriftError(
            f"{number} downloads take {total}, and {place}; "
            + (
                f"set compute.keep_downloads: false, which takes {alone} at a time, "
                if need.alone <= free
                else ""
            )
            + elsewhere
        )
    if need.alone > free:
        raise EmodriftError(
            f"{number} downloads take {alone} at a time though compute.keep_downloads is false, "
            f"and {place}; {elsewhere}"
        )
    line = f"{number} downloads from the hub, {total}"
    if not kept:
        line += (
            f"; weights are deleted after measuring: {alone} at a time, {further} more for each "
            "further job beside it"
        )
    return f"{line}; {place}"
