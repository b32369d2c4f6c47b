"""Norms in the PTX interpreter: the same bits as on the CPU, whatever the grid, and no waiting unasked."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import norms
from kernels.device_array import LEGACY
from tests.ptx.device import Emulated

DTYPES = [np.dtype(name) for name in ("float64", "float32", "float16", ml_dtypes.bfloat16)]
ALL = norms.square_sum, norms.l2, norms.absmax, norms.nonfinite


def some(size: int, dtype: np.dtype[Any], seed: int) -> NDArray[Any]:
    source = np.random.default_rng(seed)
    return (source.normal(size=size) * np.exp2(source.integers(-9, 9, size))).astype(dtype)


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_forms_agree_to_the_last_bit(dtype: np.dtype[Any]) -> None:
    device = Emulated()
    arrays = [some(size, dtype, size) for size in (3 * 4096, 0, 1, 4097, 600)]
    there = [device.array(array, offset=offset * dtype.itemsize) for offset, array in enumerate(arrays)]
    for seed in range(12):  # another order, or another rounding, would give the same sum now and then
        few = some(513, dtype, seed)
        if seed % 2:  # a lane alone, for in the sum of all lanes' sums a bit of its own is lost
            few = np.zeros(4096, dtype)
            few[seed::256] = np.random.default_rng(seed).normal(size=16).astype(dtype)
        assert norms.number(norms.square_sum([device.array(few)])) == norms.number(norms.square_sum([few]))
    assert norms.number(norms.square_sum(there)) == norms.number(norms.square_sum(arrays))
    for bad in (ml_dtypes.finfo(dtype).max, -np.inf, np.nan):
        arrays[3][4096] = bad
        there[3] = device.array(arrays[3], offset=dtype.itemsize)
        for norm in ALL[1:]:
            assert same(norms.number(norm(there)), norms.number(norm(arrays))), (norm, bad)


def test_the_answer_does_not_depend_on_the_grid() -> None:
    values = some(20 * 4096 + 77, np.dtype(np.float32), 0)
    found = set()
    for multiprocessors in (1, 2, 5):
        device = Emulated()
        device.multiprocessors = multiprocessors
        found.add(norms.number(norms.square_sum([device.array(values)])))
    assert found == {norms.number(norms.square_sum([values]))}


def test_the_answer_stays_on_the_device_until_it_is_asked_for() -> None:
    device = Emulated(delayed=True)
    values = some(5000, np.dtype(np.float32), 0)
    stream = device.stream()
    found = norms.l2([device.array(values).on(stream)])
    assert {queue for _, queue in device.trace} == {stream}
    assert "synchronize" not in [what for what, _ in device.trace]
    assert norms.number(found) == norms.number(norms.l2([values]))


def test_arrays_of_other_streams_are_waited_for_and_wait() -> None:
    device = Emulated(delayed=True)
    values, zeros = some(300, np.dtype(np.float32), 0), np.zeros(300, np.float32)
    here, late = device.array(zeros), device.array(zeros).on(device.stream())
    device.copy_in(late, values, late.stream)
    assert norms.number(norms.square_sum([here, late])) == norms.number(norms.square_sum([values]))
    found = norms.square_sum([here, late])
    device.copy_in(late, zeros, late.stream)
    device.synchronize(late.stream)  # the zeros are there, and must not have been read
    assert found.stream == LEGACY
    assert norms.number(found) == norms.number(norms.square_sum([values]))


def test_arrays_at_two_places_or_at_odd_addresses_are_refused() -> None:
    device = Emulated()
    there = device.array(np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="one place"):
        norms.l2([there, np.zeros(4, np.float32)])
    with pytest.raises(ValueError, match="address"):
        norms.l2([there.view(np.uint8)[1:5].view(np.float32)])
