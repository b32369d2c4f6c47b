"""Reductions against plain Python, for every dtype that MPI defines them for, and against what MPI defines."""

from __future__ import annotations

import operator
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels import reduce

INTEGERS = [np.dtype(code) for code in "bBhHiIlLqQ"]
FLOATS = [np.dtype(code) for code in "efdg"] + [np.dtype(ml_dtypes.bfloat16)]
COMPLEX = [np.dtype(code) for code in "FDG"]
PAIRS = [np.dtype(codes, align=True) for codes in ("f4,i4", "f8,i4", "i8,i4", "i4,i4", "i2,i4", "g,i4")]
LOGICAL = [np.dtype(np.bool_)]
ALLOWED = {
    **dict.fromkeys(("min", "max"), INTEGERS + FLOATS),
    **dict.fromkeys(("sum", "prod"), INTEGERS + FLOATS + COMPLEX),
    **dict.fromkeys(("land", "lor", "lxor"), INTEGERS + LOGICAL),
    **dict.fromkeys(("band", "bor", "bxor"), INTEGERS),
    **dict.fromkeys(("minloc", "maxloc"), PAIRS),
}
PYTHON = {
    "sum": operator.add, "prod": operator.mul, "min": min, "max": max,
    "land": lambda a, b: bool(a) and bool(b), "lor": lambda a, b: bool(a) or bool(b),
    "lxor": lambda a, b: bool(a) != bool(b), "band": operator.and_, "bor": operator.or_, "bxor": operator.xor,
    "minloc": min, "maxloc": lambda a, b: max(a, b, key=lambda pair: (pair[0], -pair[1])),
}  # fmt: skip
EVERY = [(name, dtype) for name, dtypes in ALLOWED.items() for dtype in dtypes]


def vector(seed: int, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Small whole numbers, so that every dtype computes exactly and pairs tie often."""
    source = np.random.default_rng(seed)
    out = np.empty(count, dtype)
    for column in [out[name] for name in dtype.names] if dtype.names else [out]:
        column[:] = source.integers(0, 5, count).astype(column.dtype)
    return out


@pytest.mark.parametrize(("name", "dtype"), EVERY, ids=str)
@pytest.mark.parametrize("count", [0, 1, 67])
def test_each_operation_is_what_python_computes(name: str, dtype: np.dtype[Any], count: int) -> None:
    left, right = vector(1, count, dtype), vector(2, count, dtype)
    expected = np.array([PYTHON[name](a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True)], dtype)
    reduction = reduce.get(name)
    assert reduction.supports(dtype)
    out = np.empty_like(left)
    reduction(left, right, out)
    np.testing.assert_array_equal(out, expected)
    in_left, in_right = left.copy(), right.copy()
    reduction(in_left, right, in_left)
    reduction(left, in_right, in_right)
    np.testing.assert_array_equal(in_left, expected)
    np.testing.assert_array_equal(in_right, expected)


@pytest.mark.parametrize("name", reduce.names())
def test_it_takes_what_mpi_defines_and_nothing_else(name: str) -> None:
    others = [np.dtype("O"), np.dtype("S1"), np.dtype("U1"), np.dtype("M8[s]"), np.dtype("f4,f4"), np.dtype("i4,i4,i4")]
    for dtype in INTEGERS + FLOATS + COMPLEX + LOGICAL + PAIRS + others:
        assert reduce.get(name).supports(dtype) == (dtype in ALLOWED[name])


def test_the_names_are_mpis_predefined_operations() -> None:
    assert sorted(reduce.names()) == sorted(ALLOWED)
    assert all(reduce.get(name).commutative and reduce.get(name).name == name for name in reduce.names())


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(KeyError, match="no reduction is called 'avg'; known: max, min, sum"):
        reduce.get("avg")


@pytest.mark.parametrize("name", ["min", "max"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nan_wins_from_either_side(name: str, dtype: np.dtype[Any]) -> None:
    left, right = np.array([np.nan, 1, np.nan], dtype), np.array([1, np.nan, np.nan], dtype)
    with np.errstate(invalid="ignore"):  # bfloat16 warns here, the others do not
        reduce.get(name)(left, right, left)
    assert np.isnan(left.astype(np.float64)).all()


values = st.sampled_from([np.nan, -np.inf, -1.0, -0.0, 0.0, 1.0, np.inf])
pairs = hnp.arrays(PAIRS[1], 6, elements=st.tuples(values, st.integers(0, 3)))


@pytest.mark.parametrize("name", ["minloc", "maxloc"])
@given(a=pairs, b=pairs, c=pairs)
def test_locating_is_associative_and_commutative_even_with_nan(name: str, a: Any, b: Any, c: Any) -> None:
    def combined(left: Any, right: Any) -> Any:
        out = np.empty_like(left)
        reduce.get(name)(left, right, out)
        return out

    for one, other in (combined(combined(a, b), c), combined(a, combined(b, c))), (combined(a, b), combined(b, a)):
        np.testing.assert_array_equal(one["f0"], other["f0"])
        np.testing.assert_array_equal(one["f1"], other["f1"])


@pytest.mark.parametrize("name", ["minloc", "maxloc"])
def test_locating_takes_the_lower_index_of_equal_values_and_prefers_nan(name: str) -> None:
    left = np.array([(2.0, 7), (np.nan, 9), (1.0, 3), (np.nan, 4)], PAIRS[1])
    right = np.array([(2.0, 5), (0.0, 1), (np.nan, 8), (np.nan, 2)], PAIRS[1])
    reduce.get(name)(left, right, left)
    assert left["f1"].tolist() == [5, 9, 8, 2]


def test_integers_wrap_around_without_a_warning() -> None:
    left = np.array([127, -128], np.int8)
    reduce.get("sum")(left, np.array([1, -1], np.int8), left)
    assert left.tolist() == [-128, 127]


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name, dtype in EVERY if name not in ("minloc", "maxloc")], ids=str
)
def test_no_array_is_made_on_the_way(name: str, dtype: np.dtype[Any]) -> None:
    left, right = np.ones(1 << 17, dtype), np.ones(1 << 17, dtype)
    reduction = reduce.get(name)
    reduction(left, right, left)
    tracemalloc.start()
    try:
        reduction(left, right, left)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < left.nbytes / 4, f"{peak} bytes for vectors of {left.nbytes}"
