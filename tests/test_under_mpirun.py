"""Runs tests/mpi on real ranks, one launch a size; CIRANDA_TEST_MPI chooses the MPI, as `make test MPI=mpich` does.

CIRANDA_TEST_SIZES names other numbers of ranks than the usual ones, such as 4,6,8,9; .ci/run goes through all up to 9.
"""

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).with_name("mpi")
SIZES = tuple(map(int, os.environ.get("CIRANDA_TEST_SIZES", "1,3").split(",")))
LIMIT = 540.0


@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize("ranks", SIZES)
def test_all_of_tests_mpi_passes_on(ranks: int, under_mpirun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRANDA_TEST_RANKS", str(ranks))
    captured = under_mpirun(ranks, TESTS, "-q", timeout=LIMIT)
    under_mpirun.show(f"{os.environ.get('CIRANDA_TEST_MPI', 'openmpi')}, {ranks} ranks")
    if captured.code != 0:
        texts = under_mpirun.texts()
        telling = {rank: text for rank, text in texts.items() if "[rank " in text} or texts
        said = "\n\n".join(f"--- rank {rank} ---\n{text[-20_000:]}" for rank, text in telling.items())
        pytest.fail(
            f"exit code {captured.code} on {ranks} ranks\n{captured.stderr}{captured.stdout}\n{said}", pytrace=False
        )
