"""Payloads: every result is exact in every dtype and operation, and no fault slips through the comparison."""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import payload
from experiments.errors import UsageFault
from kernels import reduce

PAIRS = [
    (op, name)
    for op, name in itertools.product(payload.OPS, payload.DTYPES)
    if reduce.get(op).supports(payload.dtype(name))
]


@pytest.mark.parametrize(("op", "name"), PAIRS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 8, 64])
def test_the_result_is_the_same_in_any_order(op: str, name: str, ranks: int) -> None:
    parts = [payload.contribution(rank, ranks, 600, name, op) for rank in range(ranks)]
    wanted = payload.expected(ranks, 600, name, op)
    assert wanted.dtype == parts[0].dtype == payload.dtype(name)

    def fold(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        out = np.empty_like(left)
        reduce.get(op)(left, right, out)
        return out

    for order in (parts, parts[::-1], [*parts[::2], *parts[1::2]]):
        assert payload.mistake(functools.reduce(fold, order), wanted) is None


@pytest.mark.parametrize("op", payload.OPS)
@pytest.mark.parametrize("ranks", [2, 3, 8, 40])
def test_every_rank_matters(op: str, ranks: int) -> None:
    name = "int32"
    parts = [payload.contribution(rank, ranks, 600, name, op) for rank in range(ranks)]
    wanted = payload.expected(ranks, 600, name, op)
    for left_out in range(ranks):
        rest = [part for rank, part in enumerate(parts) if rank != left_out]
        out = rest[0].copy()
        for part in rest[1:]:
            reduce.get(op)(out, part, out)
        assert payload.mistake(out, wanted) is not None


@given(st.integers(1, 3000), st.integers(1, 500), st.data())
def test_a_moved_chunk_shows(count: int, shift: int, data: st.DataObject) -> None:
    wanted = payload.expected(3, count, "float32", "sum")
    if count > shift and shift % 251:
        assert payload.mistake(np.roll(wanted, shift), wanted) is not None
    index = data.draw(st.integers(0, count - 1))
    damaged = wanted.copy()
    damaged[index] += 1
    found = payload.mistake(damaged, wanted)
    assert found is not None
    assert (found.wrong, found.index) == (1, index)
    assert f"index {index}" in str(found)


def test_a_front_is_the_same_vector() -> None:
    # The benchmark uses the front of one long buffer for every size.
    long, short = (payload.contribution(1, 3, count, "float32", "sum") for count in (1000, 77))
    assert np.array_equal(long[:77], short)


@pytest.mark.parametrize(
    ("op", "name", "said"),
    [
        ("band", "float32", "not defined on float32"),
        ("max", "complex64", "not defined on complex64"),
        ("sum", "float128", "one of float16, bfloat16"),
        ("average", "float32", "one of sum, prod"),
        ("minloc", "float32", "pairs"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(op: str, name: str, said: str) -> None:
    with pytest.raises(UsageFault, match=said):
        payload.require(op, name)
