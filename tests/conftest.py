import os
from pathlib import Path

import pytest
from hypothesis import settings

from experiments import launch

LAUNCHES = pytest.StashKey[list[str]]()
RANKS = Path(__file__).with_name("ranks.py")

# A machine that is busy with other work must fail no test; what hangs is ended by pytest-timeout.
settings.register_profile("ciranda", deadline=None)
settings.load_profile("ciranda")


class UnderMpirun:
    """Runs a folder of tests on real ranks, and keeps what its ranks said."""

    def __init__(self, config: pytest.Config, output: Path) -> None:
        self.output = output
        self._config = config

    def __call__(
        self, ranks: int, tests: Path, *arguments: str, timeout: float, mpi: str | None = None
    ) -> launch.Captured:
        """Run ``tests`` on ``ranks`` ranks; rank r's output is in ``texts()[r]``."""
        flavour = mpi or os.environ.get("CIRANDA_TEST_MPI", "openmpi")
        program = ["python", str(RANKS), "--output", str(self.output), str(tests), *arguments]
        return launch.capture(launch.command(ranks, program, flavour), timeout=timeout)

    def show(self, title: str) -> None:
        """Put what rank 0's pytest counted, and what it skipped, into this run's summary."""
        lines = self.texts().get(0, "").rstrip().splitlines() or ["no output"]
        skipped = [line for line in lines if line.startswith("SKIPPED")]
        self._config.stash[LAUNCHES] += [f"{title}: {lines[-1].strip(' =')}", *skipped]

    def texts(self) -> dict[int, str]:
        files = {int(file.stem.removeprefix("rank")): file for file in self.output.glob("rank*.txt")}
        return {rank: files[rank].read_text(errors="replace") for rank in sorted(files)}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LAUNCHES] = []


@pytest.fixture
def under_mpirun(request: pytest.FixtureRequest, tmp_path: Path) -> UnderMpirun:
    return UnderMpirun(request.config, tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[LAUNCHES]:
        terminalreporter.section("under mpirun")
        for line in config.stash[LAUNCHES]:
            terminalreporter.line(line)
