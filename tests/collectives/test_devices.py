"""Arrays in device memory, read by protocol: what is taken as it is, what is packed, brought together or refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from collectives import buffers, devices, memory, places
from collectives.buffers import Block
from collectives.memory import Workspace
from kernels.cuda.device import using
from kernels.device_array import LEGACY, DeviceArray
from tests.lazy_device import Lazy, got, octets, put


@pytest.fixture
def device() -> Iterator[Lazy]:
    with using(Lazy()) as chosen:
        yield chosen


class Array:
    """An array of some library: ``array`` gives shape and dtype, the memory is the device's."""

    def __init__(self, device: Lazy, array: np.ndarray, stream: int | None = 5, **changes: object) -> None:
        self.placed = put(device, array)
        whole = {"shape": array.shape, "typestr": array.dtype.str, "strides": None, "version": 3, "stream": stream}
        self.__cuda_array_interface__ = {**whole, "data": (self.placed.address, False), **changes}


class Tensor:
    """What PyTorch shows: DLPack on a CUDA device, with the capsule of a NumPy array over the same memory."""

    def __init__(self, device: Lazy, array: np.ndarray) -> None:
        self.device, self.placed, self.like = device, put(device, array), array
        self.asked: dict[str, object] = {}

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **asked: object) -> object:
        self.asked = asked
        shown = octets(self.placed).view(self.like.dtype).reshape(self.like.shape)
        return shown.__dlpack__(max_version=(1, 0))


def block(buffer: object, *, writable: bool = False) -> Block:
    return buffers.block(buffer, writable=writable)


def test_contiguous_arrays_are_taken_as_they_are_on_their_stream(device: Lazy) -> None:
    values = np.arange(6.0).reshape(2, 3)
    for strides in (None, (24, 8), (8, 16)):
        array = Array(device, values, strides=strides)
        taken = block(array, writable=True)
        assert isinstance(taken.octets, DeviceArray)
        assert (taken.octets.address, taken.octets.stream, taken.count) == (array.placed.address, 5, 6)
        taken.finish()
    assert device.log == []  # no copy, and nothing to wait for: all goes on in the order of that stream


def test_who_names_no_stream_gets_a_result_that_is_there(device: Lazy) -> None:
    array = Array(device, np.arange(4.0), stream=None)
    taken = block(array, writable=True)
    device.copy(taken.octets, put(device, np.ones(4)).view(np.uint8), taken.octets.stream)
    taken.finish()
    assert octets(array.placed).view(np.float64).tolist() == [1, 1, 1, 1]


def test_a_tensor_is_asked_to_be_ready_for_our_stream(device: Lazy) -> None:
    tensor = Tensor(device, np.arange(5, dtype=np.int32))
    taken = block(tensor, writable=True)
    assert tensor.asked["stream"] == LEGACY
    assert (taken.octets.address, taken.octets.stream) == (tensor.placed.address, LEGACY)
    assert (taken.element.dtype, taken.count) == (np.int32, 5)
    taken.finish()
    assert device.log == [f"synchronize {LEGACY}"]


def test_bfloat16_has_no_name_in_the_interface_but_in_ours(device: Lazy) -> None:
    array = put(device, np.array([1.5, 2], ml_dtypes.bfloat16))
    assert (block(array).element.key, block(array).array.dtype) == ("bfloat16", ml_dtypes.bfloat16)


def test_memory_that_the_host_reaches_is_used_when_its_stream_is_done(device: Lazy) -> None:
    managed, target = np.zeros(4), np.ones(4)
    device.queue(5, lambda: np.copyto(managed, target), "work")
    shown = Array(device, managed, data=(managed.ctypes.data, False))
    assert block(shown).array.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": np.zeros(4)}, "masked"),
        ({"data": None}, "not writable"),
    ],
)
def test_what_cannot_take_part_is_refused_and_not_left_to_mpi(
    device: Lazy, changes: dict[str, Any], message: str
) -> None:
    array = Array(device, np.zeros(4))
    facts = array.__cuda_array_interface__
    facts.update(changes if "mask" in changes else {"data": (array.placed.address, True)})
    with pytest.raises(devices.Unfit, match=message):
        block(array, writable=True)
    assert buffers.on_device([array, 4])
    with pytest.raises(devices.Unfit, match="read-only"):
        block(DeviceArray(array.placed.address, 4, np.dtype("f8"), device, None, read_only=True), writable=True)


