"""The scaling experiment from end to end with real ranks, where it may run, and what it says to bad use."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from collectives.profile import Profile
from experiments import cli, cluster, places
from experiments.cluster import rates
from experiments.cluster.check import Finding
from experiments.cluster.holder import Holder
from experiments.cluster.shape import Shape
from experiments.differences import UNEXPLAINED
from experiments.errors import Failure, UsageFault
from experiments.records import Record, read_document
from experiments.scaling import grounds

MPI = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
SCALING = ["scaling", "--mpi", MPI, "--seed", "7"]


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "profile.json"
    Profile(2e-5, 2e-10, 1e-10, 5e-6, ranks=4, duplex=((8, 1.0), (1 << 20, 1.5))).save(path)
    return str(path)


def _check(records: list[Record]) -> None:
    for record in records:
        assert record.correct is True
        assert record.measured_seconds
        assert record.cpu_seconds is not None
        assert 0 <= record.cpu_seconds <= (record.cpu_max_seconds or 0)
        if record.is_native:
            assert record.explained is None
            continue
        assert record.theory_seconds is not None
        terms = record.explained or {}
        assert record.theory_seconds + sum(terms.values()) == pytest.approx(record.measured_seconds)
        assert abs(terms[record.reason]) == max(map(abs, terms.values()))
        assert record.measured_seconds - terms[UNEXPLAINED] == pytest.approx(record.simulated_seconds)


@pytest.mark.timeout(120)
def test_local_ranks_from_end_to_end(tmp_path: Path, profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, folder = tmp_path / "out.json", tmp_path / "results"
    options = ["-n", "2,4", "--sizes", "8,64KiB", "--on", "local", "--profile", profile, "--launches", "2"]
    wanted = ["ring", "parameter_server:servers=p/2", "hierarchical"]
    code = cli.run([*SCALING, *wanted, *options, "--time-limit", "100s", "--json", str(out), "--output", str(folder)])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    records, environment = read_document(json.loads(out.read_text()))
    assert json.loads(out.read_text())["records"] == json.loads((folder / "results.json").read_text())["records"]
    cells = {(record.ranks, record.algorithm) for record in records}
    assert cells == {
        (2, "native"), (2, "ring"), (2, "parameter_server:servers=1"), (4, "native"), (4, "ring"),
        (4, "parameter_server:servers=2"), (4, "hierarchical"),
    }  # fmt: skip
    assert len(records) == 14
    _check(records)
    assert {record.launches for record in records} == {2}
    assert (environment["place"], environment["place_reason"]) == ("local", "asked for by --on local")
    assert {(job["launch"], job["ranks"]) for job in environment["launches"]} == {(0, 2), (0, 4), (1, 2), (1, 4)}
    assert "How far predictions are off" in shown.out
    assert re.search(r"ring +[\d.]+us +[\d.]+us \.\.", shown.out)
    _check_samples(pl.read_parquet(folder / "samples.parquet"), records)


def _check_samples(samples: pl.DataFrame, records: list[Record]) -> None:
    kept = samples.filter(~pl.col("warmup"))
    for record in records:
        mine = kept.filter(ranks=record.ranks, algorithm=record.algorithm, nbytes=record.nbytes)
        assert mine.height == record.samples
        assert mine["seconds"].median() == pytest.approx(record.measured_seconds)
        assert all(len(row) == record.ranks for row in mine["cpu_ns"])
    visits = samples.unique(["launch", "visit", "algorithm", "ranks", "nbytes"])
    assert visits.height == visits.unique(["launch", "visit"]).height == 2 * len(records)


@pytest.mark.timeout(120)
def test_without_time_the_dear_cells_are_told_and_not_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = tmp_path / "slow.json"
    Profile(1e-6, 1e-3, 1e-10, ranks=2).save(slow)  # a thousand seconds for 1 MiB, it says
    options = ["-n", "2", "--sizes", "8,1MiB", "--on", "local", "--profile", str(slow), "--time-limit", "40s"]
    assert cli.run([*SCALING, "ring", *options, "--launches", "1", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    left_out = {(row["algorithm"], row["nbytes"]) for row in content["scaling"]["not_measured"]}
    assert left_out == {("ring", 1 << 20), ("native", 1 << 20)}
    records, _ = read_document(content)
    assert {(r.algorithm, r.nbytes) for r in records if r.measured_seconds is None} == left_out
    assert all(r.simulated_seconds for r in records if not r.is_native)


@pytest.mark.timeout(180)
@pytest.mark.skipif(cluster.available() is not None, reason=f"no emulated cluster: {cluster.available()}")
def test_a_cluster_of_its_own(
    tmp_path: Path, profile: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "current", lambda: None)  # one that is up is somebody's
    with cluster.temporary(hosts=2) as place:
        ground = grounds.fitting((2, 4), place)
    assert ground == (2,)
    out = tmp_path / "out.json"
    options = ["-n", "2,3", "--sizes", "8,256KiB", "--launches", "1", "--time-limit", "90s", "--profile", profile]
    assert cli.run([*SCALING, "ring", *options, "--json", str(out)]) == 0, capsys.readouterr().err
    records, environment = read_document(json.loads(out.read_text()))
    _check(records)
    assert {record.place for record in records} == {environment["place"]} == {"cluster"}
    assert "made for this run" in environment["place_reason"]
    # 256 KiB through 12.5 MB/s, whatever the profile says.
    large = next(r for r in records if r.ranks == 3 and r.algorithm == "ring" and r.nbytes == 1 << 18)
    assert (large.measured_seconds or 0) > 4 / 3 * (1 << 18) / 12.5e6 * 0.8


def test_without_namespaces_local_ranks_do_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "current", lambda: None)
    monkeypatch.setattr(cluster, "available", lambda: "unshare was not found")
    with grounds.chosen("auto", [2, 4096]) as ground:
        assert ground.place.name == "local"
        assert "unshare was not found" in ground.reason
        assert "unshare was not found" in ground.notes[0]
        assert "4096 ranks share" in ground.notes[0]


def test_where_the_cores_carry_no_cluster_local_ranks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def overloaded(hosts: int) -> Generator[places.Cluster]:
        raise Failure(f"this machine carries no cluster of {hosts} hosts")
        yield  # a generator that never comes so far

    monkeypatch.setattr(cluster, "current", lambda: None)
    monkeypatch.setattr(cluster, "available", lambda: None)
    monkeypatch.setattr(cluster, "temporary", overloaded)
    with grounds.chosen("auto", [2, 4]) as ground:
        assert ground.place.name == "local"
        assert "carries no cluster of 4 hosts" in ground.reason
    with pytest.raises(Failure, match="of the body"), grounds.chosen("auto", [2, 4]):
        raise Failure("of the body")


def test_a_cluster_that_is_up_is_taken_with_the_ranks_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    class Four(places.Local):
        name = "cluster"

        def hosts(self) -> int:  # type: ignore[override]  # a stand-in
            return 4

    monkeypatch.setattr(cluster, "current", Four)
    with grounds.chosen("auto", [2, 8]) as ground:
        assert grounds.fitting((2, 4, 8), ground.place) == (2, 4)
        with pytest.raises(UsageFault, match=r"too few for 8 ranks.*--hosts 16"):
            grounds.fitting((8, 16), ground.place)


@pytest.mark.parametrize(("share", "built"), [(0.96, [12.5e6]), (0.5, [12.5e6, 6.25e6])])
def test_a_cluster_of_its_own_is_as_fast_as_the_cores_carry_and_gone_after_a_fault(
    monkeypatch: pytest.MonkeyPatch, share: float, built: list[float]
) -> None:
    up: list[float] = []
    down: list[float] = []

    @contextmanager
    def temporary(hosts: int, rate: float = 12.5e6) -> Generator[places.Cluster]:
        up.append(rate)
        try:
            yield places.Cluster(Shape(hosts, rate), Holder(1, 1, 1, 1))
        finally:
            down.append(rate)

    monkeypatch.setattr(cluster, "current", lambda: None)
    monkeypatch.setattr(cluster, "available", lambda: None)
    monkeypatch.setattr(cluster, "temporary", temporary)
    monkeypatch.setattr(rates, "carried", lambda place: Finding("streams", 3, place.shape.rate, share, share, 0.2))
    monkeypatch.setattr(rates, "choose", lambda shape: replace(shape, rate=6.25e6))

    def measure() -> None:
        with grounds.chosen("auto", [2, 3]) as ground:
            assert ground.place.hosts() == 3
            assert ("50Mbit/s" in ground.reason) == bool(ground.notes) == (len(built) > 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert up == down == built


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rign"], "no algorithm is called 'rign'"),
        (["allgather_ring"], "carries out allgather"),
        (["hierarchical:local=3", "-n", "2,4"], "does not work for 2, 4 ranks"),
        (["-n", "1,2"], "one rank has nobody to talk to"),
        (["--sizes", "6"], "6 bytes are no whole number"),
        (["--compute", "0s"], "computes for some time"),
        (["--on", "moon"], "moon"),
        (["--profile", "/nowhere/p.json"], "no profile at /nowhere/p.json"),
        (["--json", "/nowhere/out.json"], "/nowhere/out.json"),
        (["--time-limit", "soon"], "soon"),
    ],
)
def test_bad_use_is_one_line_and_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = [] if "--on" in arguments else ["--on", "local"]
    assert cli.run(["scaling", *arguments, *where]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_a_profile_of_fewer_ranks_is_refused(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["scaling", "-n", "8", "--profile", profile, "--on", "local"]) == 2
    assert "4 ranks, and -n asks for 8" in capsys.readouterr().err


def test_time_that_suffices_for_nothing_is_said(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-n", "2", "--sizes", "8", "--on", "local", "--profile", profile, "--time-limit", "1ms"]
    assert cli.run([*SCALING, "ring", *options]) == 2
    assert "too short to measure anything" in capsys.readouterr().err
