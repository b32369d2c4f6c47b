"""Which send meets which receive, for many rounds at once: law 2 of a schedule in compiled code.

This finds the messages, or the round that has a fault; what is wrong with it, ``collectives.matching`` says.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.columns import Columns
from simulator.compiled import compiled

__all__ = ["Pairs", "pair"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Pairs(NamedTuple):
    """The messages of some rounds, in the order of their sends.

    ``fault``: the first round, counted from the first of these, whose sends and receives do not match, or -1; nothing
    else counts then. ``ordered``: whether each round's messages are in order of precedence. For each message, shape
    (m,): ``turn`` and ``met``, the turns of its send and its receive in their lists, ``folds`` and ``mutual``;
    ``span_first``, shape (m + 1,), where its spans begin. For each round: ``fan``, the most messages of one port, and
    ``first``, shape (rounds + 1,), where its messages begin.
    """

    fault: int
    ordered: bool
    turn: Ints
    met: Ints
    folds: Bools
    mutual: Bools
    span_first: Ints
    fan: Ints
    first: Ints


class _Side(NamedTuple):
    """The operations of one kind: ``chain[rank]`` is one of a rank's, and ``later`` leads from each to its next."""

    of: Columns
    turn: Ints
    folds: Bools
    span: Ints
    first: Ints
    chain: Ints
    later: Ints


class _Peers(NamedTuple):
    """Of one rank, by the rank at the other end: which send it ``got``, and marks of what it gets and sends.

    An entry counts where its mark is that rank's own. ``chain`` and ``later`` lead through the sends to each rank.
    """

    got: Ints
    mark_got: Ints
    mark_sent: Ints
    chain: Ints
    later: Ints


@compiled
def pair(size: int, chunks: int, begin: int, rounds: int, sends: Columns, receives: Columns) -> Pairs:
    """The messages of ``rounds`` rounds from ``begin`` on, between ``size`` ranks with ``chunks`` chunks.

    The time it takes grows with the number of operations and of ranks, however many one rank has.
    """
    out, into = _side(size, begin, rounds, sends), _side(size, begin, rounds, receives)
    m = len(sends.rank)
    pairs = Pairs(
        -1, True, out.turn, np.zeros(m, np.int64), np.zeros(m, np.bool_), np.zeros(m, np.bool_), out.span,
        np.zeros(rounds, np.int64), out.first,
    )  # fmt: skip
    peers = _Peers(
        np.zeros(size, np.int64), np.full(size, -1), np.full(size, -1), np.full(size, -1), np.empty(m, np.int64)
    )
    ordered = True
    mark = 0
    for number in range(rounds):
        if not _enter(number, chunks, out, into, peers):
            return _faulty(number, pairs)
        met = 0
        for j in range(into.first[number], into.first[number + 1]):
            rank = receives.rank[j]
            if into.chain[rank] >= 0:
                mark += 1
                found = _settle(rank, mark, out, into, peers, pairs)
                if found < 0:
                    return _faulty(number, pairs)
                met += found
                pairs.fan[number] = max(pairs.fan[number], found)
        if met < out.first[number + 1] - out.first[number]:
            return _faulty(number, pairs)
        pairs.fan[number] = max(pairs.fan[number], _leave(number, out, peers))
        ordered = ordered and _in_order(number, out, pairs)
    return Pairs(-1, ordered, out.turn, pairs.met, pairs.folds, pairs.mutual, out.span, pairs.fan, out.first)


@compiled
def _faulty(number: int, pairs: Pairs) -> Pairs:
    return Pairs(
        number, False, pairs.turn, pairs.met, pairs.folds, pairs.mutual, pairs.span_first, pairs.fan, pairs.first
    )


