"""Ranks that do not make the same call: in check mode all of them say so, and without it no wrong result passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from collectives import catalogue
from collectives.executors.faults import CollectiveMismatch, CollectiveTimeout
from collectives.executors.interpreted import Interpreted
from collectives.executors.plan import lower
from collectives.executors.signature import Signature
from collectives.schedule import extents

SIZE, RANK = MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank
SAME = Signature("allreduce", "ring", "sum", "float32", 1_000_000)

pytestmark = pytest.mark.skipif(SIZE == 1, reason="one rank always agrees with itself")


@pytest.fixture
def executor() -> Iterator[Interpreted]:
    executor = Interpreted(MPI.COMM_WORLD.Dup())
    yield executor
    executor.free()


def test_the_same_call_passes(executor: Interpreted) -> None:
    for _ in range(3):
        executor.verify(SAME)


@pytest.mark.parametrize(
    ("field", "value", "usual"),
    [
        ("collective", "reduce", "allreduce"),
        ("algorithm", "chain:segments=16", "ring"),
        ("op", "max", "sum"),
        ("dtype", "float64", "float32"),
        ("count", 999_999, "1000000"),
        ("root", 3, "-1"),
    ],
)
def test_every_rank_hears_who_differs_in_what(field: str, value: object, usual: str, executor: Interpreted) -> None:
    mine = replace(SAME, **{field: value}) if RANK == SIZE - 1 else SAME
    with pytest.raises(CollectiveMismatch) as caught:
        executor.verify(mine)
    others = "rank 0" if SIZE == 2 else f"ranks {', '.join(map(str, range(SIZE - 1)))}"
    expected = f"the ranks did not make the same call: {field}: {usual} on {others} but {value} on rank {SIZE - 1}"
    assert str(caught.value) == expected
    executor.verify(SAME)  # nothing was moved, so all may go on


def test_a_rank_that_does_not_come_to_be_checked_is_missed(executor: Interpreted) -> None:
    executor.timeout = 1.0
    if RANK:
        with pytest.raises(CollectiveTimeout, match="of the check that all ranks make the same call") as caught:
            executor.verify(SAME)
        assert caught.value.pending == ("240 bytes (chunks {0}) from rank 0",)


@pytest.mark.parametrize(
    ("scale", "fault"), [(1, CollectiveMismatch), (50, CollectiveTimeout), (10**5, CollectiveTimeout)]
)
def test_without_check_another_count_is_no_silent_wrong_result(
    scale: int, fault: type[Exception], executor: Interpreted
) -> None:
    """Rank 0 has longer chunks. Small messages of another size are found out, large ones meet nobody."""
    executor.timeout = 0.5
    algorithm = catalogue.get("ring")
    count = SIZE * scale * (3 if RANK == 0 else 2)
    cuts = extents(count, SIZE)
    plan = lower(algorithm, RANK, SIZE, lambda chunk: (0, *cuts[chunk]))
    with pytest.raises(
        fault if RANK in (0, 1) else CollectiveTimeout,
        match=f"rank {RANK} (in round 0 of ring got a message of another size|waited)",
    ):
        executor.run(plan, [np.ones(count)], np.add)
