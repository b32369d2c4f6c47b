"""A schedule as flat tables of matched messages, a block of rounds at a time: what every simulation reads.

Memory grows with the messages of one block, not with those of the schedule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.matching import match
from collectives.schedule import OVERWRITE, Operation, Recv, Round, ScheduleError, Send

__all__ = ["Block", "blocks"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The ``m`` messages of ``rounds`` consecutive rounds, ordered by round and, within one, by who goes first.

    ``source``, ``dest``, ``round`` (counted from the schedule's first), ``nbytes``: int64 arrays of shape (m,).
    ``folds``: bool, whether the receiver combines; ``mutual``: bool, whether ``dest`` also sends to ``source`` in that
    round. ``first``: int64 of shape (rounds + 1,), where each round's messages begin. ``fan``: int64 of shape
    (rounds,), the most messages that one port has to take in each round. ``spans``: int64 of shape (s, 2), the chunk
    spans of all messages in order; ``span_first``: shape (m + 1,), where each message's begin.

    Where two messages want one port, the one that its sender lists first goes first, then the one that its receiver
    lists first. Two messages that share a port always differ in one of these, so rank numbers decide nothing.
    """

    first_round: int
    rounds: int
    source: Ints
    dest: Ints
    round: Ints
    nbytes: Ints
    folds: Bools
    mutual: Bools
    fan: Ints
    first: Ints
    spans: Ints
    span_first: Ints


def blocks(algorithm: Algorithm, size: int, nbytes: int, itemsize: int = 1, least: int = 65536) -> Iterator[Block]:
    """The messages of ``algorithm`` for ``size`` ranks and a vector of ``nbytes`` bytes, in order of their rounds.

    A block holds whole rounds and at least ``least`` messages; the last may hold fewer. Chunks end between elements
    of ``itemsize`` bytes.

    Raises ScheduleError naming rank, round and chunks where sends and receives do not match, for they would wait for
    ever, and where ranks differ in their number of rounds.
    """
    cut = _Cut(nbytes * algorithm.vectors(size) // itemsize, algorithm.chunks(size), itemsize)
    playing = [iter(algorithm.rounds(rank, size)) for rank in range(size)]
    pending: list[list[tuple[int, int, Recv]]] = []
    begin = messages = 0
    for number in count():
        operations = _next(playing, number)
        if operations is None:
            break
        pending.append(_matched(number, operations, cut.chunks))
        messages += len(pending[-1])
        if messages >= least:
            yield _block(begin, pending, cut)
            pending, begin, messages = [], number + 1, 0
    if pending:
        yield _block(begin, pending, cut)


@dataclass(frozen=True, slots=True)
class _Cut:
    """``elements`` of ``itemsize`` bytes in ``chunks`` nearly equal pieces, as ``schedule.extents`` cuts them."""

    elements: int
    chunks: int
    itemsize: int

    def start(self, chunk: Ints) -> Ints:
        """The byte at which each chunk starts; ``chunks`` itself gives the end."""
        base, longer = divmod(self.elements, self.chunks) if self.chunks else (0, 0)
        return (base * chunk + np.minimum(chunk, longer)) * self.itemsize


def _next(playing: Sequence[Iterator[Round]], number: int) -> list[Round] | None:
    """What each rank does in the next round; None when all are through."""
    operations = [next(mine, None) for mine in playing]
    through = [mine is None for mine in operations]
    if all(through):
        return None
    if any(through):
        odd = next(rank for rank, ended in enumerate(through) if ended != through[0])
        longer, shorter = (odd, 0) if through[0] else (0, odd)
        raise ScheduleError(
            f"rank {shorter} has {number} rounds but rank {longer} has more: "
            f"from round {number} on one of them is missing (law 3)"
        )
    return [mine for mine in operations if mine is not None]


def _matched(number: int, operations: Sequence[Round], chunks: int) -> list[tuple[int, int, Recv]]:
    """The messages of one round as (source, dest, receive), in order of precedence."""
    messages = match(number, operations, chunks)
    turns: dict[tuple[type[Operation], int, int], int] = {}
    for rank, mine in enumerate(operations):
        for turn, operation in enumerate(mine):
            peer = operation.dest if isinstance(operation, Send) else operation.source
            turns[type(operation), rank, peer] = turn

    def precedence(edge: tuple[int, int]) -> tuple[int, int, int]:
        source, dest = edge
        return turns[Send, source, dest], turns[Recv, dest, source], source

    return [(*edge, messages[edge][1]) for edge in sorted(messages, key=precedence)]


def _block(begin: int, rounds: Sequence[Sequence[tuple[int, int, Recv]]], cut: _Cut) -> Block:
    flat = [message for messages in rounds for message in messages]
    edges = [{(source, dest) for source, dest, _ in messages} for messages in rounds]
    carried = [recv.spans for *_, recv in flat]
    spans = _ints(span for mine in carried for span in mine).reshape(-1, 2)
    span_first = _ints(accumulate(map(len, carried), initial=0))
    before = np.concatenate(([0], np.cumsum(cut.start(spans[:, 1]) - cut.start(spans[:, 0]))))
    return Block(
        first_round=begin,
        rounds=len(rounds),
        source=_ints(source for source, _, _ in flat),
        dest=_ints(dest for _, dest, _ in flat),
        round=_ints(begin + index for index, messages in enumerate(rounds) for _ in messages),
        nbytes=before[span_first[1:]] - before[span_first[:-1]],
        folds=np.array([recv.fold is not OVERWRITE for *_, recv in flat], dtype=np.bool_),
        mutual=np.array(
            [
                (dest, source) in present
                for messages, present in zip(rounds, edges, strict=True)
                for source, dest, _ in messages
            ],
            dtype=np.bool_,
        ),
        fan=_ints(map(_fan, rounds)),
        first=_ints(accumulate(map(len, rounds), initial=0)),
        spans=spans,
        span_first=span_first,
    )


def _ints(values: Iterable[int] | Iterable[tuple[int, int]]) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _fan(messages: Sequence[tuple[int, int, Recv]]) -> int:
    out, into = Counter(source for source, _, _ in messages), Counter(dest for _, dest, _ in messages)
    return max((*out.values(), *into.values()), default=0)
