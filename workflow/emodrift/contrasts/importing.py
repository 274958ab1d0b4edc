"""Records from files of other people: JSONL, CSV, Parquet, saved ``datasets``, published suites.

Columns are renamed, constants filled in and missing ids made; every record is then checked. Errors
name config key, file, row and column.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow
import pyarrow.parquet

from emodrift.config.fields import list_fields
from emodrift.contrasts.suites import SUITE_READERS
from emodrift.contrasts.topics import split_topics
from emodrift.corpus.records import Record, describe_kind, read_lines
from emodrift.errors import EmodriftError
from emodrift.store.digest import digest_value

ID_LENGTH = 12
UNREADABLE = (
    UnicodeDecodeError,
    pyarrow.ArrowInvalid,
    pd.errors.ParserError,
    pd.errors.ParserWarning,
)


class Row(NamedTuple):
    """Where a row is, such as ``row 3``, and its values by column."""

    place: str
    values: Mapping[str, Any]


def import_records(path: Path, part: Mapping[str, Any]) -> list[Record]:
    """Read one file or folder as records of a part.

    Parameters
    ----------
    path
        JSONL, CSV or Parquet file, or a folder written by ``datasets.Dataset.save_to_disk``.
    part
        ``kind``, and optionally ``columns`` (field -> column), ``values`` (field -> constant),
        ``format`` (one of ``SUITE_READERS``) and ``heldout``.

    Returns
    -------
    list of dict
        Records in file order. A record may lack ``split`` where ``heldout`` is given; see
        :func:`fill_splits`. Rows that repeat an earlier one and have no id are left out.

    Raises
    ------
    EmodriftError
        Names the config key, the file, the row, the column and the fix.
    """
    key = f"contrasts.{part['kind']}"
    if part.get("format"):
        try:
            return SUITE_READERS[part["format"]](path)
        except EmodriftError as error:
            raise EmodriftError(f"{key}: {error}") from None
    rows = _read_rows(path, key)
    if not rows:
        raise EmodriftError(
            f"{key}: {path} holds no records; write some or take it out of the config"
        )
    records = [_make_record(row, part, f"{key}: {path} {row.place}") for row in rows]
    return _drop_repeats(records, path)


def fill_splits(
    parts: Mapping[str, Mapping[str, Any]], records: Mapping[str, list[Record]]
) -> None:
    """Split the topics of records that have no split of their own, over all parts together.

    Parameters
    ----------
    parts
        Name -> ``seed`` and ``heldout`` of the part.
    records
        Name -> records; those without ``split`` get one.
    """
    groups: dict[tuple[float, int], list[Record]] = {}
    for name, rows in records.items():
        open_rows = [r for r in rows if "split" not in r]
        if open_rows:
            share, seed = parts[name]["heldout"], parts[name].get("seed", 0)
            groups.setdefault((share, seed), []).extend(open_rows)
    for (share, seed), rows in groups.items():
        splits = split_topics({r["topic"] for r in rows}, share, seed)
        for row in rows:
            row["split"] = splits[row["topic"]]


def _read_rows(path: Path, key: str) -> list[Row]:
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    suffix = path.suffix.lower()
    if not path.is_dir() and suffix not in readers:
        raise EmodriftError(
            f"{key}: {path} is none of {', '.join(readers)}; convert it, or rename it if it is one"
        )
    reader = _read_dataset if path.is_dir() else readers[suffix]
    try:
        return list(reader(path))
    except pd.errors.EmptyDataError:
        return []
    except EmodriftError as error:
        raise EmodriftError(f"{key}: {error}") from None
    except UNREADABLE as error:
        raise EmodriftError(
            f"{key}: {path} cannot be read ({error}); save it again, text as UTF-8"
        ) from None


def _read_jsonl(path: Path) -> Iterator[Row]:
    for line, values in read_lines(path):
        if not isinstance(values, dict):
            raise EmodriftError(f"{path} {line} is no JSON object; write one record a line")
        yield Row(line, values)


def _read_csv(path: Path) -> Iterator[Row]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
    return _number_rows(table.to_dict("records"))


def _read_parquet(path: Path) -> Iterator[Row]:
    return _number_rows(pyarrow.parquet.read_table(path).to_pylist())


def _read_dataset(folder: Path) -> Iterator[Row]:
    from datasets import ClassLabel, List, Value, load_from_disk

    dataset = load_from_disk(str(folder))
    plain = [k for k, f in dataset.features.items() if isinstance(f, Value | ClassLabel | List)]
    names = {k: f.names for k, f in dataset.features.items() if isinstance(f, ClassLabel)}
    for row in _number_rows(dataset.select_columns(plain).with_format(None)):
        labels = {k: _name_class(row.values[k], names[k]) for k in names}
        yield Row(row.place, {**row.values, **labels})


def _name_class(number: int | None, names: list[str]) -> str | None:
    return None if number is None or number < 0 else names[number]


def _number_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    return (Row(f"row {number}", values) for number, values in enumerate(rows, 1))


def _make_record(row: Row, part: Mapping[str, Any], where: str) -> Record:
    columns, constants = part.get("columns", {}), part.get("values", {})
    kind = part["kind"]
    record: Record = {}
    for field in list_fields(kind):
        column = columns.get(field, field)
        if field in constants:
            record[field] = constants[field]
        elif column in row.values:
            value = _read_value(row.values[column], field, column, where)
            if value is not None:
                record[field] = value
        elif field in columns:
            raise EmodriftError(
                f"{where} has no column {column!r} (columns.{field}); it has "
                f"{', '.join(map(str, row.values)) or 'none'}: correct `columns`"
            )
    return _check(_fill_defaults(record, kind), part, row, where)


def _read_value(value: Any, field: str, column: str, where: str) -> Any:
    """A field's value as text; None where the column is empty."""
    if field == "aliases" and isinstance(value, list) and all(isinstance(v, str) for v in value):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise EmodriftError(
            f"{where}, column {column!r} ({field}): found {type(value).__name__}, expected text; "
            "convert the column or name another one under `columns`"
        )
    return str(value) if str(value).strip() else None


