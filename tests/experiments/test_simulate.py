"""`ciranda simulate`: tables, records and refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from collectives import catalogue
from collectives.profile import Profile
from experiments import cli, network, records
from experiments.network import Costs
from experiments.simulate import outcomes


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["simulate", *arguments]) == 0
    return capsys.readouterr().out


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[records.Record]:
    found, _ = records.read_document(json.loads(shown(capsys, *arguments, "--json")))
    return found


def test_a_record_carries_what_was_computed(capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = read(capsys, "ring", "-n", "4", "--size", "1MiB", "--latency", "5us", "--bandwidth", "10Gbit/s")
    seconds = 6 * 5e-6 + 1.5 * 2**20 * 8e-10
    assert (record.algorithm, record.collective, record.ranks, record.nbytes) == ("ring", "allreduce", 4, 2**20)
    assert record.simulated_seconds == pytest.approx(seconds, rel=1e-9)
    assert record.theory_seconds == pytest.approx(seconds, rel=1e-9)
    assert record.bound_seconds == pytest.approx(1.5 * 2**20 * 8e-10)
    assert record.algbw == pytest.approx(2**20 / seconds)
    assert record.busbw == pytest.approx(1.5 * 2**20 / seconds)
    assert record.measured_seconds is None
    assert record.samples == 0


def test_without_names_it_takes_every_allreduce_fastest_first(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "-n", "5", "--size", "64KiB")
    assert sorted(record.algorithm for record in found) == catalogue.names("allreduce")
    seconds = [record.simulated_seconds for record in found]
    assert seconds == sorted(seconds, key=lambda value: value or 0.0)


def test_ranks_and_sizes_make_a_grid(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "ring", "chain:segments=3", "-n", "2:8", "--size", "8:32")
    cells = {(record.algorithm, record.ranks, record.nbytes) for record in found}
    assert cells == {(name, p, n) for name in ("ring", "chain:segments=3") for p in (2, 4, 8) for n in (8, 16, 32)}


def test_the_table_has_a_line_for_each_and_the_bound_above(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "ring", "linear", "-n", "4").splitlines()
    assert "1.258ms" in lines[0]
    assert [line.split()[0] for line in lines if line.startswith(("ring", "linear"))] == ["ring", "linear"]
    ring = next(line for line in lines if line.startswith("ring")).split()
    assert ring == ["ring", "1.288ms", "1.288ms", "1.02", "6", "24", "814MB/s", "1.22GB/s"]
    assert all(len(line) <= 80 for line in lines)


def test_a_barrier_and_a_single_rank_have_no_bandwidth(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "barrier_dissemination", "ring", "-n", "1,4", "--size", "8")
    assert [record.busbw is None for record in found] == [True, True, False, True]
    assert shown(capsys, "ring", "-n", "1")


def test_a_profile_gives_the_costs_and_options_replace_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = Profile(alpha=1e-3, beta=1e-6, gamma=1e-6).save(tmp_path / "profile.json")
    (measured,) = read(capsys, "recursive_doubling", "-n", "2", "--size", "1000B", "--profile", str(path))
    assert measured.simulated_seconds == pytest.approx(1e-3 + 1e-3 + 1e-3)
    (mixed,) = read(
        capsys, "recursive_doubling", "-n", "2", "--size", "1000B", "--profile", str(path), "--gamma", "0s"
    )  # fmt: skip
    assert mixed.simulated_seconds == pytest.approx(2e-3)


def test_chunks_end_between_elements() -> None:
    costs = Costs(0.0, 1.0, 0.0)
    (bytewise,) = outcomes([catalogue.get("ring")], [3], [16], costs, "uint8")
    (whole,) = outcomes([catalogue.get("ring")], [3], [16], costs, "float64")
    assert (bytewise.run.seconds, whole.run.seconds) == (24.0, 32.0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["rng"], "no algorithm is called 'rng'; known: ring"),
        (["ring", "--bandwidth", "0"], "nothing moves at zero"),
        (["ring", "--latency", "nan"], "'nan' is no number"),
        (["ring", "--size", "7", "--dtype", "float32"], "no whole number of float32"),
        (["ring", "--dtype", "float7"], "dtype 'float7' is not known"),
        (["ring", "-n", "0"], "rank counts '0'"),
        (["parameter_server_separate", "-n", "1"], "none works for 1"),
        (["ring", "--profile", "/nowhere/profile.json"], "no profile at /nowhere/profile.json"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert cli.run(["simulate", *arguments]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_costs_say_what_they_are() -> None:
    assert "5us per message" in str(network.costs(None, None, None, None))
    assert "infinite bandwidth" in str(Costs(1.0, 0.0, 0.0))
    assert math.isclose(network.costs("1ms", "1GB/s", "1ns", None).beta, 1e-9)
