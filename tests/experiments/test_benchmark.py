"""The benchmark from end to end with real ranks, and what it says when a launch dies, hangs or is asked nonsense."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments import cli, launch
from experiments.benchmark import Progress, measure
from experiments.errors import Failure, UsageFault
from experiments.grid import Grid
from experiments.launches import run_ranks
from experiments.records import read_document
from kernels.cuda import presence

MPI = os.environ.get("CIRANDA_TEST_MPI", "openmpi")


def small(*algorithms: str, sizes: tuple[int, ...] = (8, 4096), **more: object) -> Grid:
    return Grid.choose(algorithms, sizes, more.get("dtypes", ["float32"]), more.get("ops", ["sum"]))  # type: ignore[arg-type]  # test shorthand


@pytest.mark.timeout(120)
def test_a_measurement_fills_its_folder(tmp_path: Path) -> None:
    seen: list[Progress] = []
    grid = small("ring", "chain:segments=2")
    measured = measure(
        grid, [2, 3], tmp_path / "new", mpi=MPI, launches=2, samples=10, time_limit=60, seed=7, notify=seen.append
    )
    assert measured.stories == []
    # 2 rank counts, 2 sizes, 2 algorithms and the native one.
    assert len(measured.records) == 12
    assert {record.algorithm for record in measured.records} == {"ring", "chain:segments=2", "native"}
    for record in measured.records:
        assert record.correct is True
        assert record.launches == 2
        assert record.samples >= 12
        assert record.measured_seconds is not None
        assert record.measured_low is not None
        assert 0 < record.measured_low <= record.measured_seconds <= (record.measured_high or 0)
        assert record.oversubscribed == launch.oversubscribed(record.ranks)
        assert (record.native_ratio is None) == record.is_native
        assert record.native_seconds is not None
        assert record.rank_min_seconds is not None
        assert record.rank_min_seconds <= (record.rank_mean_seconds or 0) <= (record.rank_max_seconds or 0)
    stored, environment = read_document(json.loads((tmp_path / "new" / "results.json").read_text()))
    assert stored == measured.records
    assert environment["seed"] == 7
    assert [job["ranks"] for job in environment["launches"]] == [2, 3, 2, 3]
    assert environment == json.loads((tmp_path / "new" / "environment.json").read_text())
    assert not seen or all(0 <= step.done <= step.total == 48 for step in seen)
    counted = {(r.algorithm, r.nbytes): r.samples for r in measured.records if r.ranks == 2}
    _check_samples(tmp_path / "new" / "samples.jsonl", counted)


def _check_samples(file: Path, counted: dict[tuple[str, int], int]) -> None:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    orders = []
    for number in (0, 1):
        mine = [line for line in lines if line["launch"] == number and line["ranks"] == 2]
        assert any(line["warmup"] for line in mine)
        orders.append([(line["algorithm"], line["nbytes"]) for line in mine if line["warmup"]])
        for cell in counted:
            numbers = [line["sample"] for line in mine if (line["algorithm"], line["nbytes"]) == cell]
            assert numbers == list(range(len(numbers)))
    assert orders[0] != orders[1]
    for line in lines:
        # One clock on one host: from the first entry, which is 0, to the last exit.
        assert line["clock"] == "shared"
        assert min(line["enter_ns"]) == 0
        assert line["seconds"] == pytest.approx(max(line["exit_ns"]) * 1e-9, abs=1e-9)
        assert len(line["enter_ns"]) == line["ranks"]
    for cell, samples in counted.items():
        kept = [line for line in lines if line["ranks"] == 2 and (line["algorithm"], line["nbytes"]) == cell]
        assert sum(not line["warmup"] for line in kept) == samples


@pytest.mark.timeout(120)
def test_dtypes_that_mpi_lacks_have_nothing_native_beside_them(tmp_path: Path) -> None:
    grid = small("ring", sizes=(64,), dtypes=["bfloat16", "int32"], ops=["max"])
    measured = measure(grid, [2], tmp_path, mpi=MPI, launches=1, samples=6, time_limit=2)
    found = {(record.algorithm, record.dtype): record for record in measured.records}
    assert found.keys() == {("ring", "bfloat16"), ("ring", "int32"), ("native", "int32")}
    assert all(record.correct for record in measured.records)
    assert found["ring", "bfloat16"].native_ratio is None


@pytest.mark.timeout(120)
def test_plain_mpirun_works_too(tmp_path: Path) -> None:
    options = ["--sizes", "8,64", "--samples", "6", "--time-limit", "2s", "--output", str(tmp_path / "out")]
    program = ["python", "-m", "experiments.benchmark", "ring", *options, "--format", "osu"]
    ended = launch.capture(launch.command(2, program, MPI), timeout=60)
    assert ended.code == 0, ended.stderr
    assert ended.stdout.count("Avg Latency(us)") == 2
    assert (tmp_path / "out" / "results.json").exists()


@pytest.mark.timeout(120)
def test_nonsense_on_the_ranks_is_said_once(tmp_path: Path) -> None:
    program = ["python", "-m", "experiments.benchmark", "rign", "--output", str(tmp_path)]
    ended = launch.capture(launch.command(2, program, MPI), timeout=60)
    assert ended.code == 2
    said = [line for line in ended.stderr.splitlines() if line.startswith("ciranda: ")]
    assert len(said) == 1
    assert "rign" in said[0]
    assert "ring" in said[0]


@pytest.mark.timeout(120)
def test_results_are_not_overwritten_and_no_rank_waits(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("precious")
    program = ["python", "-m", "experiments.benchmark", "ring", "--sizes", "8", "--output", str(tmp_path)]
    ended = launch.capture(launch.command(2, program, MPI), timeout=60)
    assert ended.code == 2
    assert "there already" in ended.stderr
    with pytest.raises(UsageFault, match="there already"):
        measure(small("ring"), [2], tmp_path, mpi=MPI)
    assert (tmp_path / "samples.jsonl").read_text() == "precious"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "limit", "story"),
    [
        pytest.param(signal.SIGKILL, 60.0, r"the job of 2 ranks ended with exit code", id="killed"),
        pytest.param(signal.SIGSTOP, 3.0, r"the job of 2 ranks hung and was ended", id="stopped"),
    ],
)
def test_a_rank_that_dies_or_hangs_ends_the_launch(tmp_path: Path, number: int, limit: float, story: str) -> None:
    # Many cells, so that the launch still runs when the signal comes.
    grid = small("ring", sizes=tuple(range(1 << 20, (1 << 20) + 4000, 4)))
    fault: list[BaseException] = []

    def work() -> None:
        try:
            measure(grid, [2], tmp_path, mpi=MPI, launches=1, cell_limit=limit)
        except Failure as failure:
            fault.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    victim = _wait_for(lambda: _ranks_of(tmp_path) if (tmp_path / "samples.jsonl").stat().st_size else [])
    os.kill(victim[0], number)
    thread.join(60)
    assert not thread.is_alive()
    assert len(fault) == 1
    assert re.search(story, str(fault[0]))
    assert "launch 1, measuring" in str(fault[0])
    assert _ranks_of(tmp_path) == []
    assert all(json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines())


def _wait_for(look: Callable[[], list[int]], seconds: float = 60) -> list[int]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except FileNotFoundError:
            pass
        time.sleep(0.05)
    raise AssertionError("the ranks did not start")


def _ranks_of(folder: Path) -> list[int]:
    """The processes that write into ``folder`` for the benchmark; mpirun itself is no Python."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if Path(os.fsdecode(words[0])).name.startswith("python") and any(os.fsencode(folder) in word for word in words):
            found.append(int(entry.name))
    return found


