"""How the CUDA forms are held against the CPU forms: arrays at odd places and of odd lengths, and strict comparison.

for size, offsets in RAGGED:
    left, right, out = placed(device, [a[:size], b[:size]], offsets)
    reduce.fold("sum", [left, right], out)
    identical(device.values(out), expected[:size])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.device_array import DeviceArray
from tests.ptx.device import Emulated

__all__ = ["RAGGED", "empty", "identical", "placed", "ulps", "within"]

RAGGED: tuple[tuple[int, tuple[int, ...]], ...] = (
    (1, (0, 0, 0)), (3, (1, 1, 1)), (16, (0, 0, 0)), (17, (15, 15, 15)), (61, (1, 2, 3)), (63, (3, 3, 3)),
    (255, (0, 0, 1)), (1003, (1, 1, 1)), (4096, (0, 0, 0)), (20_011, (5, 5, 5)),
)  # fmt: skip
"""Numbers of elements, and how many elements each of three arrays lies after an address that is a multiple of 256."""


def placed(
    device: Emulated, inputs: Sequence[NDArray[Any]], offsets: Sequence[int], out: np.dtype[Any] | None = None
) -> list[DeviceArray]:
    """The inputs on the device, each ``offsets`` elements after an aligned address, and last an array for the result.

    The result has the first input's length, and its dtype unless another is given; nothing is written in it yet.
    """
    arrays = [device.array(each, offset=offset * each.itemsize) for each, offset in zip(inputs, offsets, strict=False)]
    return [*arrays, empty(device, inputs[0].size, out or inputs[0].dtype, offsets[len(inputs) % len(offsets)])]


def empty(device: Emulated, size: int, dtype: np.dtype[Any] | type[Any], offset: int = 0) -> DeviceArray:
    """An array in which nothing was ever written, ``offset`` elements after an aligned address."""
    kind = np.dtype(dtype)
    return device.allocate((size + offset) * kind.itemsize)[offset * kind.itemsize :].view(kind)


def identical(got: NDArray[Any], expected: NDArray[Any]) -> None:
    """AssertionError unless all bits are equal (any NaN is equal to any other), with the first that differs."""
    _alike(got, expected)
    wrong = (_bits(got) != _bits(expected)).any(axis=1) & ~_both_nan(got, expected)
    if wrong.any():
        _differ(got, expected, int(np.argmax(wrong)), f"{int(wrong.sum())} of {wrong.size} elements differ")


def within(got: NDArray[Any], expected: NDArray[Any], limit: int) -> None:
    """AssertionError unless each element is at most ``limit`` units in the last place off, with the worst that is."""
    _alike(got, expected)
    off = ulps(got, expected)
    if off.size and off.max() > limit:
        _differ(got, expected, int(np.argmax(off)), f"up to {int(off.max())} ulp off, where {limit} are allowed")


def ulps(got: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.int64]:
    """How many numbers of their format two floats are apart; 0 for two NaN, very many for a NaN and a number."""
    far = np.iinfo(np.int64).max
    distance = np.abs(_ranked(got) - _ranked(expected))
    one_nan = (got != got) ^ (expected != expected)
    return np.where(_both_nan(got, expected), 0, np.where(one_nan, far, distance))


def _ranked(values: NDArray[Any]) -> NDArray[np.int64]:
    """Whole numbers in the order of the floats, one apart for neighbours; both zeros are 0."""
    bits = values.view(f"i{values.itemsize}").astype(np.int64)
    lowest = -(1 << (8 * values.itemsize - 1))
    return np.where(bits < 0, lowest - bits, bits)


def _alike(got: NDArray[Any], expected: NDArray[Any]) -> None:
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype), (
        f"{got.dtype}{got.shape} in the place of {expected.dtype}{expected.shape}"
    )


def _bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values).view(np.uint8).reshape(values.size, values.itemsize)


def _both_nan(got: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((got != got) & (expected != expected))


def _differ(got: NDArray[Any], expected: NDArray[Any], where: int, words: str) -> None:
    bits = " and ".join(_bits(values)[where][::-1].tobytes().hex() for values in (got, expected))
    raise AssertionError(f"{words}; element {where} is {got[where]!r}, not {expected[where]!r} (bits {bits})")
