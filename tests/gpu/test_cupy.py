"""CuPy arrays are taken as they are, on CuPy's current stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator, buffers
from kernels import reduce
from kernels.device_array import DeviceArray

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def cupy() -> Any:
    import cupy  # the extra `cupy`, which make test-gpu installs

    return cupy


def test_an_array_is_seen_where_it_is_on_its_stream(cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True) as stream:
        array = cupy.arange(24, dtype=cupy.float32).reshape(4, 6)
        taken = buffers.block(array, writable=True)
        assert isinstance(taken.octets, DeviceArray)
        assert (taken.octets.address, taken.octets.stream, taken.count) == (array.data.ptr, stream.ptr, 24)


def test_kernels_work_on_cupy_arrays_in_stream_order(cupy: Any) -> None:
    with cupy.cuda.Stream(non_blocking=True):
        left, right = cupy.arange(1 << 20, dtype=cupy.float32), cupy.ones(1 << 20, dtype=cupy.float32)
        reduce.get("sum")(left, right, right)
        assert (cupy.asnumpy(right) == np.arange(1 << 20, dtype="f4") + 1).all()


@pytest.mark.parametrize("part", [np.s_[:], np.s_[::2], np.s_[:, 1:4]])
def test_views_with_holes_are_packed_and_unpacked(cupy: Any, part: Any) -> None:
    array = cupy.arange(48, dtype=cupy.float64).reshape(6, 8)
    wanted = cupy.asnumpy(array)
    Communicator(MPI.COMM_SELF).Allreduce(MPI.IN_PLACE, array[part])
    assert (cupy.asnumpy(array) == wanted).all()


def test_two_places_in_one_call_are_refused(cupy: Any) -> None:
    with pytest.raises(ValueError, match="bring both to one place"):
        Communicator(MPI.COMM_SELF).Allreduce(np.zeros(4), cupy.zeros(4))
