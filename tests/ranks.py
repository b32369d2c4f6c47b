"""One rank of a test run: pytest, in step with the other ranks. Started by tests/test_under_mpirun.py, or by hand:

    ciranda run -n 4 -- tests/ranks.py tests/mpi/test_executor.py -k ring

All ranks meet after each test. So a rank that fails does not leave the others waiting in MPI, one that hangs shows
its stack, and a test that talks to its neighbour's next test is noticed at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mpi4py import MPI

LIMIT = float(os.environ.get("CIRANDA_TEST_LIMIT", "60"))
"""Seconds that one test may take before its stack is shown and the run ends."""

AFTER_A_FAILURE = min(LIMIT, 10.0)
"""Seconds that a rank whose test failed waits for the others to fail or pass too."""


class Together:
    """A pytest plugin that keeps the ranks in step."""

    def __init__(self, comm: MPI.Intracomm) -> None:
        self._comm = comm.Dup()
        self._screen = os.dup(1)  # pytest redirects descriptor 1 while a test runs
        self._failed = False

    def pytest_configure(self) -> None:
        from hypothesis import settings  # not sooner, for pytest has its own hooks to put around this import

        # Ranks must draw the same examples, and share no database that one of them writes while another reads.
        settings.register_profile("ranks", derandomize=True, database=None, deadline=None)
        settings.load_profile("ranks")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._failed = False
        # pytest's faulthandler_timeout writes the stacks at LIMIT; the other ranks get time to write theirs.
        end = threading.Timer(LIMIT + 2, self._end, [f"{item.nodeid} is not finished after {LIMIT:g} s"])
        end.daemon = True
        end.start()
        try:
            return (yield)
        finally:
            self._meet(item.nodeid)
            end.cancel()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed = True
            self._say(f"{report.nodeid} failed in its {report.when}:\n{report.longreprtext}")

    def agree(self, code: int) -> int:
        """The worst exit code of all ranks, at all ranks."""
        return self._comm.allreduce(code, MPI.MAX)

    def _meet(self, name: str) -> None:
        request = self._comm.Ibarrier()
        wait = AFTER_A_FAILURE if self._failed else LIMIT
        deadline = time.monotonic() + wait
        while not request.Test():
            if time.monotonic() > deadline:
                self._end(f"{name} has ended here, and after {wait:g} s not yet on every other rank")
            time.sleep(0.0005)

    def _end(self, reason: str) -> None:
        self._say(f"{reason}; the run ends")
        os._exit(1)  # without MPI_Finalize, on which mpirun ends all ranks

    def _say(self, text: str) -> None:
        os.write(self._screen, f"[rank {self._comm.rank} of {self._comm.size}] {text}\n".encode())


def main(arguments: list[str]) -> int:
    """Run pytest with these arguments; ``--output FOLDER`` first puts each rank's output into a file of its own."""
    world = MPI.COMM_WORLD
    with TemporaryDirectory(prefix="ciranda-rank-") as own:
        folder = Path(own)
        if arguments[:1] == ["--output"]:
            folder, arguments = Path(arguments[1]), arguments[2:]
            with (folder / f"rank{world.rank}.txt").open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
        # pytest's usual place for temporary files is one for all ranks, and each tidies up there.
        place = f"--basetemp={folder / f'files{world.rank}'}"
        together = Together(world)
        limit = f"faulthandler_timeout={LIMIT:g}"
        code = pytest.main(["-o", limit, place, "-p", "no:cacheprovider", *arguments], [together])
        sys.stdout.flush()
        return together.agree(int(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
