"""The synchronous parameter server: workers push gradient shards to servers, which add them; workers pull the sums.

In each round a server talks to one worker, so servers are busy without a queue; the pull is the push backwards.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import INCOMING_FIRST, OVERWRITE, Recv, Round, Send, mirror, then

__all__ = ["colocated", "separate"]


def colocated(rank: int, size: int, *, servers: int = 0) -> Iterator[Round]:
    """Every rank is a worker; ranks ``0 .. k-1`` also serve one shard each (``servers=0``: all of them, k = p).

    Rounds: 2*(p - 1)
    Bytes per rank: 2*(p - 1)/p
    Reductions: (p - 1)/p
    Sizes: p >= servers
    Order: commutative operations only
    Source: Li et al., "Scaling distributed machine learning with the parameter server" (2014); sharding as in
    Jiang et al., "A unified architecture for accelerating distributed DNN training" (BytePS, 2020)
    """

    def push(rank: int, size: int) -> Iterator[Round]:
        for step in range(1, size):
            server, worker = (rank + step) % size, (rank - step) % size
            send = (Send(server, server),) if server < shards else ()
            yield (*send, *((Recv(worker, rank, INCOMING_FIRST),) if rank < shards else ()))

    shards = servers or size
    yield from then(push, mirror(push, OVERWRITE))(rank, size)


def separate(rank: int, size: int, *, servers: int = 1) -> Iterator[Round]:
    """The last ``servers`` ranks only serve, one shard each; the others are workers that contribute and receive.

    Rounds: 2*max(p - k, k)
    Bytes per rank: max(1, (p - k)/k)
    Reductions: (p - k - 1)/k
    Sizes: p > servers
    Order: commutative operations only
    Source: Li et al. (2014)
    """
    workers = size - servers

    def push(rank: int, _: int) -> Iterator[Round]:
        steps = max(workers, servers)
        for step in range(steps):
            if rank < workers:
                shard = (rank + step) % steps
                yield (Send(workers + shard, shard),) if shard < servers else ()
            else:
                shard = rank - workers
                worker = (shard - step) % steps
                first = all((shard - before) % steps >= workers for before in range(step))
                fold = OVERWRITE if first else INCOMING_FIRST
                yield (Recv(worker, shard, fold),) if worker < workers else ()

    yield from then(push, mirror(push, OVERWRITE))(rank, size)
