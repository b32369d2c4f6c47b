"""Collectives on device memory, all of it but the card: kernels as compiled PTX, streams that are late, real ranks.

Whatever the way to MPI, results are the host path's bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

from collectives import CollectiveMismatch, Communicator, context, cuda_aware
from collectives.executors import pieces
from kernels.cuda.device import using
from kernels.device_array import DeviceArray
from tests.ptx.device import Emulated

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
STREAM = 7

pytestmark = pytest.mark.skipif(
    SIZE > 2, reason="interpreted kernels take their time; tests/mpi/test_device_path.py has all sizes"
)


@pytest.fixture(scope="module")
def device() -> Iterator[Emulated]:
    with using(Emulated(delayed=True, watched=False)) as chosen:
        yield chosen


@pytest.fixture(params=["yes", "no"], ids=["direct", "staged"])
def comm(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Communicator]:
    monkeypatch.setenv(cuda_aware.VARIABLE, request.param)
    made = Communicator(WORLD, timeout=30).Dup()
    yield made
    made.Free()


def brought(count: int, dtype: Any) -> np.ndarray:
    return (np.random.default_rng(RANK).standard_normal(count) * 10).astype(dtype)


def got(array: DeviceArray) -> np.ndarray:
    array.device.synchronize(array.stream)
    return array.device.values(array)


Call = Callable[[Communicator, Any, Any], object]
CALLS: dict[str, tuple[Call, int, int]] = {  # the call, how long its buffers are
    "allreduce": (lambda comm, send, recv: comm.Allreduce(send, recv), 37, 37),
    "in place": (lambda comm, send, recv: comm.Allreduce(MPI.IN_PLACE, recv, algorithm="recursive_doubling"), 37, 37),
    "broadcast": (lambda comm, send, recv: comm.Bcast(recv, SIZE - 1), 1, 41),
    "allgather": (lambda comm, send, recv: comm.Allgather(send, recv), 9, 9 * SIZE),
    "alltoall": (lambda comm, send, recv: comm.Alltoall(send, recv), 5 * SIZE, 5 * SIZE),
    "alltoall in place": (lambda comm, send, recv: comm.Alltoall(MPI.IN_PLACE, recv), 1, 5 * SIZE),
    "reduce": (lambda comm, send, recv: comm.Reduce(send, recv, MPI.MAX, SIZE - 1), 23, 23),
    "reduce_scatter": (lambda comm, send, recv: comm.Reduce_scatter_block(send, recv), 7 * SIZE, 7),
    "some get nothing": (
        lambda comm, send, recv: comm.Reduce_scatter(send, [recv, 11 * (RANK == 0)], [11] + [0] * (SIZE - 1)), 11, 11,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_bits_of_the_host_path(name: str, comm: Communicator, device: Emulated) -> None:
    call, *lengths = CALLS[name]
    send, recv = (brought(length, "f4") for length in lengths)
    placed = [device.array(array, stream=STREAM) for array in (send, recv)]
    call(comm, send, recv)
    call(comm, *placed)
    assert got(placed[1]).tobytes() == recv.tobytes()
    assert got(placed[0]).tobytes() == send.tobytes()


@pytest.mark.parametrize(
    ("dtype", "op"),
    [("e", MPI.SUM), (ml_dtypes.bfloat16, MPI.SUM), ("i2", MPI.BXOR)],
    ids=["float16", "bfloat16", "int16"],
)
def test_other_dtypes_and_operations(dtype: Any, op: MPI.Op, comm: Communicator, device: Emulated) -> None:
    host = brought(19, dtype)
    placed = device.array(host, offset=host.itemsize, stream=STREAM)
    for array in (host, placed):
        comm.Allreduce(MPI.IN_PLACE, array, op, algorithm="ring")
    assert got(placed).tobytes() == host.tobytes()


def test_what_no_kernel_folds_is_folded_in_the_host(comm: Communicator, device: Emulated) -> None:
    pair = np.dtype([("value", "f8"), ("index", "i4")], align=True)
    host = np.zeros(5, pair)
    host["value"], host["index"] = brought(5, "f8"), RANK
    placed = device.array(host.view(np.uint8), stream=STREAM)
    comm.Allreduce(MPI.IN_PLACE, [host.view(np.uint8), 5, MPI.DOUBLE_INT], MPI.MAXLOC)
    comm.Allreduce(MPI.IN_PLACE, [placed, 5, MPI.DOUBLE_INT], MPI.MAXLOC)
    assert got(placed).view(pair)[["value", "index"]].tolist() == host.tolist()


def test_messages_of_several_pieces(comm: Communicator, device: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 64)
    for algorithm in ("ring", "double_tree", "circulant"):
        host = brought(150, "f8")
        placed = device.array(host, stream=STREAM)
        for array in (host, placed):
            comm.Allreduce(MPI.IN_PLACE, array, algorithm=algorithm)
        assert got(placed).tobytes() == host.tobytes()


def test_work_of_the_caller_before_and_after_keeps_its_order(comm: Communicator, device: Emulated) -> None:
    gradient, fresh = device.array(np.zeros(16, "f4"), stream=STREAM), device.array(np.ones(16, "f4"))
    device.copy(gradient, fresh, STREAM)
    comm.Allreduce(MPI.IN_PLACE, gradient)
    device.copy(fresh, gradient, STREAM)
    assert (got(gradient) == SIZE).all()
    assert (device.values(fresh) == SIZE).all()


class View:
    """Part of a device array, as a library shows it that is none of ours; ``stream`` None names none."""

    def __init__(self, whole: DeviceArray, part: np.ndarray, base: np.ndarray, stream: int | None) -> None:
        start = part.ctypes.data - base.ctypes.data
        self.whole = whole
        self.__cuda_array_interface__ = {
            "version": 3, "shape": part.shape, "typestr": part.dtype.str, "strides": part.strides,
            "data": (whole.address + start, False), "stream": stream,
        }  # fmt: skip


@pytest.mark.parametrize("stream", [STREAM, None], ids=["on a stream", "on none"])
def test_arrays_with_holes_are_packed_and_unpacked_by_a_kernel(
    stream: int | None, comm: Communicator, device: Emulated
) -> None:
    host = brought(48, "f4").reshape(6, 8)
    placed = device.array(host, stream=STREAM)
    part = host[::2, 6:0:-2].T
    comm.Allreduce(MPI.IN_PLACE, part)
    comm.Allreduce(MPI.IN_PLACE, View(placed, part, host, stream))
    # Whoever names no stream finds the result there, without a further wait.
    result = got(placed) if stream else device.values(placed)
    assert result.tobytes() == host.tobytes()


def test_explain_says_which_way_it_went_and_why(comm: Communicator, device: Emulated) -> None:
    assert "on a device" not in str(comm.explain("allreduce", 64))
    comm.Allreduce(MPI.IN_PLACE, device.array(np.ones(16, "f4")))
    told = comm.explain("allreduce", 64).on_device
    way = context.existing(comm).way
    expected = "straight to MPI" if way.direct else "staged through pinned host memory"
    assert told == f"buffers on a device go {expected} (CIRANDA_CUDA_AWARE: {'yes' if way.direct else 'no'})"
    assert told in str(comm.explain("allreduce", 64))


@pytest.mark.skipif(SIZE == 1, reason="needs at least two ranks")
def test_all_ranks_go_one_way(monkeypatch: pytest.MonkeyPatch, device: Emulated) -> None:
    monkeypatch.setenv(cuda_aware.VARIABLE, "no" if RANK == SIZE - 1 else "yes")
    comm = Communicator(WORLD, timeout=30).Dup()
    array = device.array(np.full(9, float(RANK)), stream=STREAM)
    comm.Allreduce(MPI.IN_PLACE, array)
    assert (got(array) == SIZE * (SIZE - 1) / 2).all()
    told = comm.explain("allreduce").on_device
    assert "staged" in told
    assert ("on another rank" in told) == (RANK < SIZE - 1)
    comm.Free()


def test_host_and_device_in_one_call_are_refused(comm: Communicator, device: Emulated) -> None:
    with pytest.raises(ValueError, match=r"sendbuf is in host memory and recvbuf on PTX interpreter: bring both"):
        comm.Allreduce(np.zeros(4), device.array(np.zeros(4)))


@pytest.mark.skipif(SIZE == 1, reason="needs at least two ranks")
def test_ranks_that_differ_in_place_are_found_out_in_check_mode(comm: Communicator, device: Emulated) -> None:
    comm.settings.check = True
    array = np.ones(4, "f4") if RANK == 0 else device.array(np.ones(4, "f4"))
    with pytest.raises(CollectiveMismatch, match=r"dtype: MPI_FLOAT on rank 0 but MPI_FLOAT on a device on rank"):
        comm.Allreduce(MPI.IN_PLACE, array)


def test_device_memory_that_we_decline_is_never_left_to_an_mpi_that_would_crash(
    device: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cuda_aware.VARIABLE, "no")
    comm = Communicator(WORLD)
    with pytest.raises(TypeError, match=r"allreduce on device memory: .*copy the array to the host"):
        comm.Allreduce(MPI.IN_PLACE, device.array(np.zeros(4, "D")), MPI.MAX)


def test_compressed_vectors_come_back_to_the_device(comm: Communicator, device: Emulated) -> None:
    host = brought(64, "f4")
    placed = device.array(host, stream=STREAM)
    for array in (host, placed):
        comm.Allreduce(MPI.IN_PLACE, array, compress="float16")
    assert got(placed).tobytes() == host.tobytes()
