import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import installations, launch
from experiments.errors import UsageFault
from experiments.machine import cores, oversubscribed

pytestmark = pytest.mark.timeout(120)
FLAVOUR = os.environ.get("CIRANDA_TEST_MPI", "openmpi")
WAIT = (
    "from mpi4py import MPI; import sys, time; MPI.COMM_WORLD.Barrier(); "
    "sys.stdout.write('waiting\\n'); sys.stdout.flush(); time.sleep(1000)"  # one write, for ranks share the line
)


def started(ranks: int, code: str) -> launch.Launch:
    return launch.command(ranks, ["python", "-c", code], FLAVOUR)


def alive(marker: str) -> list[int]:
    """Processes with this text on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def ciranda(tmp_path: Path):
    """Starts `ciranda run`; the code that its ranks run has a marker that tells them from all others."""
    marker = f"ciranda-test-{tmp_path.name}-{time.time_ns()}"
    running: list[subprocess.Popen[str]] = []

    def start(ranks: int, code: str, ignored: signal.Signals | None = None) -> tuple[subprocess.Popen[str], str]:
        def dispositions() -> None:  # those of the test run itself depend on how it was started
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

        line = ["-m", "experiments.cli", "run", "--mpi", FLAVOUR, "-n", str(ranks), "--", "python", "-c", code, marker]
        running.append(
            subprocess.Popen(
                [sys.executable, *line],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=dispositions,  # noqa: PLW1509 - no other thread is running here
            )
        )
        return running[-1], marker

    yield start
    for pid in alive(marker):
        os.kill(pid, signal.SIGKILL)
    for process in running:
        process.communicate()


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_all_ranks_start_and_are_one_job(ranks: int) -> None:
    code = "from mpi4py import MPI; c = MPI.COMM_WORLD; t = c.allreduce(c.rank); c.rank or print(c.size, t)"
    captured = launch.capture(started(ranks, code), timeout=60)
    assert captured.code == 0, captured
    assert captured.stdout.split() == [str(ranks), str(ranks * (ranks - 1) // 2)]


@pytest.mark.parametrize("code", [0, 1, 7])
def test_the_exit_code_passes_through(code: int) -> None:
    assert launch.capture(started(2, f"import sys; from mpi4py import MPI; sys.exit({code})"), timeout=60).code == code


def test_an_exception_on_one_rank_ends_all() -> None:
    code = "from mpi4py import MPI\nif MPI.COMM_WORLD.rank == 1: raise ValueError('not well')\nMPI.COMM_WORLD.Barrier()"
    captured = launch.capture(started(3, code), timeout=60)
    assert captured.code == 1
    assert "not well" in captured.stderr


def test_the_time_limit_ends_all_ranks_and_keeps_their_output() -> None:
    marker = f"limit-{time.time_ns()}"
    begin = time.monotonic()
    captured = launch.capture(launch.command(3, ["python", "-c", WAIT, marker], FLAVOUR), timeout=6)
    assert captured.code == launch.TIMED_OUT
    assert captured.stdout.count("waiting") == 3
    assert time.monotonic() - begin < 20
    assert alive(marker) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_ranks(ciranda, number: signal.Signals) -> None:
    process, marker = ciranda(3, WAIT)
    for _ in range(3):
        assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    code = process.wait(timeout=30)
    assert code == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert alive(marker) == []


def test_a_job_under_nohup_outlives_its_terminal(ciranda) -> None:
    process, marker = ciranda(2, WAIT, ignored=signal.SIGHUP)
    for _ in range(2):
        assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == -signal.SIGTERM
    assert alive(marker) == []


def test_ranks_that_ignore_the_signal_are_killed(ciranda) -> None:
    process, marker = ciranda(2, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}")
    for _ in range(2):
        assert process.stdout.readline() == "waiting\n"
    process.terminate()
    process.wait(timeout=30)
    assert alive(marker) == []


def test_what_a_rank_leaves_behind_is_ended_too(ciranda) -> None:
    # mpirun itself waits for a process that holds a rank's output, so this one lets go of it.
    code = (
        "import subprocess as s, sys; from mpi4py import MPI; "
        "line = [sys.executable, '-c', 'import time; time.sleep(1000)', sys.argv[-1]]; "
        "s.Popen(line, stdout=s.DEVNULL, stderr=s.DEVNULL, start_new_session=True)"
    )
    process, marker = ciranda(2, code)
    process.communicate(timeout=30)
    assert alive(marker) == []


def test_input_reaches_rank_0() -> None:
    # A line, for Open MPI 5.0.11 passes input on but not its end (5.0.8 and MPICH do).
    code = "import sys; from mpi4py import MPI; MPI.COMM_WORLD.rank or print(sys.stdin.readline().upper())"
    line = [sys.executable, "-m", "experiments.cli", "run", "--mpi", FLAVOUR, "-n", "2", "--", "python", "-c", code]
    done = subprocess.run(line, input="ring\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "RING"


def test_show_prints_a_line_that_a_shell_runs() -> None:
    code = "from mpi4py import MPI; MPI.COMM_WORLD.rank or print(MPI.COMM_WORLD.size)"
    line = str(started(cores() + 1, code))
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(cores() + 1), done


def test_more_ranks_than_cores_are_noted() -> None:
    crowded, fitting = launch.command(cores() + 1, ["true"], FLAVOUR), launch.command(cores(), ["true"], FLAVOUR)
    assert crowded.oversubscribed
    assert any("oversubscribed" in note for note in crowded.notes)
    assert not fitting.oversubscribed
    assert not any("oversubscribed" in note for note in fitting.notes)


def test_what_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPI4PY_LIBMPI", "/somewhere/libmpi.so")
    assert "MPI4PY_LIBMPI" not in launch.command(2, ["true"], FLAVOUR).environment


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (["python", "-c", "pass"], ["-m", "mpi4py", "-c", "pass"]),
        (["python3", "-m", "this", "-x"], ["-m", "mpi4py", "-m", "this", "-x"]),
        (["python", "-X", "dev", "-u", "-c", "pass"], ["-X", "dev", "-u", "-m", "mpi4py", "-c", "pass"]),
        (["python", "-m", "mpi4py", "-c", "pass"], ["-m", "mpi4py", "-c", "pass"]),
        (["python", "-V"], ["-V"]),
        ([__file__, "a", "b"], ["-m", "mpi4py", __file__, "a", "b"]),
        (["python", __file__], ["-m", "mpi4py", __file__]),
    ],
)
def test_python_is_this_python_and_ends_all_ranks_together(program: list[str], expected: list[str]) -> None:
    argv = launch.command(2, program, FLAVOUR).argv
    assert list(argv[argv.index(sys.executable) + 1 :]) == expected


@pytest.mark.parametrize(
    ("ranks", "program", "mpi", "message"),
    [
        (0, ["true"], FLAVOUR, "at least 1"),
        (2, [], FLAVOUR, "no program"),
        (2, ["no-such-program"], FLAVOUR, "'no-such-program' was not found"),
        (2, ["no_such_file.py"], FLAVOUR, "'no_such_file.py' was not found"),
        (2, ["python", "no_such_file.py"], FLAVOUR, "'no_such_file.py' was not found"),
        (2, ["true"], "lam", "use one of openmpi, mpich, system"),
    ],
)
def test_what_cannot_start_is_refused_in_one_line(ranks: int, program: list[str], mpi: str, message: str) -> None:
    with pytest.raises(UsageFault, match=f"^[^\n]*{message}[^\n]*$"):
        launch.command(ranks, program, mpi)


def test_ranks_start_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    with pytest.raises(UsageFault, match="already a rank"):
        launch.command(2, ["true"], FLAVOUR)


def test_the_site_s_own_mpi_is_the_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libmpi.so.40").touch()
    mpirun = tmp_path / "bin" / "mpirun"
    mpirun.write_text("#!/bin/sh\necho 'mpirun (Open MPI) 4.1.4'\n")
    mpirun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path(sys.prefix, 'bin')}:{mpirun.parent}:{os.environ['PATH']}")
    found = installations.find("system")
    assert (found.mpirun, found.family, found.version) == (mpirun, "openmpi", "4.1.4")
    assert found.libmpi == str(tmp_path / "lib" / "libmpi.so.40")
    # Open MPI 4 has no PRRTE, so its mapping is set by its own variable.
    monkeypatch.setattr(launch, "oversubscribed", lambda ranks: True)
    environment = launch.command(2, ["true"], "system").environment
    assert environment["OMPI_MCA_rmaps_base_oversubscribe"] == "1"
    assert not any(name.startswith("PRTE_") for name in environment)


def test_a_site_without_mpi_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.prefix, 'bin')}:{tmp_path}")
    with pytest.raises(UsageFault, match="no mpirun on PATH"):
        installations.find("system")


def test_cores_are_those_of_the_affinity_mask() -> None:
    one = {min(os.sched_getaffinity(0))}
    assert cores(one) == 1
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
    assert oversubscribed(2, one)
    assert not oversubscribed(1, one)
    code = "import json; from experiments.machine import cores; print(json.dumps(cores()))"
    limited = ["taskset", "-c", str(min(one)), sys.executable, "-c", code]
    assert json.loads(subprocess.run(limited, capture_output=True, check=True).stdout) == 1