@compiled
def _side(size: int, begin: int, rounds: int, columns: Columns) -> _Side:
    """Write out the runs."""
    n = len(columns.rank)
    turn, folds, span = np.empty(n, np.int64), np.empty(n, np.bool_), np.empty(n + 1, np.int64)
    first = np.zeros(rounds + 1, np.int64)
    i = start = 0
    for run in range(len(columns.runs)):
        count, number, its_turn, spans, its_folds = columns.runs[run]
        first[number - begin + 1] += count
        for _ in range(count):
            turn[i], folds[i], span[i] = its_turn, its_folds != 0, start
            start += spans
            i += 1
    span[n] = start
    return _Side(columns, turn, folds, span, np.cumsum(first), np.full(size, -1), np.empty(n, np.int64))


@compiled
def _enter(number: int, chunks: int, out: _Side, into: _Side, peers: _Peers) -> bool:
    """Chain up the operations of a round; False for a partner or a chunk that does not exist."""
    size = len(out.chain)
    for i in range(out.first[number], out.first[number + 1]):
        source, dest, end = out.of.rank[i], out.of.peer[i], out.span[i + 1]
        if not 0 <= dest < size or dest == source or (end > out.span[i] and out.of.high[end - 1] > chunks):
            return False
        out.later[i], peers.later[i] = out.chain[source], peers.chain[dest]
        out.chain[source] = peers.chain[dest] = i
    for j in range(into.first[number], into.first[number + 1]):
        dest, source = into.of.rank[j], into.of.peer[j]
        if not 0 <= source < size:
            return False
        into.later[j] = into.chain[dest]
        into.chain[dest] = j
    return True


@compiled
def _settle(rank: int, mark: int, out: _Side, into: _Side, peers: _Peers, pairs: Pairs) -> int:
    """Match all that one rank receives: how many messages that are, or -1."""
    met = 0
    i = peers.chain[rank]
    while i >= 0:
        source = out.of.rank[i]
        if peers.mark_got[source] == mark:
            return -1
        peers.got[source], peers.mark_got[source] = i, mark
        i = peers.later[i]
    i = out.chain[rank]
    while i >= 0:
        peers.mark_sent[out.of.peer[i]] = mark
        i = out.later[i]
    j = into.chain[rank]
    while j >= 0:
        source = into.of.peer[j]
        i = peers.got[source]
        if peers.mark_got[source] != mark or not _alike(out, int(i), into, int(j)):
            return -1
        peers.mark_got[source] = -1  # a second receive from there finds none
        pairs.met[i], pairs.folds[i], pairs.mutual[i] = into.turn[j], into.folds[j], peers.mark_sent[source] == mark
        met += 1
        j = into.later[j]
    into.chain[rank] = -1
    return met


@compiled
def _alike(out: _Side, i: int, into: _Side, j: int) -> bool:
    """Whether a send and a receive name the same spans."""
    at, there = out.span[i], into.span[j]
    spans = out.span[i + 1] - at
    if into.span[j + 1] - there != spans:
        return False
    for k in range(spans):
        if out.of.low[at + k] != into.of.low[there + k] or out.of.high[at + k] != into.of.high[there + k]:
            return False
    return True


@compiled
def _leave(number: int, out: _Side, peers: _Peers) -> int:
    """Undo the chains of sends: the most that one rank has."""
    most = 0
    for i in range(out.first[number], out.first[number + 1]):
        leaving = 0
        k = out.chain[out.of.rank[i]]
        while k >= 0:
            leaving += 1
            k = out.later[k]
        most = max(most, leaving)
        out.chain[out.of.rank[i]] = peers.chain[out.of.peer[i]] = -1
    return most


@compiled
def _in_order(number: int, out: _Side, pairs: Pairs) -> bool:
    """Whether the messages of a round come by their sender's turn, then their receiver's, then their sender."""
    for i in range(out.first[number] + 1, out.first[number + 1]):
        before = (out.turn[i - 1], pairs.met[i - 1], out.of.rank[i - 1])
        if before > (out.turn[i], pairs.met[i], out.of.rank[i]):
            return False
    return True
