"""Many ranks in the place of one: as ints compute, or Diverged."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.lanes import Diverged, Lanes

ARITHMETIC: list[Callable[[Any, Any], Any]] = [
    operator.add, operator.sub, operator.mul, operator.mod, operator.floordiv, operator.and_, operator.or_,
    operator.xor, operator.lshift, operator.rshift,
]  # fmt: skip
TESTS: list[Callable[[Any, Any], Any]] = [
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne
]  # fmt: skip
NUMBERS = st.one_of(st.integers(-40, 40), st.integers(-(2**40), 2**40), st.sampled_from([2**62, 2**63, -(2**64)]))


def lanes(values: Iterable[int]) -> Lanes:
    array = np.array(list(values), dtype=np.int64)
    return Lanes(array, int(array.min()), int(array.max()))


def on_ints(operation: Callable[[Any, Any], Any], left: list[int], right: list[int]) -> list[Any] | None:
    """What ints give, one after the other; None where one of them cannot."""
    try:
        return [operation(a, b) for a, b in zip(left, right, strict=True)]
    except (ZeroDivisionError, ValueError):
        return None


@settings(max_examples=300, deadline=None)
@given(
    operation=st.sampled_from(ARITHMETIC),
    left=st.lists(st.integers(-(2**31), 2**31), min_size=1, max_size=5),
    other=st.one_of(st.integers(-70, 70), NUMBERS),
    steps=st.lists(st.tuples(st.sampled_from(ARITHMETIC[:4]), st.integers(1, 9)), max_size=3),
    turned=st.booleans(),
)
def test_arithmetic_is_that_of_ints_or_diverges(
    operation: Callable[[Any, Any], Any],
    left: list[int],
    other: int,
    steps: list[tuple[Callable[[Any, Any], Any], int]],
    turned: bool,
) -> None:
    """The steps before it make bounds that are not reached, on which short cuts must not rely."""
    ints, vector = left, lanes(left)
    for step, by in steps:
        ints, vector = [step(value, by) for value in ints], step(vector, by)
    assert isinstance(vector, int)
    assert vector.values.tolist() == ints
    several = [other] * len(ints)
    if operation is operator.lshift and max(ints if turned else several) > 200:
        return  # Python's own ints would take all memory
    expected = on_ints(operation, several, ints) if turned else on_ints(operation, ints, several)
    try:
        found = operation(other, vector) if turned else operation(vector, other)
    except Diverged:
        assert vector.stained
        return
    assert expected is not None
    assert found.values.tolist() == expected


@settings(max_examples=200, deadline=None)
@given(
    test=st.sampled_from(TESTS),
    left=st.lists(st.integers(-3, 3), min_size=1, max_size=4),
    other=st.one_of(st.integers(-4, 4), st.lists(st.integers(-3, 3), min_size=4, max_size=4)),
)
def test_a_test_has_one_answer_for_all_or_says_who_differs(
    test: Callable[[Any, Any], Any], left: list[int], other: int | list[int]
) -> None:
    right = [other] * len(left) if isinstance(other, int) else other[: len(left)]
    expected = [test(a, b) for a, b in zip(left, right, strict=True)]
    asked = other if isinstance(other, int) else lanes(right)
    if len(set(expected)) == 1:
        assert test(lanes(left), asked) is expected[0]
        return
    with pytest.raises(Diverged) as parted:
        test(lanes(left), asked)
    where: Any = parted.value.where
    assert where.tolist() in (expected, [not held for held in expected])


def test_a_vector_of_one_value_is_an_index() -> None:
    assert list(range(lanes([3, 3]))) == [0, 1, 2]  # type: ignore[call-overload]
    assert divmod(lanes([7, 9]), 4)[0].values.tolist() == [1, 2]
    assert divmod(lanes([7, 9]), 4)[1].values.tolist() == [3, 1]


@pytest.mark.parametrize(
    "use",
    [
        hash, str, repr, float, complex, int, operator.index, range, round, bool,
        lambda rank: f"{rank}", lambda rank: rank / 2, lambda rank: 2 / rank, lambda rank: rank**2,
        lambda rank: 2**rank, lambda rank: rank.bit_length(), lambda rank: rank + 0.5, lambda rank: rank == 0.0,
        lambda rank: {0: 1}[rank], lambda rank: [5, 6][rank], lambda rank: {1}.issuperset((rank,)), np.sqrt,
        np.asarray, lambda rank: np.int64(2) + rank, lambda rank: rank % 0,
         lambda rank: 1 // rank, lambda rank: min(rank, 1 - rank),
        lambda rank: rank << 70, lambda rank: rank * 2**61,
    ],
)  # fmt: skip
def test_what_only_a_real_int_can_do_is_refused_and_remembered(use: Callable[[Any], object]) -> None:
    """Even where the algorithm catches everything, whoever holds the ranks learns of it."""
    rank = lanes([0, 1, 4])
    with pytest.raises((Diverged, TypeError)):
        use(rank)
    assert rank.stained


def test_what_an_int_cannot_do_either_is_a_type_error() -> None:
    rank: Any = lanes([0, 1])
    for use in (iter, len, lambda value: value.nothing):
        with pytest.raises((TypeError, AttributeError)):
            use(rank)
    assert rank != "0"
    assert (rank == None) is False  # noqa: E711 - equality, not identity, is what is tested
    assert not rank.stained
