"""Reductions of several inputs, averages and scale-and-add, against NumPy's arithmetic done in the same order."""

from __future__ import annotations

import subprocess
import sys
from functools import reduce as folded
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import reduce

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
HALVES = np.dtype(np.float16), BFLOAT16


def product(left: Any, right: Any) -> Any:
    """Complex numbers without fused operations, which NumPy uses on some processors."""
    if left.dtype.kind != "c":
        return left * right
    result = np.empty_like(left)
    result.real = left.real * right.real - left.imag * right.imag
    result.imag = left.real * right.imag + left.imag * right.real
    return result


FUNCTIONS = {"sum": np.add, "prod": product, "min": np.minimum, "max": np.maximum, "bxor": np.bitwise_xor,
             "lxor": np.logical_xor}  # fmt: skip
# Operations and dtypes so that each piece of arithmetic occurs, at few compilations.
CASES = [
    ("sum", "float64", 3), ("sum", "int8", 3), ("prod", "complex64", 3), ("prod", "float16", 3), ("min", "uint16", 2),
    ("max", "int16", 2), ("max", "float32", 3), ("min", "bfloat16", 3), ("bxor", "uint32", 2), ("lxor", "bool", 3),
]  # fmt: skip


def numbers(source: np.random.Generator, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Any bits for integers; for floating point every magnitude, with some NaN and infinities among them."""
    if dtype.kind == "b":
        return source.integers(0, 2, count).astype(dtype)
    if dtype.kind in "iu":
        return source.integers(0, 256, count * dtype.itemsize, dtype=np.uint8).view(dtype)
    parts = source.standard_normal(2 * count) * 2.0 ** source.integers(-20, 20, 2 * count)
    parts[source.random(2 * count) < 0.02] = source.choice([np.nan, np.inf, -np.inf, 0.0])
    with np.errstate(over="ignore", invalid="ignore"):
        return (parts[:count] + 1j * parts[count:]).astype(dtype) if dtype.kind == "c" else parts[:count].astype(dtype)


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype in HALVES else dtype


def in_order(name: str, inputs: list[Any]) -> Any:
    """What the documentation says: from the left, halves in float32 and rounded once."""
    dtype = inputs[0].dtype
    with np.errstate(all="ignore"):
        return folded(FUNCTIONS[name], [array.astype(wide(dtype)) for array in inputs]).astype(dtype)


def placed(array: Any, offset: int) -> Any:
    """A copy that begins ``offset`` elements behind a line of cache."""
    room = np.empty(array.nbytes + 64 + offset * array.itemsize, np.uint8)
    start = -room.ctypes.data % 64 + offset * array.itemsize
    copy = room[start : start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def same(found: Any, expected: Any) -> None:
    """Equal bit for bit, but for which NaN, and which zero ``min`` and ``max`` choose."""
    assert found.dtype == expected.dtype
    if found.dtype == BFLOAT16:
        found, expected = found.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("name", "dtype", "inputs"), CASES)
def test_a_fold_is_what_numpy_computes_in_the_same_order(name: str, dtype: str, inputs: int) -> None:
    kind = np.dtype(BFLOAT16 if dtype == "bfloat16" else dtype)

    @given(st.integers(0, 300), st.integers(0, 9), st.integers(-1, inputs - 1), st.integers(0, 99))
    @settings(max_examples=25)
    def check(count: int, offset: int, in_place: int, seed: int) -> None:
        source = np.random.default_rng(seed)
        arrays = [placed(numbers(source, count, kind), offset + place) for place in range(inputs)]
        expected, before = in_order(name, arrays), [array.copy() for array in arrays]
        out = placed(np.zeros(count, kind), offset) if in_place < 0 else arrays[in_place]
        if inputs == 2:
            reduce.get(name).on(kind)(*arrays, out)
        else:
            reduce.get(name).fold(arrays, out)
        same(out, expected)
        for place, (array, old) in enumerate(zip(arrays, before, strict=True)):
            if place != in_place:
                same(array, old)

    check()


def test_halves_are_rounded_once_whatever_their_number() -> None:
    # Rounded at every step, 1 + 1/4096 would stay 1 in float16 each time.
    inputs = [np.ones(40, np.float16), *(np.full(40, 2.0**-12, np.float16) for _ in range(11))]
    out = np.empty_like(inputs[0])
    reduce.get("sum").fold(inputs, out)
    same(out, np.full(40, np.float16(1 + 11 * 2.0**-12)))
    assert (out > 1).all()


@pytest.mark.parametrize("dtype", [np.dtype(np.float64), np.dtype(np.float16), np.dtype(np.complex64)], ids=str)
def test_an_average_is_the_sum_times_the_reciprocal(dtype: np.dtype[Any]) -> None:
    source, scale = np.random.default_rng(5), wide(dtype).type(1 / 3).real
    inputs = [numbers(source, 101, dtype) for _ in range(3)]
    with np.errstate(all="ignore"):
        total = folded(np.add, [array.astype(wide(dtype)) for array in inputs])
        parts = total.view(scale.dtype) * scale  # a complex number times a real one, part by part
        expected = parts.view(total.dtype).astype(dtype)
    reduce.average(inputs, inputs[1])
    same(inputs[1], expected)


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), BFLOAT16], ids=str)
def test_scale_and_add_rounds_the_product_and_the_sum(dtype: np.dtype[Any]) -> None:
    source, scale = np.random.default_rng(6), 1 / 3
    left, right = (numbers(source, 1001, dtype) for _ in range(2))
    with np.errstate(all="ignore"):
        expected = (left.astype(np.float32) + np.float32(scale) * right.astype(np.float32)).astype(dtype)
    reduce.scale_add(left, right, scale, left)
    same(left, expected)


def test_integers_are_scaled_by_integers_and_wrap() -> None:
    left, right = np.array([100, -128, 5], np.int8), np.array([10, 1, -7], np.int8)
    reduce.scale_add(left, right, -3, left)
    assert left.tolist() == [70, 125, 26]
    with pytest.raises(TypeError, match="integer"):
        reduce.scale_add(left, right, 0.5, left)
    with pytest.raises(OverflowError):
        reduce.scale_add(left, right, 128, left)


def test_a_large_result_written_past_the_caches_is_the_same() -> None:
    from kernels.cpu.arrays import last_cache

    count = last_cache() // 8 // 3 + 77  # two inputs and the result fill more than half of the cache
    source = np.random.default_rng(7)
    left, right, out = (placed(source.standard_normal(count, np.float32), offset) for offset in (0, 1, 3))
    reduce.get("sum").fold((left, right), out)
    np.testing.assert_array_equal(out, left + right)


def test_pairs_are_folded_in_turn_even_into_the_last() -> None:
    pair = np.dtype("f8,i4", align=True)
    inputs = [np.array([(value, place)], pair) for place, value in enumerate([2.0, 5.0, 5.0, 1.0])]
    reduce.get("maxloc").fold(inputs, inputs[3])
    assert inputs[3].tolist() == [(5.0, 1)]
    assert inputs[0].tolist() == [(2.0, 0)]


def test_inputs_may_be_read_only() -> None:
    data = np.frombuffer(np.arange(9, dtype=np.float64).tobytes(), np.float64)
    out = np.empty(9)
    reduce.get("sum").fold((data, data, data), out)
    assert out.tolist() == [3 * value for value in range(9)]
    with pytest.raises(ValueError, match="out is read-only"):
        reduce.get("sum").fold((data, data, data), data)


def test_a_process_that_adds_in_place_loads_no_compiler() -> None:
    program = (
        "import sys, numpy, kernels.reduce as reduce\n"
        "a = numpy.ones(9, numpy.float32)\n"
        "reduce.get('sum')(a, a, a)\n"
        "assert 'numba' not in sys.modules and 'llvmlite' not in sys.modules\n"
        "reduce.get('sum').fold((a, a, a), a)\n"
        "assert 'numba' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


A, B = np.zeros(8), np.zeros(9)


@pytest.mark.parametrize(
    ("inputs", "out", "complaint"),
    [
        ((A, B[:8], B), A, "an input of 9 elements and an out of 8"),
        ((A, A.astype(np.float32), A), A, "one dtype, not float32 and float64"),
        ((A, B[:8], A), B[1:], "overlaps an input in part"),
        ((A, np.zeros(16)[::2], A), A, r"contiguous.*shape \(8,\) and strides \(16,\)"),
        ((A, A.reshape(2, 4), A), A, "of one dimension"),
        ((A, [1.0] * 8, A), A, "a list among NumPy arrays"),
        ((), A, "at least one input"),
    ],
    ids=["length", "dtype", "overlap", "strided", "shape", "list", "none"],
)
def test_what_does_not_go_together_is_refused_in_words(inputs: Any, out: Any, complaint: str) -> None:
    before = out.copy()
    with pytest.raises((TypeError, ValueError), match=complaint):
        reduce.get("sum").fold(inputs, out)
    np.testing.assert_array_equal(out, before)


def test_two_inputs_are_refused_in_words_too() -> None:
    add, out = reduce.get("sum").on(A.dtype), np.ones(8)
    with pytest.raises(ValueError, match="an input of 9 elements and an out of 8"):
        add(A, B, out)
    with pytest.raises(ValueError, match="overlaps an input in part"):
        add(A, B[1:], B[:8])
    with pytest.raises(TypeError, match="one dtype"):
        add(A, A.astype(np.int64), out)
    np.testing.assert_array_equal(out, np.ones(8))


def test_halves_do_not_pass_for_each_other_or_for_integers() -> None:
    half, brain, word = (np.zeros(8, dtype) for dtype in (*HALVES, np.uint16))
    for other in (brain, word):
        with pytest.raises(TypeError, match="one dtype"):
            reduce.get("sum")(half, other, half)
        with pytest.raises(TypeError, match="one dtype"):
            reduce.get("sum").fold((half, other, half), half)


def test_what_is_not_defined_is_refused() -> None:
    with pytest.raises(TypeError, match="min is not defined for complex64"):
        reduce.get("min").fold([np.zeros(3, np.complex64)], np.zeros(3, np.complex64))
    with pytest.raises(TypeError, match="min is not defined for complex64"):
        reduce.get("min").on(np.dtype(np.complex64))
    with pytest.raises(TypeError, match="average is not defined for int32"):
        reduce.average([np.zeros(3, np.int32)], np.zeros(3, np.int32))
