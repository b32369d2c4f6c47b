"""A schedule as one flat table: what every simulation of it shares, whatever the vector or the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.schedule import OVERWRITE, Chunks, Recv, Round, ScheduleError, Send, extents

__all__ = ["Messages", "lower"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Messages:
    """All ``m`` messages of a schedule for ``size`` ranks, ordered by round and, within one, by who goes first.

    ``source``, ``dest``, ``round``: int64 arrays of shape (m,). ``folds``: bool, whether the receiver combines.
    ``chunks``: what each carries. ``first``: int64 of shape (rounds + 1,), where each round's messages begin.
    ``fan``: int64 of shape (rounds,), the most messages that one port has to take in each round.
    ``spans``: int64 of shape (s, 2), the chunk spans of all messages in order; ``span_first``: shape (m + 1,).

    Where two messages want one port, the one that its sender lists first goes first, then the one that its receiver
    lists first. Two messages that share a port always differ in one of these, so rank numbers decide nothing.
    """

    size: int
    source: Ints
    dest: Ints
    round: Ints
    folds: NDArray[np.bool_]
    chunks: tuple[Chunks, ...]
    first: Ints
    fan: Ints
    spans: Ints
    span_first: Ints

    @property
    def rounds(self) -> int:
        """How many rounds there are, idle ones included."""
        return len(self.first) - 1

    def nbytes(self, count: int, chunks: int, itemsize: int) -> Ints:
        """Bytes of each message, shape (m,), where ``count`` elements of ``itemsize`` bytes are cut into ``chunks``."""
        starts = np.array([lo for lo, _ in extents(count, chunks)] + [count], dtype=np.int64)
        lengths = starts[self.spans[:, 1]] - starts[self.spans[:, 0]]
        before = np.concatenate(([0], np.cumsum(lengths)))
        return (before[self.span_first[1:]] - before[self.span_first[:-1]]) * itemsize


@dataclass(frozen=True, slots=True)
class _Half:
    """One end of a message and where its rank lists it among the round's sends or receives."""

    operation: Send | Recv
    position: int


@lru_cache(maxsize=32)
def lower(algorithm: Algorithm, size: int) -> Messages:
    """The table of ``algorithm`` for ``size`` ranks.

    Raises ScheduleError naming rank and round where sends and receives do not match, for they would wait for ever.
    """
    schedule = [tuple(algorithm.rounds(rank, size)) for rank in range(size)]
    for rank, rounds in enumerate(schedule):
        if len(rounds) != len(schedule[0]):
            raise ScheduleError(f"rank {rank} has {len(rounds)} rounds but rank 0 has {len(schedule[0])} (law 3)")
    chunks = algorithm.chunks(size)
    rounds = [_matched(number, [mine[number] for mine in schedule], chunks) for number in range(len(schedule[0]))]
    return _table(size, rounds)


def _matched(number: int, operations: Sequence[Round], chunks: int) -> list[tuple[int, int, Recv]]:
    """The messages of one round as (source, dest, receive), in order of precedence."""
    sends: dict[tuple[int, int], _Half] = {}
    recvs: dict[tuple[int, int], _Half] = {}
    for rank, mine in enumerate(operations):
        sent = received = 0
        for operation in mine:
            if isinstance(operation, Send):
                _enlist(sends, (rank, operation.dest), _Half(operation, sent), rank, number)
                sent += 1
            else:
                _enlist(recvs, (operation.source, rank), _Half(operation, received), rank, number)
                received += 1
    for edge in sends.keys() | recvs.keys():
        _check(number, edge, sends.get(edge), recvs.get(edge), chunks)
    edges = sorted(sends, key=lambda edge: (sends[edge].position, recvs[edge].position, edge))
    return [(source, dest, recv) for source, dest in edges if isinstance(recv := recvs[source, dest].operation, Recv)]


def _enlist(halves: dict[tuple[int, int], _Half], edge: tuple[int, int], half: _Half, rank: int, number: int) -> None:
    if halves.setdefault(edge, half) is not half:
        raise ScheduleError(f"rank {rank}, round {number}: two messages from rank {edge[0]} to rank {edge[1]} (law 2)")


def _check(number: int, edge: tuple[int, int], send: _Half | None, recv: _Half | None, chunks: int) -> None:
    source, dest = edge

    def refuse(rank: int, what: str) -> NoReturn:
        raise ScheduleError(f"rank {rank}, round {number}: {what}")

    if send is None:
        refuse(dest, f"waits for rank {source}, which sends it nothing in this round")
    if recv is None:
        refuse(source, f"sends to rank {dest}, which receives nothing from it in this round")
    if source == dest:
        refuse(source, "sends to itself")
    if send.operation.spans != recv.operation.spans:
        refuse(
            dest,
            f"expects chunks {recv.operation.chunks!r} from rank {source}, which sends {send.operation.chunks!r}",
        )
    if send.operation.spans and send.operation.spans[-1][1] > chunks:
        refuse(source, f"sends chunk {send.operation.spans[-1][1] - 1}, but there are only {chunks}")


def _table(size: int, rounds: Sequence[Sequence[tuple[int, int, Recv]]]) -> Messages:
    flat = [(number, *message) for number, messages in enumerate(rounds) for message in messages]
    carried = tuple(recv.chunks for *_, recv in flat)
    return Messages(
        size=size,
        source=_ints(source for _, source, _, _ in flat),
        dest=_ints(dest for _, _, dest, _ in flat),
        round=_ints(number for number, *_ in flat),
        folds=np.array([recv.fold is not OVERWRITE for *_, recv in flat], dtype=np.bool_),
        chunks=carried,
        first=_ints(accumulate(map(len, rounds), initial=0)),
        fan=_ints(_fan(messages) for messages in rounds),
        spans=_ints(span for chunks in carried for span in chunks.spans).reshape(-1, 2),
        span_first=_ints(accumulate((len(chunks.spans) for chunks in carried), initial=0)),
    )


def _ints(values: Iterable[int] | Iterable[tuple[int, int]]) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _fan(messages: Sequence[tuple[int, int, Recv]]) -> int:
    out, into = Counter(source for source, _, _ in messages), Counter(dest for _, dest, _ in messages)
    return max((*out.values(), *into.values()), default=0)
