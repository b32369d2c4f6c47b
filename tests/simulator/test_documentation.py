"""The worked examples of docs/simulator.md are computed anew."""

from __future__ import annotations

import csv
import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_examples_give_what_the_page_says() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted >= 15
    assert found.failed == 0


def test_the_page_counts_the_rows_that_are_compared() -> None:
    rows = list(csv.reader((Path(__file__).with_name("data") / "simulators.csv").read_text("utf-8").splitlines()))
    assert f"For {len(rows) - 1} allreduces" in PAGE.read_text("utf-8")
