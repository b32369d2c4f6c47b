"""Records and samples as Parquet, for pandas, Polars, DuckDB and whatever else reads tables.

docs/schema.md lists the columns. The version of the schema is in the file's own metadata, under ``ciranda_schema``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from experiments.records import SAMPLES_SCHEMA, SCHEMA, Record

__all__ = ["RECORD_COLUMNS", "SAMPLE_COLUMNS", "VERSION_KEY", "write_records", "write_samples"]

VERSION_KEY = "ciranda_schema"

_TYPES: Mapping[str, pl.DataType] = {
    "str": pl.String(),
    "int": pl.Int64(),
    "bool": pl.Boolean(),
    "bool | None": pl.Boolean(),
    "float | None": pl.Float64(),
    # A list of pairs, so that the columns stay the same whatever terms there are.
    "Mapping[str, float] | None": pl.List(pl.Struct({"term": pl.String(), "seconds": pl.Float64()})),
}

RECORD_COLUMNS: Mapping[str, pl.DataType] = {item.name: _TYPES[str(item.type)] for item in fields(Record)}
"""The columns of ``results.parquet``."""

_PER_RANK = pl.List(pl.Int64())

SAMPLE_COLUMNS: Mapping[str, pl.DataType] = {
    "launch": pl.Int64(), "visit": pl.Int64(), "algorithm": pl.String(), "ranks": pl.Int64(), "nbytes": pl.Int64(),
    "dtype": pl.String(), "op": pl.String(), "in_place": pl.Boolean(), "sample": pl.Int64(), "warmup": pl.Boolean(),
    "seconds": pl.Float64(), "enter_ns": _PER_RANK, "exit_ns": _PER_RANK, "cpu_ns": _PER_RANK, "at": pl.Float64(),
    "wrong": pl.Int64(), "correct": pl.Boolean(), "oversubscribed": pl.Boolean(), "clock": pl.String(),
}  # fmt: skip
"""The columns of ``samples.parquet``."""


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write a row a record, whole or not at all."""
    _write(path, [_row(record) for record in records], RECORD_COLUMNS, SCHEMA)


def write_samples(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a row for each line of a ``samples.jsonl``, whole or not at all; what a line lacks is null."""
    _write(path, list(lines), SAMPLE_COLUMNS, SAMPLES_SCHEMA)


def _row(record: Record) -> dict[str, Any]:
    content = record.to_json()
    if content["explained"] is not None:
        content["explained"] = [{"term": term, "seconds": value} for term, value in content["explained"].items()]
    return content


def _write(path: Path, rows: list[Any], columns: Mapping[str, pl.DataType], version: int) -> None:
    table = pl.DataFrame(rows, schema=dict(columns), orient="row")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        table.write_parquet(unfinished, metadata={VERSION_KEY: str(version)})
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
