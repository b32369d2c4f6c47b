"""Buckets and strided copies: everything arrives, nothing else is touched, and it comes back."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels import buckets
from kernels.layout import layout

DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.complex128)]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
arrays = st.lists(st.tuples(shapes, st.sampled_from(DTYPES)), min_size=1, max_size=8)


def filled(specification: list[tuple[tuple[int, ...], np.dtype[Any]]]) -> list[np.ndarray[Any, Any]]:
    """Arrays whose bytes are all different from zero, every second one transposed."""
    source = np.random.default_rng(1)
    found = []
    for index, (shape, dtype) in enumerate(specification):
        array = source.integers(1, 100, shape).astype(np.float32).astype(dtype)
        found.append(np.asfortranarray(array) if index % 2 else array)
    return found


@settings(max_examples=40)
@given(specification=arrays, limit=st.integers(1, 2000))
def test_what_is_packed_comes_back_and_gaps_are_zero(specification: Any, limit: int) -> None:
    given_arrays = filled(specification)
    planned = buckets.plan([a.shape for a in given_arrays], [a.dtype for a in given_arrays], limit_bytes=limit)
    assert sorted(index for bucket in planned for index in bucket.indices) == list(range(len(given_arrays)))
    returned = [np.full_like(array, 255) for array in given_arrays]
    for bucket in planned:
        buffer = np.full(bucket.size, 255, bucket.dtype)
        bucket.pack(given_arrays, buffer)
        total = sum(given_arrays[index].size for index in bucket.indices)
        assert np.count_nonzero(buffer) == total
        bucket.unpack(buffer, returned)
    for array, other in zip(given_arrays, returned, strict=True):
        np.testing.assert_array_equal(array, other)


@given(specification=arrays, limit=st.integers(1, 2000))
def test_buckets_are_of_one_dtype_within_the_limit_aligned_and_as_few_as_the_order_allows(
    specification: Any, limit: int
) -> None:
    planned = buckets.plan(
        [shape for shape, _ in specification], [dtype for _, dtype in specification], limit_bytes=limit
    )
    for bucket in planned:
        assert {specification[index][1] for index in bucket.indices} == {bucket.dtype}
        assert bucket.nbytes <= limit or len(bucket.indices) == 1
        assert all(start * bucket.dtype.itemsize % buckets.ALIGNMENT == 0 for start in (*bucket.offsets, bucket.size))
        assert list(bucket.indices) == sorted(bucket.indices)
    for dtype in DTYPES:
        mine = [bucket for bucket in planned if bucket.dtype == dtype]
        for bucket, following in pairwise(mine):
            size = following.offsets[1] if len(following.offsets) > 1 else following.size
            assert bucket.nbytes + size * dtype.itemsize > limit


@pytest.mark.parametrize("index", [np.s_[:], np.s_[::2, 1:, ::-1], np.s_[:, 2], np.s_[..., None, 1], np.s_[2:2]])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (2, 1, 0)])
def test_strided_arrays_are_packed_in_c_order_and_unpacked_in_place(index: Any, order: tuple[int, ...]) -> None:
    whole = np.arange(5 * 6 * 7, dtype=np.int32).reshape(5, 6, 7).transpose(order)
    part = whole[index]
    flat = np.empty(part.size, np.int32)
    buckets.pack_strided(part, flat)
    np.testing.assert_array_equal(flat, part.ravel())
    inside = np.zeros(whole.shape, bool)
    inside[index] = True
    before = whole.copy()
    buckets.unpack_strided(-flat, part)
    np.testing.assert_array_equal(whole, np.where(inside, -before, before))


@settings(max_examples=60)
@given(
    shape=hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), data=st.data(),
    itemsize=st.sampled_from([1, 2, 4, 8, 12, 16]), address=st.sampled_from([0, 4, 8, 256]),
)  # fmt: skip
def test_a_layout_copies_each_byte_of_an_array_once(shape: Any, data: Any, itemsize: int, address: int) -> None:
    whole = np.zeros([2 * n for n in shape], np.dtype((np.void, itemsize)))
    steps = data.draw(st.tuples(*(st.sampled_from([1, 2, -1]) for _ in shape)))
    array = whole[
        tuple(
            slice(0, n * step, step) if step > 0 else slice(n - 1, None, -1)
            for n, step in zip(shape, steps, strict=True)
        )
    ]
    array = array.transpose(data.draw(st.permutations(range(len(shape)))))
    flat = np.empty(array.shape, array.dtype)
    how = layout(array.shape, array.strides, flat.strides, itemsize, addresses=address, largest=16)
    assert address % how.unit == 0
    here, there = np.zeros(1, int), np.zeros(1, int)
    for axis in how.axes:
        here = (here[:, None] + axis.source * np.arange(axis.length)).ravel()
        there = (there[:, None] + axis.target * np.arange(axis.length)).ravel()
        assert axis.source % how.unit == axis.target % how.unit == 0
    bytes_of = np.add.outer(there, np.arange(how.unit)).ravel()
    assert sorted(bytes_of) == list(range(flat.nbytes))
    # byte b of the flat side is byte b % itemsize of its element, whose place in the array NumPy computes
    element = np.array(np.unravel_index(bytes_of // itemsize, array.shape)).T @ np.array(array.strides)
    assert (np.add.outer(here, np.arange(how.unit)).ravel() == element + bytes_of % itemsize).all()


def test_a_contiguous_copy_is_one_loop_over_the_largest_words() -> None:
    how = layout((4, 6, 8), (192, 32, 4), (192, 32, 4), 4, addresses=0, largest=16)
    assert (how.unit, how.words, len(how.axes)) == (16, 48, 1)
    assert layout((64, 64), (4, 256), (256, 4), 4, addresses=0, largest=16).transposed


flat12, square = np.empty(12, np.float32), np.empty((3, 4), np.float32)
bucket = buckets.plan([(3, 4), (2,)], ["f4", "f4"], limit_bytes=1000)[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: buckets.pack_strided(square, flat12[:11]), "12 float32 elements on one side and 11 float32"),
        (lambda: buckets.pack_strided(square, np.empty(12)), "on one side and 12 float64"),
        (lambda: buckets.pack_strided(square, np.empty(24, np.float32)[::2]), "1-D and contiguous"),
        (lambda: buckets.unpack_strided(square.ravel(), square), "may overlap"),
        (lambda: bucket.pack([square, np.empty(2, np.float32)], np.empty(3, np.float32)), "needs 16 float32"),
        (lambda: bucket.pack([square], np.empty(16, np.float32)), "1 arrays where the plan has one with index 1"),
        (lambda: bucket.unpack(np.empty(16, np.float32), [square.T, flat12[:2]]), r"array 0 is float32 \(4, 3\)"),
        (lambda: buckets.plan([(3,)], [], limit_bytes=5), "1 shapes and 0 dtypes"),
        (lambda: buckets.plan([(3,)], ["f4"], limit_bytes=0), "limit_bytes must be at least 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