def test_an_array_of_another_card_is_told(device: Lazy, monkeypatch: pytest.MonkeyPatch) -> None:
    def owns(address: int) -> bool:
        raise BufferError("the array is on card 1, and this thread works on card 0")

    monkeypatch.setattr(device, "owns", owns)
    with pytest.raises(devices.Unfit, match="card 1"):
        block(Array(device, np.zeros(4)))
    assert buffers.on_device(Array(device, np.zeros(4)))


def test_a_derived_datatype_and_an_unknown_dtype_are_declined(device: Lazy) -> None:
    with pytest.raises(buffers.Declined, match="not known"):
        block(Array(device, np.zeros(4, "M8[s]")))


# --- two buffers ------------------------------------------------------------------------------------------------------


def test_buffers_in_two_places_are_refused_and_empty_ones_go_along(device: Lazy) -> None:
    here, there, other = np.zeros(4), put(device, np.zeros(4)), put(Lazy(), np.zeros(4))
    for one, two in ((here, there), (there, here), (there, other)):
        with pytest.raises(ValueError, match=r"sendbuf is .* and recvbuf .*: bring both to one place"):
            places.joined(block(one), block(two))
    send, recv = places.joined(block(there), block(np.empty(0)))
    assert isinstance(recv.octets, DeviceArray)
    send, recv = places.joined(block(np.empty(0)), block(there))
    assert isinstance(send.octets, DeviceArray)
    assert send.octets.device is device


def test_two_streams_wait_for_each_other(device: Lazy) -> None:
    """The send buffer is ready before we read it, and not written before we have read it."""
    send, recv = put(device, np.zeros(4), 8), put(device, np.zeros(4), 9)
    device.copy(send, put(device, np.full(4, 3.0)), 8)
    one, two = places.joined(block(send), block(recv, writable=True))
    assert one.octets.stream == two.octets.stream == 9
    memory.copy(two.octets, one.octets)
    two.finish()
    device.copy(send, put(device, np.full(4, 5.0)), 8)
    assert got(send).tolist() == [5, 5, 5, 5]  # this stream runs first, and lets the other have its turn
    assert octets(recv).view(np.float64).tolist() == [3, 3, 3, 3]


def test_copies_that_overlap(device: Lazy) -> None:
    array = put(device, np.arange(8.0))
    memory.copy(array[2:], array[:6])
    assert got(array).tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
    count = len(device.log)
    memory.copy(array, array)
    assert len(device.log) == count


def test_work_memory_is_kept_and_waits_for_the_stream_that_had_it(device: Lazy) -> None:
    work, result = Workspace(), put(device, np.zeros(4), 8)
    with work.borrowed(4, np.dtype("f8"), result) as first:
        device.copy(first, put(device, np.full(4, 1.0)), 8)
        device.copy(result, first, 8)
    with work.borrowed(4, np.dtype("f8"), result.on(9)) as second:
        assert second.address == first.address
        device.copy(second, put(device, np.full(4, 2.0)), 9)
    assert got(second).tolist() == [2, 2, 2, 2]
    assert got(result).tolist() == [1, 1, 1, 1]


def test_to_the_host_and_back(device: Lazy) -> None:
    array = put(device, np.arange(4.0), 8)
    device.copy(array, put(device, np.full(4, 7.0)), 8)
    host = places.in_the_host(block(array, writable=True), writable=True)
    assert host.array.tolist() == [7, 7, 7, 7]
    host.array[:] = 9
    host.finish()
    assert got(array).tolist() == [9, 9, 9, 9]
    assert places.in_the_host(host, writable=True) is host
