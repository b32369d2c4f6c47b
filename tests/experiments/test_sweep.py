"""`ciranda sweep`: every cell once, whatever happened before, and the same from any number of processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, sweep
from experiments.errors import UsageFault
from experiments.json_lines import JsonLines

SMALL = ("ring", "halving_doubling", "-n", "4:8", "--size", "1KiB,8KiB")
MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}  # fmt: skip


def swept(out: Path, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The results in the file after a sweep in this process."""
    assert cli.run(["sweep", *arguments, "-j", "1", "--out", str(out)]) == code
    return [line for line in map(json.loads, out.read_text().splitlines()) if "environment" not in line]


def test_every_cell_has_a_record_as_simulate_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = swept(tmp_path / "out", *SMALL, "--network", "star", "--network", "torus:2x4")
    cells = {(line["network"], line["algorithm"], line["ranks"], line["nbytes"]) for line in found}
    assert len(found) == len(cells) == 16
    assert "16 results, 16 of them new" in capsys.readouterr().out
    assert cli.run(["simulate", "ring", "-n", "8", "--size", "8KiB", "--network", "torus:2x4", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["records"]
    (mine,) = (
        line for line in found
        if (line["network"], line["algorithm"], line["ranks"], line["nbytes"]) == ("torus:2x4", "ring", 8, 8192)
    )  # fmt: skip
    assert record.items() <= mine.items()


def test_what_is_there_is_not_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    swept(out, *SMALL)
    before = out.read_bytes()
    done: list[sweep.Cell] = []
    compute = sweep.compute
    monkeypatch.setattr(sweep, "compute", lambda cell: (done.append(cell), compute(cell))[1])
    swept(out, *SMALL)
    assert (done, out.read_bytes()) == ([], before)
    found = swept(out, *SMALL, "binomial")
    assert out.read_bytes().startswith(before)
    assert {cell.algorithm for cell in done} == {"binomial"}
    assert len(found) == 12
    swept(out, *SMALL, "--no-contention", "--latency", "1us")
    assert len(done) == 4 + 8
    assert "8 results, 8 of them new" in capsys.readouterr().out


def test_a_torn_last_line_is_done_again(tmp_path: Path) -> None:
    """At every place where a killed sweep may have been cut off."""
    out = tmp_path / "out"
    whole = swept(out, "ring", "-n", "4", "--size", "8,16")
    content = out.read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    for length in (last, last + 1, (last + len(content)) // 2, len(content) - 1):
        out.write_bytes(content[:length])
        again = swept(out, "ring", "-n", "4", "--size", "8,16")
        assert again == whole


def test_an_interrupted_sweep_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    compute = sweep.compute

    def stopped(cell: sweep.Cell) -> dict[str, Any]:
        if cell.nbytes == 32:
            raise KeyboardInterrupt
        return compute(cell)

    monkeypatch.setattr(sweep, "compute", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep.command(["ring"], out, "4", "8:64", jobs=1)
    monkeypatch.setattr(sweep, "compute", compute)
    assert [line["nbytes"] for line in swept(out, "ring", "-n", "4", "--size", "8:64")] == [8, 16, 32, 64]


def test_a_network_file_that_changed_is_another_network(tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "mine.toml"
    text = 'shape = "ring"\nsize = 4\nlatency = "1us"\nbandwidth = "1GB/s"\n'
    for latency, results in (("1us", 1), ("1us", 1), ("2us", 2)):
        file.write_text(text.replace("1us", latency))
        assert len(swept(out, "ring", "-n", "4", "--network", str(file))) == results


def test_json_gives_the_cells_asked_for_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    swept(out, *SMALL)
    capsys.readouterr()
    swept(out, "ring", "-n", "8,4", "--size", "1KiB", "--json")
    records = json.loads(capsys.readouterr().out)["records"]
    assert [(record["algorithm"], record["ranks"]) for record in records] == [("ring", 8), ("ring", 4)]


def test_several_processes_give_the_same(tmp_path: Path) -> None:
    one = swept(tmp_path / "one", *SMALL)
    assert cli.run(["sweep", *SMALL, "-j", "2", "--out", str(tmp_path / "two")]) == 0
    two = [json.loads(line) for line in (tmp_path / "two").read_text().splitlines()[1:]]
    assert sorted(two, key=str) == sorted(one, key=str)


def test_mpi_ranks_give_the_same(tmp_path: Path) -> None:
    """On two ranks, of which one computes."""
    one = swept(tmp_path / "one", *SMALL)
    launcher = Path(sys.executable).with_name("mpirun")
    if not launcher.exists():
        pytest.skip("there is no mpirun beside this Python")
    command = [launcher, "-n", "2", sys.executable, "-m", "mpi4py.futures", "-m", "experiments.cli", "sweep", *SMALL]
    subprocess.run(
        [*command, "--mpi", "--out", tmp_path / "two"], env={**os.environ, **MPI}, check=True, timeout=120,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    two = [json.loads(line) for line in (tmp_path / "two").read_text().splitlines()[1:]]
    assert sorted(two, key=str) == sorted(one, key=str)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nothing",), "no algorithm is called 'nothing'"),
        (("ring", "--network", "torus:2x2"), "torus has 4 hosts, too few for 8 ranks"),
        (("ring", "--network", "nowhere"), "no network is called 'nowhere'"),
        (("ring", "--dtype", "float32", "--size", "10"), "10 bytes are no whole number of float32 elements"),
        (("parameter_server:servers=9",), "none works for 8 ranks"),
        (("ring", "--mpi"), "mpirun -n P python -m mpi4py.futures"),
    ],
)
def test_bad_use_is_one_line_and_leaves_no_file(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.run(["sweep", *arguments, "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("text", ["dear reader\n", "dear reader", "{\n 1: 2\n}", "[1]\n", "3", "\x00\xff"])
def test_a_file_that_is_no_sweep_is_left_alone(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "letter"
    out.write_text(text)
    assert cli.run(["sweep", "ring", "--out", str(out)]) == 2
    assert "line 1: no JSON object" in capsys.readouterr().err
    assert out.read_text() == text


def test_two_sweeps_do_not_write_to_one_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UsageFault, match="another process is writing"), JsonLines(out):
            pass
    with pytest.raises(UsageFault, match="cannot be written"):
        JsonLines(tmp_path / "no folder" / "out")
