"""`ciranda server`: tables, records and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from experiments import cli

QUICK = ("-w", "4", "-k", "2", "--size", "1MiB", "--compute", "5ms", "--steps", "10")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["server", *arguments]) == 0
    return capsys.readouterr().out


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    return json.loads(shown(capsys, *arguments, "--json"))


def test_a_record_for_each_mode(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, *QUICK, "--slow", "0=3")
    records, environment = found["records"], found["environment"]
    assert [record["mode"] for record in records] == ["bsp", "ssp:3", "asp"]
    rates = [record["steps_per_second"] for record in records]
    assert rates == sorted(rates)
    assert rates[-1] <= environment["bound_steps_per_second"]
    for record in records:
        assert record["steps"] == 40
        assert record["steps_per_second"] == pytest.approx(40 / record["simulated_seconds"])
        assert len(record["server_busy"]) == record["servers"] == 2
        assert sum(record["staleness_histogram"].values()) >= 40 * 2 - 2 * 4  # a push of both parts for each step
        assert sum(record["server_received_bytes"]) >= (40 - 4) * 2**20
    assert [record["lead_max"] for record in records[:2]] == [0, 3]
    # In lockstep the slow worker's 15 ms and a ring of 6 messages are what a step takes.
    ring = 6 * 5e-6 + 1.5 * 2**20 * 8e-10
    assert environment["ring_steps_per_second"] == pytest.approx(4 / (15e-3 + ring))


def test_times_that_vary_have_no_bound(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "asp", *QUICK, "--distribution", "gamma", "--variation", "0.5", "--seed", "3")
    assert found["environment"]["bound_steps_per_second"] is None
    again = read(capsys, "asp", *QUICK, "--distribution", "gamma", "--variation", "0.5", "--seed", "3")
    assert again["records"] == found["records"]


def test_the_table_fits_and_theory_stands_below(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "bsp", "asp", *QUICK).splitlines()
    assert lines[0].strip() == "4 workers, 2 servers of their own, 1MiB"
    assert [line.split()[0] for line in lines if line.startswith(("bsp", "asp"))] == ["bsp", "asp"]
    assert all(len(line) <= 80 for line in lines[:5])
    # n* = 2(w-2)α / (w/k + w/k - 2(w-1)/w)β = 20 us / (2.5 * 0.8 ns)
    assert any("faster than a ring below 1e+04 bytes" in line for line in lines)


def test_servers_beside_the_workers(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "bsp", "-w", "4", "-k", "4", "--colocated", "--size", "1MiB", "--steps", "3")
    assert "4 servers beside them" in out
    assert "never slower than a ring" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ssp"], "ssp needs steps, such as ssp:3"),
        (["lockstep"], "no consistency is called 'lockstep'; known: bsp, ssp, async"),
        (["backup:4", "-w", "4"], "of 4 workers, 4 cannot all be spare"),
        (["--size", "10"], "10 bytes, which is no number of float32"),
        (["--encoding", "zip"], "no encoding is called 'zip'"),
        (["--variation", "1"], "the variation of constant times must be 0"),
        (["--distribution", "gauss"], "known: constant"),
        (["-w", "2", "-k", "3", "--colocated"], "3 servers cannot sit beside 2 workers"),
        (["-w", "2", "--slow", "2=3"], "worker 2 is slow, and there are workers 0 to 1"),
        (["--slow", "fast"], "write it like 0=2"),
        (["--compute", "soon"], "'soon'"),
        (["-w", "0"], "'-w' / '--workers'"),
        (["--bandwidth", "0"], "nothing moves at zero"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert cli.run(["server", *arguments]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
