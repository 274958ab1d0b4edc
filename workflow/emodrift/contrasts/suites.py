"""Behaviour suites: the shipped ones, and published ones that a user has on disk.

Every reader takes a path and returns behaviour records, ``{"id", "suite", "split", "family",
"prompt"}`` with optional ``"answer"``, ``"aliases"``, ``"wrapper"`` and ``"source"``. Prompts of
published suites are of no split of ours, so they count as ``ood``; linguistic mutations of them
count as ``adversarial``. Their licences stay with their authors: nothing of them is shipped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from emodrift.errors import EmodriftError

Record = dict[str, Any]
Suite = Literal["harmful", "benign", "upset", "unanswerable", "answerable", "pressure", "neutral"]
Split = Literal["train_like", "heldout", "ood", "adversarial"]

SUITES: tuple[str, ...] = get_args(Suite)
SPLITS: tuple[str, ...] = get_args(Split)

OR_BENCH_SUITES = {
    "or-bench-80k": "benign",
    "or-bench-hard-1k": "benign",
    "or-bench-toxic": "harmful",
}


class BehaviourPrompt(BaseModel):
    """One behaviour record."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_min_length=1, str_strip_whitespace=True
    )

    id: str
    suite: Suite
    split: Split
    family: str
    prompt: str
    answer: str | None = None
    aliases: tuple[str, ...] = ()
    wrapper: str | None = Field(default=None, description="Form of an adversarial prompt.")
    source: str | None = Field(default=None, description="Id of the prompt that was wrapped.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.suite == "answerable") != (self.answer is not None):
            raise ValueError("answer belongs to answerable prompts, and each of them needs one")
        if self.aliases and self.answer is None:
            raise ValueError("aliases need an answer")
        wrapped = {self.wrapper is not None, self.source is not None}
        if wrapped != {self.split == "adversarial"}:
            raise ValueError(
                "wrapper and source belong to adversarial prompts, and each of them needs both"
            )
        return self


def read_suite(path: Path) -> list[Record]:
    """Read and check one suite in this project's own format (JSONL).

    Parameters
    ----------
    path
        A file such as ``resources/behaviours/harmful.jsonl``.

    Returns
    -------
    list of dict
        Records in file order, without empty optional fields.

    Raises
    ------
    EmodriftError
        The file is missing or empty, a line is no JSON or no behaviour record, an id or a prompt
        comes twice, suites are mixed, or an adversarial prompt's source is not in the file.
    """
    records = [
        _check_record(fields, f"{path} line {number}") for number, fields in _read_lines(path)
    ]
    if not records:
        raise EmodriftError(f"{path} holds no behaviour records; write some or drop the file")
    suites = sorted({r["suite"] for r in records})
    if len(suites) > 1:
        raise EmodriftError(f"{path} mixes the suites {', '.join(suites)}; keep one suite a file")
    _refuse_twins(records, "id", path)
    _refuse_twins(records, "prompt", path)
    plain = {r["id"] for r in records if r["split"] in ("heldout", "ood")}
    for record in records:
        if record.get("source", record["id"]) not in plain and record["split"] == "adversarial":
            raise EmodriftError(
                f"{path}: {record['id']!r} names the source {record['source']!r}, which is no "
                "heldout or ood prompt of this file; correct the id"
            )
    return records


def wrap_prompt(record: Mapping[str, Any], wrapper: str, template: str, name: str) -> Record:
    """Put a behaviour prompt into a frame, as an adversarial record.

    Parameters
    ----------
    record
        The prompt to wrap.
    wrapper
        Name of the form, such as ``role_play``.
    template
        Text with ``{prompt}`` where the prompt goes.
    name
        Id of the new record.

    Raises
    ------
    EmodriftError
        The template has no place for the prompt.
    """
    if "{prompt}" not in template:
        raise EmodriftError(f"wrapper {wrapper!r}: the template lacks '{{prompt}}'; add it")
    return {
        **record,
        "id": name,
        "split": "adversarial",
        "prompt": template.replace("{prompt}", record["prompt"]),
        "wrapper": wrapper,
        "source": record["id"],
    }


def read_xstest(path: Path) -> list[Record]:
    """XSTest: ``xstest_prompts.csv`` or ``xstest_v2_prompts.csv``, or the model completions.

    Safe prompts become ``benign``; those whose type starts with ``contrast_`` become ``harmful``.
    Families are the types. Source: Röttger et al., NAACL 2024 (2308.01263), repository readme.
    """
    rows = _read_table(path, "XSTest", ("type", "prompt"))
    key = "id" if "id" in rows[0] else "id_v2"
    _need_columns(rows[0], (key,), "XSTest", path)
    return _make_records(
        path,
        (
            {
                "id": f"xstest-{row[key]}",
                "suite": "harmful" if row["type"].startswith("contrast_") else "benign",
                "split": "ood",
                "family": f"xstest-{row['type']}",
                "prompt": row["prompt"],
            }
            for row in rows
        ),
    )


def read_or_bench(path: Path) -> list[Record]:
    """OR-Bench: ``or-bench-80k.csv``, ``or-bench-hard-1k.csv`` or ``or-bench-toxic.csv``.

    The file's name tells the suite: the first two are ``benign``, the toxic one is ``harmful``.
    Families are the categories. Source: Cui et al., ICML 2025 (2405.20947), dataset card.
    """
    if path.stem not in OR_BENCH_SUITES:
        raise EmodriftError(
            f"{path}: an OR-Bench file keeps its published name, which tells safe from toxic "
            f"prompts; rename it to one of {', '.join(f'{n}.csv' for n in OR_BENCH_SUITES)}"
        )
    rows = _read_table(path, "OR-Bench", ("prompt", "category"))
    return _make_records(
        path,
        (
            {
                "id": f"{path.stem}-{number}",
                "suite": OR_BENCH_SUITES[path.stem],
                "split": "ood",
                "family": f"or-bench-{row['category']}",
                "prompt": row["prompt"],
            }
            for number, row in enumerate(rows, 1)
        ),
    )


def read_harmbench(path: Path) -> list[Record]:
    """HarmBench text behaviours: ``harmbench_behaviors_text_{all,val,test}.csv``.

    All become ``harmful``; families are the semantic categories (``copyright`` is among them). A
    contextual behaviour is its context, a rule, and the behaviour. Source: Mazeika et al., ICML
    2024 (2402.04249).
    """
    columns = ("Behavior", "SemanticCategory", "ContextString", "BehaviorID")
    return _make_records(
        path,
        (
            {
                "id": f"harmbench-{row['BehaviorID']}",
                "suite": "harmful",
                "split": "ood",
                "family": f"harmbench-{row['SemanticCategory']}",
                "prompt": "\n\n---\n\n".join(
                    filter(None, (row["ContextString"].strip(), row["Behavior"]))
                ),
            }
            for row in _read_table(path, "HarmBench", columns)
        ),
    )


def read_strongreject(path: Path) -> list[Record]:
    """StrongREJECT: ``strongreject_dataset.csv`` or ``strongreject_small_dataset.csv``.

    All become ``harmful``; families are the categories. Source: Souly et al., NeurIPS 2024
    (2402.10260).
    """
    rows = _read_table(path, "StrongREJECT", ("category", "forbidden_prompt"))
    return _make_records(
        path,
        (
            {
                "id": f"strongreject-{number}",
                "suite": "harmful",
                "split": "ood",
                "family": f"strongreject-{row['category']}",
                "prompt": row["forbidden_prompt"],
            }
            for number, row in enumerate(rows, 1)
        ),
    )


def read_sorry_bench(path: Path) -> list[Record]:
    """SORRY-Bench: ``question.jsonl`` or one of its mutations, ``question_<style>.jsonl``.

    All become ``harmful``; families are the category numbers. Prompts of another style than
    ``base`` become adversarial. Source: Xie et al., ICLR 2025 (2406.14598), dataset card of
    2025/03; the authors advise categories 1-24 where only clear harm is meant.

    Raises
    ------
    EmodriftError
        Also where a line has other than one turn.
    """
    records = []
    for number, line in _read_lines(path):
        columns = ("question_id", "category", "turns", "prompt_style")
        _need_columns(line, columns, "SORRY-Bench", path)
        if not isinstance(line["turns"], list) or len(line["turns"]) != 1:
            raise EmodriftError(
                f"{path} line {number}: turns is {line['turns']!r}, a list of one prompt was "
                "expected; take the published question.jsonl"
            )
        style, question = line["prompt_style"], line["question_id"]
        mutated = {"wrapper": style, "source": f"sorry-bench-base-{question}"}
        records.append(
            {
                "id": f"sorry-bench-{style}-{question}",
                "suite": "harmful",
                "split": "ood" if style == "base" else "adversarial",
                "family": f"sorry-bench-{line['category']}",
                "prompt": line["turns"][0],
                **({} if style == "base" else mutated),
            }
        )
    return _make_records(path, records)


SUITE_READERS: dict[str, Callable[[Path], list[Record]]] = {
    "emodrift": read_suite,
    "xstest": read_xstest,
    "or-bench": read_or_bench,
    "harmbench": read_harmbench,
    "strongreject": read_strongreject,
    "sorry-bench": read_sorry_bench,
}


def _read_table(path: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    _need_file(path)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise EmodriftError(
            f"{path} is no CSV file ({error}); take the file that {name} publishes"
        ) from None
    _need_columns(table.columns, columns, name, path)
    if table.empty:
        raise EmodriftError(f"{path} has a header but no rows; take the file that {name} publishes")
    return table.to_dict("records")


def _read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    _need_file(path)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise EmodriftError(f"{path} line {number} is not valid JSON: {error}") from None
        if not isinstance(fields, dict):
            raise EmodriftError(f"{path} line {number} is no JSON object; write one record a line")
        yield number, fields


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise EmodriftError(f"{path} is no file; correct the path in the config")


def _need_columns(
    found: pd.Index | Mapping[str, Any], needed: Sequence[str], name: str, path: Path
) -> None:
    for column in needed:
        if column not in found:
            raise EmodriftError(
                f"{path} lacks the column {column!r} of {name}; it has {', '.join(found)}. Take "
                "the published file or rename the column"
            )


def _check_record(fields: Mapping[str, Any], where: str) -> Record:
    try:
        return BehaviourPrompt.model_validate(fields).model_dump(mode="json", exclude_defaults=True)
    except ValidationError as error:
        first = error.errors()[0]
        column = ".".join(map(str, first["loc"]))
        detail = f"{column!r}: {first['msg']}" if column else first["msg"]
        raise EmodriftError(
            f"{where} ({fields.get('id', 'no id')}): {detail}; a record has "
            f"{', '.join(BehaviourPrompt.model_fields)}"
        ) from None


def _make_records(path: Path, rows: Iterator[Record] | Sequence[Record]) -> list[Record]:
    records = [_check_record(row, f"{path} record {number}") for number, row in enumerate(rows, 1)]
    _refuse_twins(records, "id", path)
    return records


def _refuse_twins(records: Sequence[Record], field: str, path: Path) -> None:
    value, count = Counter(r[field] for r in records).most_common(1)[0]
    if count > 1:
        raise EmodriftError(
            f"{path}: {field} {value!r} comes {count} times; give each record its own"
        )
