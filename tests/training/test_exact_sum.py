"""Exact sums: no order, no grouping changes a bit, and what is lost is as little as is said."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from experiments.training import exact_sum

BITS = 62
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


def exactly(vectors: list[np.ndarray], groups: list[int]) -> np.ndarray:
    """The sum as ranks make it: each of ``groups`` by itself, and then all, in the order that they come in."""
    exponent = exact_sum.exponent(vectors)
    scale = 0 if not any(map(np.any, vectors)) else BITS - (len(vectors) - 1).bit_length() - exponent
    ends = np.cumsum(groups)[:-1]
    parts = [[vectors[i] for i in part] for part in np.split(np.arange(len(vectors)), ends)]
    whole = sum(exact_sum.total(part, scale, vectors[0].size) for part in parts)
    out = np.empty(vectors[0].size, np.float32)
    exact_sum.rounded(whole, scale, out)
    return out


@given(arrays.arrays(np.float32, st.tuples(st.integers(2, 9), st.integers(1, 5)), elements=FLOATS), st.data())
def test_neither_order_nor_groups_change_a_bit(rows: np.ndarray, data: st.DataObject) -> None:
    vectors = list(rows)
    order = data.draw(st.permutations(range(len(vectors))))
    first = data.draw(st.integers(0, len(vectors)))
    whole = exactly(vectors, [len(vectors)])
    assert exactly([vectors[i] for i in order], [first, len(vectors) - first]).tobytes() == whole.tobytes()


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=FLOATS))
def test_a_sum_is_off_by_half_a_unit_for_each_vector_and_its_rounding(rows: np.ndarray) -> None:
    found = exactly(list(rows), [len(rows)])
    unit = math.ldexp(1, exact_sum.exponent(list(rows)) + (len(rows) - 1).bit_length() - BITS) if rows.any() else 0
    for got, column in zip(found, rows.T, strict=True):
        true = math.fsum(column)
        assert abs(got - true) <= len(rows) / 2 * unit + abs(true) * 2**-24 + 2**-150


def test_the_largest_sums_do_not_overflow() -> None:
    largest = np.full(2, np.float32(1.9999999), np.float32)
    assert exactly([largest] * 1000, [1000]).tolist() == [np.float32(1000 * float(largest[0]))] * 2


def test_what_is_no_number_has_no_exponent() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        assert exact_sum.exponent([np.array([1, bad, 2], np.float32)]) is None
