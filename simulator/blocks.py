"""A schedule as flat tables of matched messages, a block of rounds at a time: what every simulation reads.

Memory grows with the messages of one block, not with those of the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.matching import match
from simulator.columns import Side, gather
from simulator.cut import Cut
from simulator.generation import parts

__all__ = ["Block", "blocks"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Wire = Callable[[int], int]

_MOST_SPANS = 16
"""A block is full with this many spans for each message that it should hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The ``m`` messages of ``rounds`` consecutive rounds, ordered by round and, within one, by who goes first.

    ``source``, ``dest``, ``round`` (counted from the schedule's first), ``nbytes`` (on the wire), ``content`` (bytes
    of the vector, which differ from those where messages are encoded): int64 arrays of shape (m,).
    ``folds``: bool, whether the receiver combines; ``mutual``: bool, whether ``dest`` also sends to ``source`` in that
    round. ``first``: int64 of shape (rounds + 1,), where each round's messages begin. ``fan``: int64 of shape
    (rounds,), the most messages that one port has to take in each round. ``spans``: int64 of shape (s, 2), the chunk
    spans of all messages in order; ``span_first``: shape (m + 1,), where each message's begin. Nobody writes to them,
    for the arrays may be those that the algorithm goes on computing with.

    Where two messages want one port, the one that its sender lists first goes first, then the one that its receiver
    lists first. Two messages that share a port always differ in one of these, so rank numbers decide nothing.
    """

    first_round: int
    rounds: int
    source: Ints
    dest: Ints
    round: Ints
    nbytes: Ints
    content: Ints
    folds: Bools
    mutual: Bools
    fan: Ints
    first: Ints
    spans: Ints
    span_first: Ints


def blocks(
    algorithm: Algorithm, size: int, nbytes: int, itemsize: int = 1, least: int = 65536, wire: Wire | None = None
) -> Iterator[Block]:
    """The messages of ``algorithm`` for ``size`` ranks and a vector of ``nbytes`` bytes, in order of their rounds.

    A block holds whole rounds and at least ``least`` messages; the last may hold fewer, and so may those of scattered
    chunks. Chunks end between elements of ``itemsize`` bytes. A schedule without rounds has no blocks. ``wire(count)``:
    bytes of a chunk of so many elements on the wire, if these are others.

    Raises ScheduleError naming rank, round and chunks where sends and receives do not match, for they would wait for
    ever, and where ranks differ in their number of rounds.
    """
    cut = Cut.of(algorithm, size, nbytes, itemsize).encoded(wire)
    sends, receives = Side(), Side()
    begin = number = 0
    for number, found in enumerate(parts(algorithm, size), start=1):
        gather(number - 1, found, sends, receives)
        if sends.operations >= least or sends.spans >= _MOST_SPANS * least:
            yield _block(algorithm, size, begin, number - begin, sends, receives, cut)
            begin = number
    if number > begin:
        yield _block(algorithm, size, begin, number - begin, sends, receives, cut)


def _block(algorithm: Algorithm, size: int, begin: int, rounds: int, sends: Side, receives: Side, cut: Cut) -> Block:
    from simulator.pairing import pair  # compiled code: whoever only imports the simulator does not load it

    sent = sends.taken()
    pairs = pair(size, cut.chunks, begin, rounds, sent, receives.taken())
    if pairs.fault >= 0:
        _complain(algorithm, size, begin + pairs.fault)
    content = cut.encoded(None).nbytes(sent.low, sent.high, pairs.span_first)
    block = Block(
        first_round=begin,
        rounds=rounds,
        source=sent.rank,
        dest=sent.peer,
        round=np.repeat(np.arange(begin, begin + rounds), np.diff(pairs.first)),
        nbytes=content if cut.wire is None else cut.nbytes(sent.low, sent.high, pairs.span_first),
        content=content,
        folds=pairs.folds,
        mutual=pairs.mutual,
        fan=pairs.fan,
        first=pairs.first,
        spans=np.stack((sent.low, sent.high), axis=1),
        span_first=pairs.span_first,
    )
    return block if pairs.ordered else _permuted(block, np.lexsort((block.source, pairs.met, pairs.turn, block.round)))


def _permuted(block: Block, order: Ints) -> Block:
    """The same messages in another order within their rounds."""
    lengths: Ints = np.diff(block.span_first)[order]
    span_first: Ints = np.concatenate(([0], np.cumsum(lengths)))
    shift: Ints = block.span_first[order] - span_first[:-1]
    moved = np.repeat(shift, lengths) + np.arange(len(block.spans))
    content = block.content[order]
    same = block.nbytes is block.content
    return replace(
        block,
        source=block.source[order],
        dest=block.dest[order],
        nbytes=content if same else block.nbytes[order],
        content=content,
        folds=block.folds[order],
        mutual=block.mutual[order],
        spans=block.spans[moved],
        span_first=span_first,
    )


def _complain(algorithm: Algorithm, size: int, number: int) -> NoReturn:
    """Say what is wrong with a round that does not match."""
    operations = [next(islice(algorithm.rounds(rank, size), number, None), ()) for rank in range(size)]
    match(number, operations, algorithm.chunks(size))
    raise AssertionError(f"{algorithm.label}, round {number}: called twice for one rank, it gave different rounds")
