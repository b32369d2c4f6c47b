"""A rank that others wait for in vain: each of them says where it stands and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from mpi4py import MPI

from collectives import catalogue
from collectives.executors.faults import CollectiveError, CollectiveTimeout
from collectives.executors.interpreted import Interpreted
from collectives.executors.plan import Plan, lower
from collectives.schedule import extents

SIZE, RANK = MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank
LEFT, RIGHT = (RANK - 1) % SIZE, (RANK + 1) % SIZE
LAZY = 0  # the rank that stays out

pytestmark = pytest.mark.skipif(SIZE == 1, reason="one rank waits for nobody")


@pytest.fixture
def executor() -> Iterator[Interpreted]:
    executor = Interpreted(MPI.COMM_WORLD.Dup(), timeout=0.5)
    MPI.COMM_WORLD.Barrier()
    yield executor
    executor.free()


def planned(name: str, count: int) -> Plan:
    algorithm = catalogue.get(name)
    cuts = extents(count, algorithm.chunks(SIZE))
    return lower(algorithm, RANK, SIZE, lambda chunk: (0, *cuts[chunk]))


def timed_out(executor: Interpreted, plan: Plan, count: int) -> CollectiveTimeout:
    with pytest.raises(CollectiveTimeout) as caught:
        executor.run(plan, [np.ones(count)], np.add)
    return caught.value


def test_each_rank_names_its_round_and_the_message_it_misses(executor: Interpreted) -> None:
    executor.timeout = 2.5  # on a busy machine the ranks that take part must still get to each other in time
    if RANK != LAZY:
        fault = timed_out(executor, planned("ring", SIZE), SIZE)
        # the news that rank 0 is missing travels one rank a round
        assert (fault.rank, fault.round, fault.algorithm) == (RANK, RANK - 1, "ring")
        assert fault.pending == (f"8 bytes (chunks {{{(LEFT - RANK) % SIZE}}}) from rank {LEFT}",)
        assert str(fault).startswith(
            f"rank {RANK} waited 2.5 s in round {RANK - 1} (of rounds 0..{2 * SIZE - 3}) of ring: {fault.pending[0]}. "
        )


def test_it_takes_as_long_as_was_asked_for(executor: Interpreted) -> None:
    if RANK != LAZY:
        began = time.monotonic()
        fault = timed_out(executor, planned("barrier_dissemination", 0), 0)
        assert 0.5 <= time.monotonic() - began < 5
        assert all("0 bytes (chunks {}) from rank" in message for message in fault.pending)


def test_the_rank_that_all_miss_is_named_as_the_root(executor: Interpreted) -> None:
    if RANK != LAZY:
        fault = timed_out(executor, planned("broadcast_linear", 10), 10)
        assert fault.pending == ("80 bytes (chunks {0}) from rank 0",)


def test_messages_that_nobody_takes_are_named_too(executor: Interpreted) -> None:
    count = SIZE << 20  # chunks of 8 MiB, which leave only when the other side is there
    if RIGHT == LAZY:
        fault = timed_out(executor, planned("ring", count), count)
        assert f"8388608 bytes (chunks {{{(RANK - 1) % SIZE}}}) to rank {LAZY}" in fault.pending
    elif RANK != LAZY:
        timed_out(executor, planned("ring", count), count)


def test_afterwards_the_communicator_is_spent_and_others_are_not(executor: Interpreted) -> None:
    plan = planned("ring", SIZE)
    if RANK != LAZY:
        timed_out(executor, plan, SIZE)
        with pytest.raises(CollectiveError, match=rf"spent, because an earlier call on it failed \(rank {RANK} waited"):
            executor.run(plan, [np.ones(SIZE)], np.add)
    fresh = Interpreted(MPI.COMM_WORLD.Dup(), timeout=30)
    vector = np.full(SIZE, RANK)
    fresh.run(plan, [vector], np.add)
    assert (vector == SIZE * (SIZE - 1) // 2).all()
    fresh.free()
    fresh.comm.Free()


def test_a_late_rank_is_waited_for(executor: Interpreted) -> None:
    executor.timeout = 30
    time.sleep(0.3 if RANK == LAZY else 0)
    vector = np.ones(3 * SIZE + 1)
    executor.run(planned("ring", vector.size), [vector], np.add)
    assert (vector == SIZE).all()
