"""The emulated device: late streams, events, memory that is watched, and the traffic of a kernel."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.cuda import reduce
from tests.ptx.device import Emulated
from tests.ptx.faults import Fault
from tests.ptx.harness import empty, identical
from tests.ptx.races import READ, WRITE
from tests.ptx.small import copying


def test_late_work_is_done_when_somebody_waits_and_only_on_the_stream_that_is_waited_for() -> None:
    device = Emulated(delayed=True)
    one, other = device.stream(), device.stream()
    values = np.arange(8, dtype=np.float32)
    there, back = empty(device, 8, np.float32), np.zeros(8, np.float32)
    device.copy_in(there, values, one)
    device.copy_out(back, there, one)
    device.synchronize(other)
    assert not back.any()
    values[0] = 9  # the source must stay as it is until the copy is done: here that shows
    device.synchronize(one)
    assert back.tolist() == [9, 1, 2, 3, 4, 5, 6, 7]
    assert device.trace == [("copy in", one), ("copy out", one), ("synchronize", other), ("synchronize", one)]


def test_an_event_orders_two_streams_and_without_it_the_second_comes_too_early() -> None:
    for ordered in (True, False):
        device = Emulated(delayed=True)
        one, other = device.stream(), device.stream()
        values, back = np.ones(4, np.float32), np.zeros(4, np.float32)
        there = empty(device, 4, np.float32)
        device.copy_in(there, values, one)
        event = device.record(one)
        if ordered:
            device.wait(other, event)
        device.copy_out(back, there, other)
        if ordered:
            device.synchronize(other)
            assert back.all()
        else:
            with pytest.raises(Fault, match="nothing was ever written"):
                device.synchronize(other)


def test_asking_for_an_event_does_not_wait_but_gets_there() -> None:
    device = Emulated(delayed=True)
    there, values = empty(device, 4, np.float32), np.ones(4, np.float32)
    device.copy_in(there, values, 7)
    device.copy_in(there, values, 7)
    event = device.record(7)
    answers = [device.reached(event) for _ in range(4)]
    assert answers == [False, False, False, True]


def test_memory_lives_until_the_work_on_it_is_done() -> None:
    device = Emulated(delayed=True)
    source, out = device.array(np.zeros(64, np.float32)), empty(device, 64, np.float32)
    device.launch(copying(1), 1, [source.address, out.address, 64])
    del source
    device.synchronize(1)
    assert device.values(out).tolist() == [1.0] * 64


def test_a_copy_beyond_an_array_and_from_nothing_is_a_fault() -> None:
    device = Emulated()
    array = empty(device, 4, np.float32)
    with pytest.raises(Fault, match="a copy of 20 bytes to 16"):
        device.copy_in(array, np.zeros(5, np.float32), 1)
    with pytest.raises(Fault, match=r"a copy reads byte 0 of .*, where nothing was ever written"):
        device.copy_out(np.zeros(4, np.float32), array, 1)
    array.address += 8
    with pytest.raises(Fault, match="which are not the device's"):
        device.copy_in(array, np.zeros(4, np.float32), 1)


def test_a_kernel_that_reads_what_was_never_written_is_found_unless_others_write_by_address() -> None:
    for watched in (True, False):
        device = Emulated(watched=watched)
        left, right, out = (empty(device, 64, np.float32) for _ in range(3))
        device.copy_in(left, np.zeros(64, np.float32), 1)
        if watched:
            with pytest.raises(Fault, match=r"kernel sum_float32_2: .* reads 0x.*, where nothing was ever written"):
                reduce.fold("sum", [left, right], out)
        else:
            reduce.fold("sum", [left, right], out)


def test_a_reduction_reads_every_byte_once_by_128_bits_where_arrays_are_aligned() -> None:
    device, size = Emulated(), 20_000
    left, right = (np.full(size, number, np.float32) for number in (1, 2))
    out = empty(device, size, np.float32)
    reduce.fold("sum", [device.array(left), device.array(right)], out)
    identical(device.values(out), left + right)
    assert device.traffic == {(READ, 16): 8 * size, (WRITE, 16): 4 * size}
