"""Start a program on several ranks: what `ciranda run`, the benchmark and the tests start ranks with.

The settings that `mpirun` wants on this machine are worked out here and nowhere else. Nothing that the user has set
in the environment is overridden.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from experiments import installations
from experiments.errors import UsageFault
from experiments.machine import cores, oversubscribed

__all__ = ["TIMED_OUT", "Captured", "Launch", "capture", "command", "cores", "oversubscribed", "run", "surviving"]

TIMED_OUT = 124
"""Exit code of a launch that its time limit ended, as timeout(1) has it."""

_GRACE = 5.0
"""Seconds that mpirun has to end its ranks after a signal, before all are killed."""

_PATIENCE = 0.1
"""Seconds after which a signal or the time limit is noticed at the latest."""

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MARK = "CIRANDA_JOB"
_RANK_VARIABLES = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK")


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a program: the command, what it adds to the environment, and a line on each setting."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    notes: tuple[str, ...]
    ranks: int
    mpi: installations.Installation
    oversubscribed: bool

    def __str__(self) -> str:
        """The command as a shell takes it."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join(["env", *settings, shlex.join(self.argv)] if settings else [shlex.join(self.argv)])


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished launch: exit code (``TIMED_OUT`` where the limit ended it) and what all ranks wrote."""

    code: int
    stdout: str
    stderr: str


def command(ranks: int, program: Sequence[str], mpi: str = "openmpi", *, crowded: bool | None = None) -> Launch:
    """Work out how to start ``program`` (an argument list) on ``ranks`` ranks of the MPI flavour ``mpi``.

    ``python`` means this interpreter, a ``*.py`` file is run with it, and either runs under ``python -m mpi4py``, so
    that an uncaught exception on one rank ends all of them instead of leaving the others waiting. ``crowded``: more
    ranks than cores; by default this machine's are counted. Raises UsageFault where the program or the MPI is not
    there.
    """
    if ranks < 1:
        raise UsageFault(f"{ranks} ranks cannot run; ask for at least 1")
    inside = next((name for name in _RANK_VARIABLES if name in os.environ), None)
    if inside is not None:
        raise UsageFault(f"this process is already a rank of an MPI job ({inside} is set); start ranks from outside it")
    installation = installations.find(mpi)
    crowded = oversubscribed(ranks) if crowded is None else crowded
    settings = {"MPI4PY_LIBMPI": installation.libmpi}
    notes: list[str] = []
    if installation.family == "openmpi":
        settings |= _open_mpi_settings(installation, crowded=crowded)
    if crowded:
        notes.append(f"{ranks} ranks on {_count(cores(), 'core')}: timings are oversubscribed")
    if "OMPI_ALLOW_RUN_AS_ROOT" in settings:
        notes.append("running as root: Open MPI is told to allow it")
    environment = {name: value for name, value in settings.items() if name not in os.environ}
    argv = (str(installation.mpirun), "-n", str(ranks), *_program(program))
    return Launch(argv, environment, tuple(notes), ranks, installation, crowded)


def surviving(launch: Launch) -> Launch:
    """The same job, which goes on when ranks of it die (ULFM; MPI 4's fault tolerance as Open MPI 5 has it).

    Raises UsageFault for an MPI or a launcher that ends the job with the first rank that dies.
    """
    mpirun = str(launch.mpi.mpirun)
    if launch.mpi.family != "openmpi" or int(launch.mpi.version.split(".")[0]) < 5 or mpirun not in launch.argv:
        raise UsageFault(
            f"{launch.mpi.family} {launch.mpi.version} as it is started here ends a job with the first rank that dies; "
            "use Open MPI 5 and its own mpirun"
        )
    place = launch.argv.index(mpirun) + 1
    # The fence in MPI_Finalize waits for the dead, now and then without end: leave it out.
    environment = {"OMPI_MCA_async_mpi_finalize": "1", **launch.environment}
    argv = (*launch.argv[:place], "--with-ft", "ulfm", *launch.argv[place:])
    return replace(launch, argv=argv, environment=environment)


def run(launch: Launch, *, timeout: float | None = None) -> int:
    """Run to the end and return the exit code; output goes where this process's own goes.

    SIGINT, SIGTERM and SIGHUP are passed on to mpirun, and then to this process again. After ``timeout`` seconds the
    job is ended and the code is ``TIMED_OUT``. No process of the job outlives this call.
    """
    with _started(launch, stdin=_terminal_free_stdin()) as job:
        return _supervise(job, timeout).code


def capture(launch: Launch, *, timeout: float | None = None) -> Captured:
    """Run to the end with empty input, and return exit code and output; otherwise as ``run``."""
    with _started(launch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        return _supervise(job, timeout)


def _open_mpi_settings(installation: installations.Installation, *, crowded: bool) -> dict[str, str]:
    settings: dict[str, str] = {}
    if os.geteuid() == 0:
        settings |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    if crowded and int(installation.version.split(".")[0]) >= 5:
        settings["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    elif crowded:
        settings["OMPI_MCA_rmaps_base_oversubscribe"] = "1"
    if crowded:
        # Open MPI yields by itself only where it counts too few cores, and it sees no affinity mask and no quota.
        settings["OMPI_MCA_mpi_yield_when_idle"] = "1"
    return settings


def _program(program: Sequence[str]) -> list[str]:
    if not program:
        raise UsageFault("no program to run; write it after --, as in: ciranda run -n 4 -- python my_program.py")
    name, *arguments = program
    if name in ("python", "python3"):
        return [sys.executable, *_abort_together(arguments)]
    if name.endswith(".py"):
        _check_file(name)
        return [sys.executable, "-m", "mpi4py", name, *arguments]
    if shutil.which(name) is None:
        raise UsageFault(f"program {name!r} was not found, or may not be executed")
    return [name, *arguments]


def _abort_together(arguments: list[str]) -> list[str]:
    """Put ``-m mpi4py`` behind the interpreter's own options and before its script, ``-m module`` or ``-c code``."""
    place = 0
    while place < len(arguments) and arguments[place].startswith("-") and arguments[place] not in ("-m", "-c", "-"):
        place += 2 if arguments[place] in ("-X", "-W") else 1
    options, rest = arguments[:place], arguments[place:]
    if not rest or rest[0] == "-" or rest[:2] == ["-m", "mpi4py"]:
        return arguments
    if rest[0] not in ("-m", "-c"):
        _check_file(rest[0])
    return [*options, "-m", "mpi4py", *rest]


def _check_file(name: str) -> None:
    if not Path(name).exists():
        raise UsageFault(f"program {name!r} was not found in {Path.cwd()}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _terminal_free_stdin() -> int | None:
    # The job has a session of its own, and reading a terminal from another session is an I/O error.
    return subprocess.DEVNULL if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty() else None


class _Job:
    """A running mpirun and the mark by which its processes are found."""

    def __init__(self, process: subprocess.Popen[bytes], mark: str) -> None:
        self.process = process
        self._mark = f"{_MARK}={mark}".encode()

    def stop(self, number: int) -> None:
        """Ask mpirun to end its ranks, wait for the grace time, then kill what is left."""
        self.process.send_signal(number)
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.kill()

    def kill(self) -> None:
        """Kill every process that has the mark: both MPIs give ranks process groups or sessions of their own."""
        for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]:
            try:
                if self._mark in Path("/proc", str(pid), "environ").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended meanwhile, or belongs to someone else
                continue


@contextmanager
def _started(
    launch: Launch, *, stdin: int | None, stdout: int | None = None, stderr: int | None = None
) -> Generator[_Job]:
    """mpirun, out of reach of the terminal's signals; on leaving, all processes of its job are gone."""
    mark = uuid.uuid4().hex
    environment = {**os.environ, **launch.environment, _MARK: mark}
    process = subprocess.Popen(
        launch.argv, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )
    job = _Job(process, mark)
    try:
        yield job
    finally:
        job.kill()
        process.wait()


def _supervise(job: _Job, timeout: float | None) -> Captured:
    """Wait for the end, the time limit or a signal; a signal reaches this process after the job has ended."""
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    with _signals() as received:
        while True:
            try:
                return _captured(job.process, job.process.communicate(timeout=_PATIENCE))
            except subprocess.TimeoutExpired:
                if not received and time.monotonic() < deadline:
                    continue
            job.stop(received[0] if received else signal.SIGTERM)
            return replace(_captured(job.process, job.process.communicate()), code=TIMED_OUT)


@contextmanager
def _signals() -> Generator[list[int]]:
    """Hold back the signals that ask this process to end, and raise the first of them on leaving."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    # What our caller ignores stays ignored: a job under nohup outlives its terminal.
    heeded = [number for number in _ENDINGS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heeded}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def _captured(process: subprocess.Popen[bytes], output: tuple[bytes | None, bytes | None]) -> Captured:
    out, err = ((part or b"").decode(errors="replace") for part in output)
    return Captured(process.returncode if process.returncode >= 0 else 128 - process.returncode, out, err)
