"""Croissant: a folder of Parquet tables described for people and machines that find data sets.

After the format's specification 1.0 (MLCommons): each file a ``FileObject`` with its SHA-256, each
table a ``RecordSet`` whose fields are its columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty"),
    *("fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
    *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
    *("separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
"""The context that the specification prescribes."""


def describe_tables(
    name: str, description: str, tables: Sequence[Path], version: str
) -> dict[str, Any]:
    """Croissant metadata of Parquet files that lie beside it, as JSON-able values.

    Parameters
    ----------
    name, description, version
        Of the data set.
    tables
        The files.
    """
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "version": version,
        "distribution": [_describe_file(path) for path in tables],
        "recordSet": [_describe_records(path) for path in tables],
    }


def _describe_file(path: Path) -> Mapping[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": "application/x-parquet",
        "contentSize": f"{path.stat().st_size} B",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _describe_records(path: Path) -> Mapping[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": path.stem,
        "name": path.stem,
        "field": [_describe_field(path, column) for column in pq.read_schema(path)],
    }


def _describe_field(path: Path, column: pa.Field) -> Mapping[str, Any]:
    repeated = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    kind = column.type.value_type if repeated else column.type
    field = {
        "@type": "cr:Field",
        "@id": f"{path.stem}/{column.name}",
        "name": f"{path.stem}/{column.name}",
        "dataType": _name_type(kind),
        "source": {"fileObject": {"@id": path.name}, "extract": {"column": column.name}},
    }
    return field | ({"repeated": True} if repeated else {})


def _name_type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
