"""Errors, winners, efficiency and crossings say what they are defined to say."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import catalogue
from experiments.records import Record
from experiments.scaling.crossings import crossings, points
from experiments.scaling.efficiency import scaling, training
from experiments.scaling.findings import findings
from experiments.scaling.judgement import LARGE, errors, winners
from simulator import theory

SECONDS = st.floats(1e-6, 1e3)


def record(algorithm: str, ranks: int, nbytes: int, measured: float | None, **more: object) -> Record:
    values: dict[str, object] = {
        "algorithm": algorithm, "collective": "allreduce", "executor": "interpreted", "library": "", "ranks": ranks,
        "nbytes": nbytes, "dtype": "float32", "op": "sum", "measured_seconds": measured, "correct": True,
        "simulated_seconds": measured, "theory_seconds": measured, "bound_seconds": 1e-9,
    }  # fmt: skip
    return Record(**{**values, **more})  # type: ignore[arg-type]  # the keys are Record's own


def priced(labels: list[str], ranks: list[int], sizes: list[int], **more: object) -> list[Record]:
    """Records that take what theory says at 1 ms and 10 ns/B."""
    return [
        record(label, count, size, theory.seconds(catalogue.parse(label), count, size, 1e-3, 1e-8), **more)
        for count in ranks for size in sizes for label in labels if catalogue.parse(label).supports(count)
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 1 << 20), SECONDS, st.floats(0.1, 10)), max_size=20))
def test_errors_are_relative_to_the_measured_time_and_split_by_size(rows: list[tuple[int, float, float]]) -> None:
    records = [record("ring", 2, n, t, simulated_seconds=t * off) for n, t, off in rows]
    said = errors(records)["simulated"]
    for size, chosen in (("large", [r for r in rows if r[0] >= LARGE]), ("small", [r for r in rows if r[0] < LARGE])):
        assert said[size]["cells"] == len(chosen)
        if chosen:
            assert said[size]["greatest"] == pytest.approx(max(abs(off - 1) for _, _, off in chosen), abs=1e-9)
            assert said[size]["median"] <= said[size]["percentile_95"] <= said[size]["greatest"]
        else:
            assert said[size]["median"] is None


def test_what_is_wrong_not_measured_or_not_predicted_counts_for_nothing() -> None:
    records = [
        record("ring", 2, 8, None, simulated_seconds=1.0), record("ring", 2, 8, 1.0, correct=False),
        record("native", 2, 8, 1.0, simulated_seconds=None, theory_seconds=None),
    ]  # fmt: skip
    said = findings(records, 1.0)
    assert said["errors"]["simulated"]["small"]["cells"] == 0
    assert said["winners"] == {"cells": [], "share": {"simulated": None, "theory": None}, "within": 0.05}
    assert said["scaling"] == said["training"]["rows"] == said["crossings"] == []
    assert said["not_measured"] == [{"algorithm": "ring", "ranks": 2, "nbytes": 8, "simulated_seconds": 1.0}]


@pytest.mark.parametrize(("excess", "right"), [(0.04, True), (0.06, False)])
def test_a_winner_is_right_within_five_per_cent(excess: float, right: bool) -> None:
    fast = record("ring", 4, 8, 1.0, simulated_seconds=2.0, theory_seconds=1.0)
    slow = record("linear", 4, 8, 1.0 + excess, simulated_seconds=1.5, theory_seconds=3.0)
    native = record("native", 4, 8, 0.1, simulated_seconds=None, theory_seconds=None)
    (row,) = winners([fast, slow, native])["cells"]
    assert (row["measured"], row["simulated"], row["theory"]) == ("ring", "linear", "ring")
    assert (row["simulated_right"], row["theory_right"]) == (right, True)
    assert row["simulated_excess"] == pytest.approx(excess)


@given(st.lists(st.tuples(st.sampled_from(["ring", "linear", "chain"]), SECONDS), min_size=2, max_size=8))
def test_a_perfect_prediction_always_names_the_winner(rows: list[tuple[str, float]]) -> None:
    records = [record(name, 4, 8, seconds) for name, seconds in rows]
    assert winners(records)["share"] == {"simulated": 1.0, "theory": 1.0}


def test_efficiency_is_beside_the_fewest_ranks() -> None:
    records = [record("ring", p, 8, t, bound_seconds=0.5) for p, t in ((4, 2.0), (2, 1.0), (8, 1.0))]
    rows = {row["ranks"]: row for row in scaling(records)}
    assert [rows[p]["measured_efficiency"] for p in (2, 4, 8)] == [1.0, 0.5, 1.0]
    assert [rows[p]["measured_speedup"] for p in (2, 4, 8)] == [1.0, 1.5, 7.0]
    assert [rows[p]["bound_efficiency"] for p in (2, 4, 8)] == [0.5, 0.25, 0.5]
    assert all(row["beside_ranks"] == 2 for row in rows.values())


@given(SECONDS, SECONDS, st.integers(2, 64))
def test_a_training_step_loses_what_the_allreduce_takes(compute: float, allreduce: float, ranks: int) -> None:
    (row,) = training([record("ring", ranks, 8, allreduce)], compute)["rows"]
    assert 0 < row["measured_efficiency"] < 1
    assert row["measured_efficiency"] == pytest.approx(compute / (compute + allreduce))
    assert row["measured_strong_speedup"] <= ranks
    assert row["measured_strong_efficiency"] == pytest.approx(row["measured_strong_speedup"] / ranks)


def test_the_gradients_have_the_largest_size_that_all_rank_counts_have() -> None:
    records = [record("ring", p, n, 1.0) for p, n in ((2, 8), (2, 64), (2, 512), (4, 8), (4, 64))]
    assert training(records, 1.0)["nbytes"] == 64


@given(st.floats(1.0, 1e6), st.floats(0.2, 3.0), st.floats(0.2, 3.0))
def test_a_crossing_of_powers_is_found_where_it_is(at: float, one: float, other: float) -> None:
    sizes = [2**power for power in range(-3, 24)]
    server = {n: (n / at) ** one for n in sizes}
    rival = {n: (n / at) ** (one + other) for n in sizes}
    found = points(server, rival)  # type: ignore[arg-type]  # any numbers will do
    assert found is not None
    assert found[0] == "rival"
    assert found[1] == pytest.approx([at])


@given(st.dictionaries(st.integers(1, 100), SECONDS, min_size=2), st.dictionaries(st.integers(1, 100), SECONDS))
def test_crossings_mirror(server: dict[int, float], rival: dict[int, float]) -> None:
    found, mirrored = points(server, rival), points(rival, server)
    assert (found is None) == (mirrored is None) == (len(server.keys() & rival.keys()) < 2)
    if found and mirrored:
        names = {"server": "rival", "rival": "server", "neither": "neither"}
        assert found[0] == names[mirrored[0]]
        assert found[1] == pytest.approx(mirrored[1])
        low, high = min(server.keys() & rival.keys()), max(server.keys() & rival.keys())
        assert all(low * 0.999 <= at <= high * 1.001 for at in found[1])


def test_few_servers_win_small_vectors_and_lose_large_ones() -> None:
    # Two servers of 8 cost as many messages as the ring and more bytes in this schedule, so the ring is never behind.
    sizes = [8 * 4**power for power in range(11)]
    rows = crossings(priced(["ring", "circulant", "parameter_server:servers=2", "parameter_server"], [4, 8], sizes))
    over_size = [row for row in rows if row["over"] == "nbytes" and row["ranks"] == 8]
    assert {(row["servers"], row["rival"]) for row in over_size} == {
        ("2", "ring"), ("2", "best"), ("p", "ring"), ("p", "best")
    }  # fmt: skip
    for row in over_size:
        assert row["measured"] == row["simulated"] == row["theory"]
    by = {(row["servers"], row["rival"]): row["measured"] for row in over_size}
    assert by["2", "ring"] == {"first": "rival", "at": []}
    assert by["p", "ring"] == {"first": "neither", "at": []}
    # Of four ranks, two servers are half of them, and that is said once.
    assert [row["servers"] for row in rows if row["over"] == "nbytes" and row["ranks"] == 4] == ["2", "2", "p", "p"]


def test_the_findings_are_plain_json() -> None:
    records = priced(["ring", "linear", "parameter_server:servers=1"], [2, 4], [8, 1 << 20])
    text = json.dumps(findings(records, 0.5), allow_nan=False)
    assert json.loads(text)["training"]["compute_seconds"] == 0.5
    assert not math.isnan(json.loads(text)["errors"]["theory"]["large"]["median"])
