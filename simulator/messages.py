"""A schedule as one flat table: what every simulation of it shares, whatever the vector or the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.matching import check_lengths, match
from collectives.schedule import OVERWRITE, Chunks, Operation, Recv, Round, Send, extents

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


@lru_cache(maxsize=32)
def lower(algorithm: Algorithm, size: int) -> Messages:
    """The table of ``algorithm`` for ``size`` ranks.

    Raises ScheduleError naming rank and round where sends and receives do not match, for they would wait for ever.
    """
    schedule = [tuple(algorithm.rounds(rank, size)) for rank in range(size)]
    check_lengths(schedule)
    chunks = algorithm.chunks(size)
    rounds = [_matched(number, [mine[number] for mine in schedule], chunks) for number in range(len(schedule[0]))]
    return _table(size, rounds)


def _matched(number: int, operations: Sequence[Round], chunks: int) -> list[tuple[int, int, Recv]]:
    """The messages of one round as (source, dest, receive), in order of precedence."""
    messages = match(number, operations, chunks)
    turns: dict[tuple[type[Operation], int, int], int] = {}
    for rank, mine in enumerate(operations):
        for turn, operation in enumerate(mine):
            peer = operation.dest if isinstance(operation, Send) else operation.source
            turns[type(operation), rank, peer] = turn
    edges = sorted(messages, key=lambda edge: (turns[Send, edge[0], edge[1]], turns[Recv, edge[1], edge[0]]))
    return [(source, dest, messages[source, dest][1]) for source, dest in edges]


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