def test_a_failed_program_is_told_in_its_own_words() -> None:
    code = "import sys; print('ciranda: rank 1 lost its way', file=sys.stderr); sys.exit(3)"
    with pytest.raises(Failure, match=r"^the job of 2 ranks ended with exit code 3 \(far out\): rank 1 lost its way$"):
        run_ranks(2, [sys.executable, "-c", code], MPI, 30, lambda: "far out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rign"], "no algorithm is called 'rign'"),
        (["allgather_ring"], "carries out allgather"),
        (["--sizes", "6"], "6 bytes are no whole number of float32"),
        (["--sizes", "8:1GB:1"], "factor"),
        (["--dtype", "float31"], "float31"),
        (["--op", "band"], "not defined on float32"),
        (["--format", "xml"], "table, osu, nccl-tests"),
        (["--json", "--format", "osu"], "choose one"),
        (["-n", "0"], "0"),
        (["parameter_server:servers=3", "-n", "2"], "does not work for 2 ranks"),
        (["--mpi", "lam"], "lam"),
        (["--profile", "/nowhere/p.json"], "no profile at /nowhere/p.json"),
        (["--time-limit", "soon"], "soon"),
    ],
)
def test_bad_use_is_one_line_and_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert cli.run(["bench", *arguments]) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


@pytest.mark.timeout(120)
def test_json_on_the_command_line() -> None:
    command = [sys.executable, "-m", "experiments.cli", "bench", "ring", "--sizes", "64", "--launches", "1", "--json"]
    ended = subprocess.run(
        [*command, "--samples", "8", "--mpi", MPI], capture_output=True, text=True, timeout=100, check=True
    )
    records, environment = read_document(json.loads(ended.stdout))
    assert [record.algorithm for record in records] == ["native", "ring"]
    assert environment["library"] == records[0].library
    assert ended.stderr == ""


def test_the_order_is_shuffled_alike_on_all_ranks() -> None:
    grid = small("ring", "linear", sizes=(8, 64, 512))
    orders = [grid.order(4, seed=1, launch=number, visit=visit) for number in (0, 1) for visit in (0, 1)]
    assert all(sorted(order) == sorted(grid.cases(4)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert grid.order(4, seed=1, launch=0, visit=0) == orders[0]


@pytest.mark.parametrize(
    ("device", "told"), [("cuda", "no CUDA device on this machine"), ("gpu", "use one of cpu, cuda")]
)
def test_a_device_that_is_not_here_is_a_wrong_use(
    device: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "count", lambda: 0)
    assert cli.run(["bench", "ring", "--device", device]) == 2
    assert told in capsys.readouterr().err
