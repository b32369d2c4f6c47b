"""The flat record and its document: they survive a round trip and refuse what they do not know."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.records import Record, RecordError, bandwidths, bus_factor, document, read_document

SECONDS = st.none() | st.floats(min_value=1e-9, max_value=1e3)
RECORDS = st.builds(
    Record,
    algorithm=st.text(min_size=1),
    collective=st.sampled_from(["allreduce", "broadcast"]),
    executor=st.sampled_from(["interpreted", "native"]),
    library=st.text(),
    ranks=st.integers(1, 1024),
    nbytes=st.integers(0, 1 << 40),
    dtype=st.sampled_from(["float32", "bfloat16"]),
    op=st.sampled_from(["sum", "max"]),
    in_place=st.booleans(),
    measured_seconds=SECONDS,
    theory_seconds=SECONDS,
    native_ratio=SECONDS,
    correct=st.none() | st.booleans(),
    place=st.sampled_from(["", "local", "cluster"]),
    cpu_seconds=SECONDS,
    explained=st.none() | st.dictionaries(st.text(), st.floats(-1e3, 1e3)),
    reason=st.text(),
)


@given(st.lists(RECORDS, max_size=5))
def test_a_document_survives_json(records: list[Record]) -> None:
    text = json.dumps(document(records, {"cores": 2}), allow_nan=False)
    assert read_document(json.loads(text)) == (records, {"cores": 2})


@given(RECORDS)
def test_a_record_has_the_keys_that_other_programs_rely_on(record: Record) -> None:
    keys = {
        "algorithm", "collective", "executor", "library", "ranks", "nbytes", "dtype", "op", "device",
        "measured_seconds", "measured_low", "measured_high", "samples", "simulated_seconds", "theory_seconds",
        "bound_seconds", "native_seconds", "algbw", "busbw", "oversubscribed", "correct",
    }  # fmt: skip
    content = record.to_json()
    assert keys <= content.keys()
    assert not any(isinstance(value, (dict, list)) for key, value in content.items() if key != "explained")


def test_not_a_number_becomes_null() -> None:
    record = Record(
        algorithm="ring", collective="allreduce", executor="interpreted", library="", ranks=2, nbytes=8,
        dtype="float32", op="sum", measured_seconds=float("nan"), algbw=float("inf"),
        explained={"duplex": 1.0, "curve": float("nan")},
    )  # fmt: skip
    content = record.to_json()
    assert content["explained"] == {"duplex": 1.0, "curve": None}
    assert content["measured_seconds"] is None
    assert content["algbw"] is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no Ciranda results"),
        ({"environment": {}}, "no records"),
        ({"schema": 99, "records": []}, "schema 99"),
        ({"schema": 1, "records": [{"algorithm": "ring"}]}, "not complete"),
        ({"schema": 1, "records": [{"colour": "red"}]}, "colour"),
    ],
)
def test_what_is_no_document_is_refused(content: object, said: str) -> None:
    with pytest.raises(RecordError, match=said):
        read_document(content)


def test_a_document_of_the_first_schema_is_still_read() -> None:
    new = ("place", "cpu_seconds", "cpu_max_seconds", "explained", "reason")
    record = Record(
        algorithm="ring", collective="allreduce", executor="interpreted", library="", ranks=2, nbytes=8,
        dtype="float32", op="sum", measured_seconds=1.0,
    )  # fmt: skip
    old = {key: value for key, value in record.to_json().items() if key not in new}
    assert read_document({"schema": 1, "environment": {}, "records": [old]}) == ([record], {})


@pytest.mark.parametrize(
    ("collective", "factor"),
    [
        ("allreduce", 1.5),
        ("reduce_scatter", 0.75),
        ("allgather", 0.75),
        ("alltoall", 0.75),
        ("broadcast", 1),
        ("reduce", 1),
    ],
)
def test_bus_factors_are_those_of_nccl_tests(collective: str, factor: float) -> None:
    assert bus_factor(collective, 4) == factor
    assert bandwidths(collective, 4, 1000, 0.5) == (2000, 2000 * factor)


@given(st.integers(2, 4096), st.floats(1e-12, 1e-6))
def test_bus_bandwidth_of_a_ring_at_the_bound_is_the_links(ranks: int, beta: float) -> None:
    seconds = 2 * (ranks - 1) / ranks * 1_000_000 * beta
    assert bandwidths("allreduce", ranks, 1_000_000, seconds)[1] == pytest.approx(1 / beta)
