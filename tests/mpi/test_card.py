"""Allreduce on a real card, both ways to MPI; make test-gpu runs it on two ranks, which may share the card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator, catalogue, context, cuda_aware

pytestmark = pytest.mark.gpu
WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size


@pytest.fixture(params=["direct", "staged"])
def comm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Communicator]:
    aware = WORLD.allreduce(cuda_aware.examine().aware, MPI.LAND)
    if request.param == "direct" and not aware:
        pytest.skip(f"this MPI takes no device memory ({cuda_aware.examine().reason})")
    monkeypatch.setenv(cuda_aware.VARIABLE, "yes" if request.param == "direct" else "no")
    made = Communicator(WORLD, timeout=60).Dup()
    yield made
    made.Free()


@pytest.fixture(scope="module")
def cupy() -> Any:
    import cupy

    return cupy


@pytest.mark.parametrize("count", [1, 1_000, 3_000_001])
def test_the_bits_of_the_host_path(count: int, comm: Communicator, cupy: Any) -> None:
    host = np.random.default_rng(RANK).standard_normal(count).astype("f4")
    for name in catalogue.names("allreduce"):
        if catalogue.get(name).supports(SIZE):
            plain, array = host.copy(), cupy.asarray(host)
            comm.Allreduce(MPI.IN_PLACE, plain, algorithm=name)
            comm.Allreduce(MPI.IN_PLACE, array, algorithm=name)
            assert cupy.asnumpy(array).tobytes() == plain.tobytes(), name


def test_a_kernel_that_is_still_running_is_waited_for(comm: Communicator, cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True):
        array = cupy.ones(1 << 24, dtype=cupy.float32)
        for _ in range(50):
            array *= 1
        array += RANK
        comm.Allreduce(MPI.IN_PLACE, array)
        array *= 2
        assert (cupy.asnumpy(array) == SIZE * (SIZE + 1)).all()


def test_the_way_is_told(comm: Communicator, cupy: Any) -> None:
    comm.Allreduce(MPI.IN_PLACE, cupy.ones(4))
    assert str(context.existing(comm).way) in str(comm.explain("allreduce", 32))
