"""What tests/ranks.py promises of a run that goes wrong: it ends, soon, and says where."""

import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

FAILED = (1, 9)
"""A failed run's exit code: 1, or under MPICH that of a rank which was killed because another failed."""


@pytest.fixture
def tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CIRANDA_TEST_LIMIT", "3")

    def write(source: str) -> Path:
        folder = tmp_path / "given"
        folder.mkdir()
        (folder / "test_given.py").write_text(
            "from mpi4py import MPI\n\nworld = MPI.COMM_WORLD\n" + textwrap.dedent(source)
        )
        return folder

    return write


def test_a_failure_on_one_rank_is_told_though_the_others_wait(tests, under_mpirun) -> None:
    given = tests("""
        def test_one_rank_fails():
            assert world.rank != 1, "rank 1 is not well"
            world.Barrier()
    """)
    assert under_mpirun(3, given, timeout=60).code in FAILED
    texts = under_mpirun.texts()
    assert "rank 1 is not well" in texts[1]
    assert "not yet on every other rank" in texts[1]


def test_a_failure_on_all_ranks_does_not_end_the_run(tests, under_mpirun) -> None:
    given = tests("""
        def test_all_fail():
            assert not world.size

        def test_all_pass():
            pass
    """)
    assert under_mpirun(2, given, timeout=60).code in FAILED
    assert all("1 failed, 1 passed" in text for text in under_mpirun.texts().values())


def test_a_failure_that_others_pass_makes_the_run_fail(tests, under_mpirun) -> None:
    given = tests("""
        def test_the_last_rank_fails():
            assert world.rank < world.size - 1
    """)
    assert under_mpirun(3, given, timeout=60).code in FAILED
    texts = under_mpirun.texts()
    assert "1 passed" in texts[0]
    assert "1 failed" in texts[2]


def test_a_hang_shows_the_stack_of_every_rank(tests, under_mpirun) -> None:
    given = tests("""
        def test_all_wait():
            waits_for_nobody()

        def waits_for_nobody():
            world.recv(source=world.rank)
    """)
    assert under_mpirun(2, given, timeout=60).code in FAILED
    assert all("waits_for_nobody" in text for text in under_mpirun.texts().values())


def test_a_rank_that_is_killed_makes_the_run_fail(tests, under_mpirun) -> None:
    given = tests("""
        import os, signal

        def test_one_dies():
            if world.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            world.Barrier()
    """)
    captured = under_mpirun(3, given, timeout=60)
    assert captured.code not in (0, 124)


def test_a_folder_without_tests_makes_the_run_fail(tests, under_mpirun) -> None:
    assert under_mpirun(2, tests(""), timeout=60).code == int(pytest.ExitCode.NO_TESTS_COLLECTED)
