from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels import norms

DTYPES = [np.dtype(name) for name in ("float64", "float32", "float16", ml_dtypes.bfloat16)]
SIZES = 0, 1, 255, 256, 257, 4095, 4096, 4097, 9000


def lanes_of(values: NDArray[np.float64]) -> float:
    """One piece, summed as the docstring of kernels.norms has it."""
    lanes = np.zeros(256)
    for first in range(0, values.size, 256):
        row = values[first : first + 256]
        lanes[: row.size] += row
    while lanes.size > 1:
        lanes = lanes[: lanes.size // 2] + lanes[lanes.size // 2 :]
    return float(lanes[0])


def pieces_of(values: NDArray[np.float64]) -> list[float]:
    return [lanes_of(values[first : first + 4096]) for first in range(0, values.size, 4096)]


def tree(arrays: Sequence[NDArray[Any]]) -> float:
    sums = [total for array in arrays for total in pieces_of(np.square(array.astype(np.float64)))]
    while len(sums) > 1:
        sums = pieces_of(np.array(sums))
    return sums[0] if sums else 0.0


def some(size: int, dtype: np.dtype[Any], seed: int = 0) -> NDArray[Any]:
    source = np.random.default_rng(seed)
    return (source.normal(size=size) * np.exp2(source.integers(-9, 9, size))).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_squares_are_summed_in_the_order_that_is_written_down(dtype: np.dtype[Any]) -> None:
    arrays = [some(size, dtype, seed) for seed, size in enumerate(SIZES)]
    for array in arrays:
        assert norms.number(norms.square_sum([array])) == tree([array])
    assert norms.number(norms.square_sum(arrays)) == tree(arrays)
    assert norms.number(norms.l2(arrays)) == math.sqrt(tree(arrays))


def test_sums_of_pieces_are_summed_in_pieces_too() -> None:
    values = some(4099, np.dtype(np.float32))
    arrays = [values[i : i + 1] for i in range(values.size)]
    assert norms.number(norms.square_sum(arrays)) == tree(arrays)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 6000), max_size=3), st.sampled_from(DTYPES), st.integers(0, 99))
def test_the_sum_of_squares_is_within_its_bound(sizes: list[int], dtype: np.dtype[Any], seed: int) -> None:
    arrays = [some(size, dtype, seed) for size in sizes]
    exact = math.fsum(float(value) ** 2 for array in arrays for value in array)
    assert abs(norms.number(norms.square_sum(arrays)) - exact) <= 64 * 2**-53 * exact


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_largest_magnitude_is_exact_and_a_nan_is_larger_than_infinity(dtype: np.dtype[Any]) -> None:
    one, other = some(1001, dtype), some(70, dtype, 1)
    other[3] = -1000
    assert norms.number(norms.absmax([one, other])) == max(abs(one.astype(float)).max(), 1000)
    assert norms.number(norms.absmax([np.full(3, -0.0, dtype)])) == 0
    other[69] = -np.inf
    assert norms.number(norms.absmax([one, other])) == np.inf
    one[0] = -np.nan
    assert math.isnan(norms.number(norms.absmax([one, other])))
    assert math.isnan(norms.number(norms.square_sum([one])))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_infinite_or_nan_is_counted(dtype: np.dtype[Any]) -> None:
    one, other = some(1001, dtype), some(70, dtype, 1)
    one[:2] = ml_dtypes.finfo(dtype).max, ml_dtypes.finfo(dtype).smallest_subnormal
    assert norms.number(norms.nonfinite([one, other])) == 0
    one[[5, 999]], other[69] = (np.nan, -np.inf), np.inf
    assert norms.number(norms.nonfinite([one, other])) == 3


def test_squares_of_float32_neither_overflow_nor_vanish() -> None:
    for value in (3e38, 1e-45):
        array = np.array([value], np.float32)
        assert norms.number(norms.l2([array])) == array[0]


def test_no_arrays_and_no_elements_have_norms_of_zero() -> None:
    nothing = np.empty(0, np.float32)
    for norm in (norms.square_sum, norms.l2, norms.absmax, norms.nonfinite):
        assert norms.number(norm([])) == norms.number(norm([nothing])) == norms.number(norm([nothing, nothing])) == 0


def test_arrays_of_any_shape_are_read_where_they_lie() -> None:
    values = some(4097 * 2, np.dtype(np.float32))
    values.flags.writeable = False
    assert norms.number(norms.l2([values.reshape(2, 4097)])) == norms.number(norms.l2([values]))


@pytest.mark.parametrize(
    ("array", "kind", "words"),
    [(np.zeros(4, np.int32), TypeError, "float64, float32"), (np.zeros((4, 4))[:, 1], ValueError, "contiguous copy"),
     (np.zeros(4, np.complex64), TypeError, "real parts"), ([1.0, 2.0], TypeError, "list is not on a device")],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_what_to_do(array: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        norms.square_sum([array])
