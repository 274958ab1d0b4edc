"""Thinning: fewer texts than there are, spread evenly over what they are about."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

from emodrift.corpus.records import Record

Cell = Callable[[Record], Hashable]


def thin_parts(
    records: Mapping[str, Sequence[Record]],
    kinds: Mapping[str, str],
    amounts: Mapping[str, int | Mapping[str, int]],
    minimum_topics: int,
) -> dict[str, list[Record]]:
    """Parts with no more texts than are asked for.

    Parameters
    ----------
    records
        Part -> its records.
    kinds
        Part -> kind.
    amounts
        Kind -> how many: prompts of each split of each suite, or suite -> how many; other texts of
        each label, shared between the splits as the texts are, with at least `minimum_topics` in
        each. A kind or suite that is not named keeps all.
    minimum_topics
        Config.

    Returns
    -------
    dict
        Part -> those that are kept, in their order.
    """
    kept = {name: list(rows) for name, rows in records.items()}
    for kind, amount in amounts.items():
        names = [name for name in records if kinds[name] == kind]
        rows = [row for name in names for row in records[name]]
        quotas: Mapping[Hashable, int]
        if kind == "prompts":
            quotas = _set_quotas(rows, amount)
            chosen = take_spread(rows, _find_suite, "family", quotas)
        else:
            assert isinstance(amount, int)
            quotas = _share_between_splits(rows, amount, minimum_topics)
            chosen = take_spread(rows, _find_label, "topic", quotas)
        ids = {row["id"] for row in chosen}
        kept |= {name: [row for row in records[name] if row["id"] in ids] for name in names}
    return kept


def take_spread(
    rows: Sequence[Record], find_cell: Cell, group: str, quotas: Mapping[Hashable, int]
) -> list[Record]:
    """Some rows of each cell, its groups in turn.

    Groups are taken in one order in all cells, so that emotions keep the same topics.

    Parameters
    ----------
    rows
        Records.
    find_cell
        Record -> the cell it belongs to.
    group
        Field whose values take turns.
    quotas
        Cell -> how many are kept.
    """
    order = {name: place for place, name in enumerate(sorted({row[group] for row in rows}))}
    cells: dict[Hashable, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        cells[find_cell(row)][row[group]].append(row)
    chosen = []
    for cell, groups in cells.items():
        in_turn = [
            (turn, order[name], row)
            for name, of_group in groups.items()
            for turn, row in enumerate(of_group)
        ]
        in_turn.sort(key=lambda entry: entry[:2])
        chosen += [row for _, _, row in in_turn[: quotas[cell]]]
    return chosen


def _set_quotas(rows: Sequence[Record], amount: int | Mapping[str, int]) -> dict[Hashable, int]:
    """Suite and split -> how many."""
    of_suite = {row["suite"]: amount for row in rows} if isinstance(amount, int) else amount
    return {_find_suite(row): of_suite.get(row["suite"], len(rows)) for row in rows}


def _share_between_splits(rows: Sequence[Record], amount: int, minimum: int) -> dict[Hashable, int]:
    """Label and split -> how many."""
    splits = Counter(row["split"] for row in rows)
    total = splits.total()
    quota = {s: max(minimum, round(amount * n / total)) for s, n in splits.items()}
    return {_find_label(row): quota[row["split"]] for row in rows}


def _find_suite(row: Record) -> Hashable:
    return row["suite"], row["split"]


def _find_label(row: Record) -> Hashable:
    return row["label"], row["split"]
