"""Compressed allreduces of vectors on a device: the host's bits, few bytes copied, and never a moment too soon.

On a device whose streams do nothing before somebody waits for it; tests/collectives/test_compression_devices.py has
the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator, catalogue
from collectives.compression import virtual
from collectives.compression.memory import Compression
from kernels import compress
from kernels.cuda.device import using
from kernels.device_array import DeviceArray
from tests.lazy_device import Lazy, got, octets, put

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
FLOATS = np.dtype(np.float32)

pytestmark = pytest.mark.skipif(SIZE > 3, reason="loading kernels takes each rank its time; three show all there is")


@pytest.fixture
def comm() -> Iterator[Communicator]:
    made = Communicator(WORLD, timeout=50).Dup()
    yield made
    made.Free()


def inputs(count: int, seed: int = 0) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    return [np.random.default_rng([seed, rank]).uniform(-1, 1, count).astype(np.float32) for rank in range(SIZE)]


class Late:
    """float16 by NumPy, queued on the stream of ``values`` as a device's kernels would be."""

    name = "late float16"

    def nbytes(self, count: int) -> int:
        return 2 * count

    def encode(self, values: Any, wire: Any, *, counter: int = 0) -> None:
        there, bits = octets(values).view(FLOATS), octets(wire).view(np.float16)
        values.device.queue(values.stream, lambda: np.copyto(bits, there.astype(np.float16)), f"encode {counter}")

    def decode(self, wire: Any, values: Any) -> None:
        there, bits = octets(values).view(FLOATS), octets(wire).view(np.float16)
        values.device.queue(values.stream, lambda: np.copyto(there, bits), "decode")

    def decode_add(self, wire: Any, values: Any) -> None:
        there, bits = octets(values).view(FLOATS), octets(wire).view(np.float16)
        values.device.queue(values.stream, lambda: np.add(there, bits, out=there), "decode and add")

    def encode_feedback(self, values: Any, wire: Any, residual: Any, *, counter: int = 0) -> None:
        raise AssertionError(f"these tests of order have no feedback, but {(values, wire, residual, counter)}")

    def bound(self, values: Any) -> float:
        return float(np.abs(values).max()) * 2.0**-11


@pytest.mark.parametrize("name", catalogue.names("allreduce"))
def test_nothing_is_sent_before_it_is_encoded_nor_overwritten_before_it_is_decoded(
    name: str, comm: Communicator
) -> None:
    device = Lazy()
    with using(device):
        for stream, count in ((7, 41), (8, 41), (7, 100)):  # the same memory, now from another stream
            brought = inputs(count, stream)
            vector = put(device, brought[RANK], stream)
            comm.Allreduce(MPI.IN_PLACE, vector, algorithm=name, compress=Late())
            expected = virtual.run(
                catalogue.get(name), brought, [Compression(compress.get("float16")) for _ in range(SIZE)]
            )
            assert got(vector).tobytes() == expected[RANK].tobytes()
    copies = [line for line in device.log if line.startswith("copy")]
    assert SIZE == 1 or copies


def test_what_is_owed_stays_on_the_device(comm: Communicator) -> None:
    device, compression = Lazy(), Compression("bfloat16", feedback=True)
    with using(device):
        owed = compression.owed(put(device, np.ones(5, np.float32)))
        assert isinstance(owed, DeviceArray)
        assert not got(owed).any()
        with pytest.raises(ValueError, match="keeps what was lost on a lazy device, and this call is in host memory"):
            comm.Allreduce(MPI.IN_PLACE, np.ones(5, np.float32), compress=compression)


@pytest.mark.parametrize(("text", "dtype"), [("powersgd:rank=1", "f4"), ("int8", "f8")])
def test_what_has_no_way_on_the_device_goes_through_the_host(text: str, dtype: str, comm: Communicator) -> None:
    device = Lazy()
    with using(device):
        brought = inputs(64)
        vector = put(device, brought[RANK].astype(dtype), 5)
        comm.Allreduce(MPI.IN_PLACE, vector, algorithm="ring", compress=text)
        expected = virtual.run(catalogue.get("ring"), brought, [Compression(text) for _ in range(SIZE)])
        assert got(vector).tobytes() == expected[RANK].astype(dtype).tobytes()


def test_one_vector_on_a_device_and_one_in_the_host_are_refused(comm: Communicator) -> None:
    device = Lazy()
    with using(device), pytest.raises(ValueError, match="bring both to one place"):
        comm.Allreduce(np.ones(4, np.float32), put(device, np.ones(4, np.float32)), compress="int8")


def test_nothing_on_a_device_is_nothing(comm: Communicator) -> None:
    device = Lazy()
    with using(device):
        comm.Allreduce(MPI.IN_PLACE, put(device, np.empty(0, np.float32)), compress="int8")
