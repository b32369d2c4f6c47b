"""Parameters in windows: no addition is lost, and a pull sees what was pushed before."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from collectives.parameter_server.hogwild import Hogwild

WORLD = MPI.COMM_WORLD
SIZE, RANK = WORLD.size, WORLD.rank


@pytest.mark.parametrize("servers", [None, 1])
def test_no_push_is_lost_and_rank_0_says_where_it_begins(servers: int | None) -> None:
    count, pushes = 2 * SIZE + 1, 20
    gradient = np.arange(count, dtype=np.float32)
    with Hogwild(WORLD, np.full(count, 100 + RANK, np.float32), servers) as shared:
        out = np.empty(count, np.float32)
        for _ in range(pushes):
            shared.pull(out)
            shared.push(gradient, 0.5)
        assert len(shared.staleness) == pushes
        assert min(shared.staleness) >= 0
        WORLD.Barrier()
        shared.pull(out)
        np.testing.assert_array_equal(out, 100 - 0.5 * SIZE * pushes * gradient)  # exact: halves of small numbers
        assert max(shared.staleness) <= (SIZE - 1) * pushes


def test_a_push_is_seen_by_the_next_pull_of_the_next_rank() -> None:
    with Hogwild(WORLD, np.zeros(3, np.float32)) as shared:
        out = np.empty(3, np.float32)
        for turn in range(SIZE):
            if turn == RANK:
                shared.pull(out)
                assert (out == -turn).all()
                shared.push(np.ones(3, np.float32), 1.0)
                assert shared.staleness == [0]
            WORLD.Barrier()


def test_elements_alone_over_all_servers_with_duplicates() -> None:
    count = 5 * SIZE
    with Hogwild(WORLD, np.zeros(count, np.float32)) as shared:
        indices = np.array([count - 1, RANK, 0, RANK])
        shared.push_at(indices, np.ones(4, np.float32), 2.0)
        shared.push_at(indices[:0], np.ones(0, np.float32), 2.0)
        WORLD.Barrier()
        out = np.empty(count, np.float32)
        shared.pull(out)
        expected = np.zeros(count, np.float32)
        for rank in range(SIZE):
            np.add.at(expected, [count - 1, rank, 0, rank], -2.0)
        np.testing.assert_array_equal(out, expected)
        with pytest.raises(IndexError, match="outside"):
            shared.push_at(np.array([count]), np.ones(1, np.float32), 1.0)
        with pytest.raises(ValueError, match="do not fit"):
            shared.pull(np.empty(count + 1, np.float32))


def test_fewer_parameters_than_ranks() -> None:
    with Hogwild(WORLD, np.ones(1, np.float32)) as shared:
        shared.push(np.ones(1, np.float32), 1.0)
        WORLD.Barrier()
        out = np.empty(1, np.float32)
        shared.pull(out)
        assert out[0] == 1 - SIZE


def test_vectors_that_differ_are_refused_on_every_rank() -> None:
    with pytest.raises(ValueError, match="parameters") if SIZE > 1 else pytest.raises(ValueError, match="float64"):
        Hogwild(WORLD, np.ones(3, np.float64) if RANK == 0 else np.ones(3, np.float32))
