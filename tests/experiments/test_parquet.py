"""Parquet holds what the records and the sample lines hold, and docs/schema.md lists every column of both."""

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.parquet import RECORD_COLUMNS, SAMPLE_COLUMNS, VERSION_KEY, write_records, write_samples
from experiments.records import SAMPLES_SCHEMA, SCHEMA, Record

DOCUMENT = Path(__file__).parents[2] / "docs" / "schema.md"

RECORDS = st.builds(
    Record,
    algorithm=st.sampled_from(["ring", "chain:segments=16"]),
    collective=st.just("allreduce"),
    executor=st.sampled_from(["interpreted", "native"]),
    library=st.text(),
    ranks=st.integers(1, 1024),
    nbytes=st.integers(0, 1 << 40),
    dtype=st.just("float32"),
    op=st.just("sum"),
    measured_seconds=st.none() | st.floats(1e-9, 1e3),
    correct=st.none() | st.booleans(),
    explained=st.none() | st.dictionaries(st.text(), st.floats(-1e3, 1e3), max_size=3),
)


@given(records=st.lists(RECORDS, max_size=4))
def test_records_survive(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    path = tmp_path_factory.mktemp("parquet") / "results.parquet"
    write_records(path, records)
    found = []
    for row in pl.read_parquet(path).to_dicts():
        terms = row["explained"]
        row["explained"] = None if terms is None else {pair["term"]: pair["seconds"] for pair in terms}
        found.append(Record.from_json(row))
    assert found == records
    assert [entry.name for entry in path.parent.iterdir()] == ["results.parquet"]


def test_samples_survive_and_an_old_line_lacks_what_it_lacks(tmp_path: Path) -> None:
    line = {
        "launch": 1, "visit": 2, "algorithm": "ring", "ranks": 2, "nbytes": 8, "dtype": "float32", "op": "sum",
        "in_place": False, "sample": 3, "warmup": True, "seconds": 1.5e-6, "enter_ns": [0, 40],
        "exit_ns": [1500, 1200], "cpu_ns": [1400, 1100], "at": 0.25, "wrong": 0, "correct": True,
        "oversubscribed": False, "clock": "shared",
    }  # fmt: skip
    old = {key: value for key, value in line.items() if key != "cpu_ns"}
    write_samples(tmp_path / "samples.parquet", [line, old])
    table = pl.read_parquet(tmp_path / "samples.parquet")
    assert table.to_dicts() == [line, line | {"cpu_ns": None}]
    assert pl.read_parquet_metadata(tmp_path / "samples.parquet")[VERSION_KEY] == str(SAMPLES_SCHEMA)


def test_no_samples_are_a_table_with_columns(tmp_path: Path) -> None:
    write_samples(tmp_path / "samples.parquet", [])
    assert pl.read_parquet(tmp_path / "samples.parquet").columns == list(SAMPLE_COLUMNS)


@pytest.mark.parametrize(
    ("heading", "columns"), [("Records", RECORD_COLUMNS), ("Samples", SAMPLE_COLUMNS)], ids=["records", "samples"]
)
def test_every_column_is_documented_in_order(heading: str, columns: dict[str, pl.DataType]) -> None:
    part = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(columns)


def test_the_document_names_the_versions() -> None:
    said = DOCUMENT.read_text(encoding="utf-8")
    assert f"`results.json` and `results.parquet`: **{SCHEMA}**" in said
    assert f"`samples.jsonl` and `samples.parquet`: **{SAMPLES_SCHEMA}**" in said