def _fill_defaults(record: Record, kind: str) -> Record:
    if kind == "stories":
        record.setdefault("set", "emotion")
    elif kind == "neutral":
        record.setdefault("set", "neutral")
        record.setdefault("label", "neutral")
    return record


def _check(record: Record, part: Mapping[str, Any], row: Row, where: str) -> Record:
    fields, _, splits = describe_kind(part["kind"])
    columns = part.get("columns", {})
    splits_itself = part.get("heldout") is not None
    for field in fields:
        if field in record or field == "id" or (field == "split" and splits_itself):
            continue
        column = columns.get(field, field)
        if column in row.values:
            raise EmodriftError(
                f"{where}, column {column!r} ({field}): is empty; write it or drop the row"
            )
        hint = ", or set `heldout` to split by topic" if splits == ("fit", "heldout") else ""
        raise EmodriftError(
            f"{where} lacks {field!r}; it has {', '.join(map(str, row.values)) or 'no columns'}: "
            f"name its column under `columns` or a constant under `values`"
            f"{hint if field == 'split' else ''}"
        )
    if "split" in record and record["split"] not in splits:
        raise EmodriftError(
            f"{where}, column {columns.get('split', 'split')!r} (split): {record['split']!r} is "
            f"none of {', '.join(splits)}; rename the values, or give `split` under `values`"
        )
    return record


def _drop_repeats(records: list[Record], path: Path) -> list[Record]:
    """Give records without an id one made of their content; leave out those that repeat."""
    kept: list[Record] = []
    made: set[str] = set()
    for record in records:
        if "id" in record:
            kept.append(record)
            continue
        name = f"{record.get('label', record.get('suite'))}-{digest_value(record)[:ID_LENGTH]}"
        if name not in made:
            made.add(name)
            kept.append({"id": name, **record})
    if len(kept) < len(records):
        logging.warning("%s: %d rows repeat others, left out", path, len(records) - len(kept))
    return kept
