"""The same allreduces as four other simulators ran, within 0.5 % (see data/README.md for the reasons of the rest)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from collectives import catalogue
from simulator import networks, simulate

TABLE = Path(__file__).with_name("data") / "simulators.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
ENVELOPES = {("simgrid-smpi-3.32", "binomial", "16", "8"), ("simgrid-smpi-3.32", "binomial", "64", "8")}


def case(row: dict[str, str]) -> tuple[str, str, str, str]:
    return row["simulator"], row["algorithm"], row["ranks"], row["bytes"]


def relative_error(row: dict[str, str]) -> float:
    ranks = int(row["ranks"])
    network = networks.star(ranks, latency=5e-6, bandwidth=1.25e9)
    ours = simulate(catalogue.get(row["algorithm"]), ranks, int(row["bytes"]), network).seconds
    return float(row["simulated_seconds"]) / ours - 1


def test_all_four_simulators_and_four_algorithms_are_there() -> None:
    assert len(ROWS) == len({case(row) for row in ROWS}) == 122
    assert {row["algorithm"] for row in ROWS} == {"ring", "halving_doubling", "recursive_doubling", "binomial"}
    assert len({row["simulator"] for row in ROWS}) == 4


@pytest.mark.parametrize(
    "row", [row for row in ROWS if case(row) not in ENVELOPES], ids=lambda row: "-".join(case(row))
)
def test_within_half_a_percent(row: dict[str, str]) -> None:
    assert abs(relative_error(row)) <= 0.005


@pytest.mark.parametrize("row", [row for row in ROWS if case(row) in ENVELOPES], ids=lambda row: "-".join(case(row)))
def test_known_envelopes_explain_the_rest(row: dict[str, str]) -> None:
    assert 0.005 < relative_error(row) <= 0.011
