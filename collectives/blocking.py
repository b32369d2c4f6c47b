"""Would a schedule hang if sends blocked? The check behind the oldest bug of message passing."""

from __future__ import annotations

from collections.abc import Sequence

from collectives.schedule import Operation, Round, ScheduleError, Send

__all__ = ["check_blocking"]


def check_blocking(schedule: Sequence[Sequence[Round]]) -> None:
    """Raise ``ScheduleError`` naming the cycle if ranks with synchronous sends, in listed order, wait in a circle.

    ``schedule[rank][round]`` must match as the prover demands. A ring in which everyone sends first hangs here, as it
    does under MPI once messages exceed the eager limit; nonblocking executors are not concerned.
    """
    queues = [[(number, operation) for number, ops in enumerate(rounds) for operation in ops] for rounds in schedule]
    at = [0] * len(queues)
    ready = list(range(len(queues)))
    while ready:
        rank = ready.pop()
        peer = _meets(queues, at, rank)
        if peer is not None:
            at[rank] += 1
            at[peer] += 1
            ready += [rank, peer]
    if any(position < len(queue) for position, queue in zip(at, queues, strict=True)):
        raise ScheduleError(_cycle(queues, at))


def _meets(queues: list[list[tuple[int, Operation]]], at: list[int], rank: int) -> int | None:
    """The partner, if what ``rank`` does next is what that partner does next."""
    if at[rank] == len(queues[rank]):
        return None
    operation = queues[rank][at[rank]][1]
    peer = _peer(operation)
    if at[peer] == len(queues[peer]):
        return None
    other = queues[peer][at[peer]][1]
    return peer if _peer(other) == rank and isinstance(other, Send) is not isinstance(operation, Send) else None


def _peer(operation: Operation) -> int:
    return operation.dest if isinstance(operation, Send) else operation.source


def _cycle(queues: list[list[tuple[int, Operation]]], at: list[int]) -> str:
    rank = next(rank for rank, queue in enumerate(queues) if at[rank] < len(queue))
    trail: list[int] = []
    while rank not in trail:
        trail.append(rank)
        rank = _peer(queues[rank][at[rank]][1])
    return "cyclic wait under blocking sends: " + ", ".join(
        _waiting(waiter, *queues[waiter][at[waiter]]) for waiter in trail[trail.index(rank) :]
    )


def _waiting(rank: int, number: int, operation: Operation) -> str:
    verb = (
        f"sends chunks {operation.chunks!r} to"
        if isinstance(operation, Send)
        else (f"waits for chunks {operation.chunks!r} from")
    )
    return f"rank {rank} in round {number} {verb} rank {_peer(operation)}"
