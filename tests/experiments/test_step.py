"""`ciranda step`: tables, records and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from experiments import cli

COMPUTE = ("--compute", "90ms")


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.run(["step", *arguments]) == 0
    return capsys.readouterr().out


def read(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    return json.loads(shown(capsys, *arguments, "--json"))


def test_a_record_for_each_algorithm_and_number_of_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    found = read(capsys, "resnet50", "ring", "parameter_server_separate", "-n", "1,4", *COMPUTE)
    records = found["records"]
    cells = [(record["algorithm"], record["ranks"], record["workers"]) for record in records]
    assert cells == [("ring", 1, 1), ("ring", 4, 4), ("parameter_server_separate", 4, 3)]
    assert {record["nbytes"] for record in records} == {4 * 25_557_032}
    assert {record["model"] for record in records} == {found["environment"]["model"]} == {"resnet50"}
    alone, ring, _ = records
    assert alone["simulated_seconds"] == alone["compute_seconds"] == pytest.approx(90e-3)
    assert alone["efficiency"] == pytest.approx(1.0)
    assert ring["exposed_seconds"] == pytest.approx(ring["simulated_seconds"] - 90e-3)
    assert ring["overlap"] == pytest.approx(1 - ring["exposed_seconds"] / ring["communication_seconds"])


def test_work_and_speed_instead_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    # 3 passes of 2 operations for each of 3.857973248e9 multiply-adds, 32 images, at 10^13 a second.
    (record,) = read(capsys, "resnet50", "-n", "2", "--batch", "32", "--tflops", "10")["records"]
    assert record["compute_seconds"] == pytest.approx(6 * 3.857973248e9 * 32 / 1e13)


def test_buckets_are_listed_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = read(capsys, "resnet50", "-n", "2", *COMPUTE, "--buckets")["records"]
    assert sum(bucket["nbytes"] for bucket in record["buckets"]) == record["nbytes"]
    assert record["buckets"][0]["layers"] == ["fc"]
    assert record["buckets"][-1]["done_seconds"] == pytest.approx(record["simulated_seconds"])
    out = shown(capsys, "resnet50", "-n", "2", *COMPUTE, "--buckets")
    assert "conv5_3 to conv5_2" in out


def test_slow_workers_and_conditions_make_it_longer(capsys: pytest.CaptureFixture[str]) -> None:
    def compute(*options: str) -> float:
        (record,) = read(capsys, "resnet50", "-n", "4", *COMPUTE, *options)["records"]
        return record["compute_seconds"]

    assert compute("--slow", "0=2") == pytest.approx(180e-3)
    assert compute("--slow", "0=2", "--straggler", "0=1.5") == pytest.approx(270e-3)
    assert compute("--update", "10ms") == pytest.approx(100e-3)


def test_the_table_fits_and_says_where_the_shape_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(
        capsys, "bert-large", "ring", "-n", "2:8", "--compute", "300ms", "--bandwidth", "100Gbit/s"
    ).splitlines()
    assert "1341MB of gradients" in lines[0]
    assert [line.split()[:2] for line in lines if line.startswith("ring")] == [
        ["ring", "2"],
        ["ring", "4"],
        ["ring", "8"],
    ]
    assert all(len(line) <= 80 for line in lines[:-2])
    assert "Devlin" in lines[-2]
    assert "100Gbit/s" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["resnet", *COMPUTE], "no architecture is called 'resnet'; known: resnet50"),
        (["resnet50"], "--compute 90ms, or both --batch 32 and --tflops 15"),
        (["resnet50", "--batch", "32"], "--compute 90ms"),
        (["resnet50", *COMPUTE, "--tflops", "3"], "--compute 90ms"),
        (["resnet50", "--batch", "32", "--tflops", "0"], "above 0"),
        (["resnet50", *COMPUTE, "--slow", "1"], "write it like 0=2"),
        (["resnet50", *COMPUTE, "--slow", "1=2", "--slow", "1=3"], "rank 1 has its factor already"),
        (["resnet50", *COMPUTE, "--slow", "9=2"], "worker 9 is slow, and there are workers 0 to 7"),
        (["resnet50", *COMPUTE, "--slow", "0=nan"], "finite and above 0"),
        (["resnet50", "broadcast_binomial", *COMPUTE], "no allreduce"),
        (["resnet50", "parameter_server_separate", "-n", "1", *COMPUTE], "none works for 1"),
        (["resnet50", *COMPUTE, "--dtype", "float7"], "dtype 'float7' is not known"),
        (["resnet50", *COMPUTE, "--network", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert cli.run(["step", *arguments]) == cli.BAD_USE
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
