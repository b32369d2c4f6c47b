"""Play a schedule on a network, message by message.

The model (Hockney's, with rendezvous and one full-duplex port a rank): a message of m bytes in round r starts when
both its ranks have entered round r and the sender's out-port and the receiver's in-port are free. It takes both ports
for m·β and is complete at both ends α + m·β after its start. A rank leaves its round when all its operations are
complete, plus γ for each byte folded in it. Rounds are labels: ranks drift apart as far as their messages allow.

A rank's ports serve no round but the one that the rank is in. So all that happens in round r follows from the moments
at which each rank entered it, and rounds can be settled one after the other although ranks are not in step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from simulator import theory
from simulator.messages import Ints, Messages, lower
from simulator.networks import Network
from simulator.timeline import Message, Stay, Timeline

__all__ = ["Run", "simulate"]

Floats = NDArray[np.float64]

_TIE = 1e-12
"""Moments that differ by less than this share are one: so rounding never decides which message goes first."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What came out of one simulation.

    ``seconds``: completion of the last rank. ``completion``: that of each rank, float64 of shape (size,), read-only.
    ``bound``: the lower bound of the collective in seconds. ``rounds``, ``messages`` and ``bytes`` are totals,
    zero-byte messages included.
    """

    algorithm: Algorithm
    network: Network
    nbytes: int
    seconds: float
    bound: float
    rounds: int
    messages: int
    bytes: int
    completion: Floats
    _table: Messages
    _played: _Played

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.network.size

    def timeline(self) -> Timeline:
        """Every message, and every rank's stay in every round that gave it something to do."""
        table, played = self._table, self._played
        columns = (
            table.source.tolist(), table.dest.tolist(), table.round.tolist(), table.chunks, played.nbytes.tolist(),
            table.folds.tolist(), played.start.tolist(), played.sent.tolist(), played.end.tolist(),
        )  # fmt: skip
        messages = tuple(Message(*row) for row in zip(*columns, strict=True))
        busy = np.zeros((table.rounds, self.size), dtype=np.bool_)
        busy[table.round, table.source] = busy[table.round, table.dest] = True
        stays = tuple(
            Stay(rank, number, *(float(moments[number, rank]) for moments in played.stays))
            for number, rank in np.argwhere(busy).tolist()
        )
        return Timeline(messages, stays)


@dataclass(frozen=True, slots=True, eq=False)
class _Played:
    """Bytes and moments of each message, shape (m,); stays are (entered, received, left), each (rounds, size)."""

    nbytes: Ints
    start: Floats
    sent: Floats
    end: Floats
    stays: tuple[Floats, Floats, Floats]


def simulate(algorithm: Algorithm, size: int, nbytes: int, network: Network, *, itemsize: int = 1) -> Run:
    """Play ``algorithm`` for ``size`` ranks and a vector of ``nbytes`` bytes on ``network``.

    Chunks end between elements of ``itemsize`` bytes. Empty chunks are real messages of zero bytes, and cost α.
    Time and memory grow with the number of messages.

    Raises ValueError for a size that the network or the algorithm does not have, or for bytes that are no whole number
    of elements; ScheduleError for a schedule whose sends and receives do not match.
    """
    _check(algorithm, size, nbytes, network, itemsize)
    table = lower(algorithm, size)
    sizes = table.nbytes(nbytes * algorithm.vectors(size) // itemsize, algorithm.chunks(size), itemsize)
    played = _play(table, sizes, network)
    completion = played.stays[2][-1] if table.rounds else np.zeros(size)
    completion.flags.writeable = False
    run = Run(
        algorithm=algorithm,
        network=network,
        nbytes=nbytes,
        seconds=float(completion.max()),
        bound=theory.bound_of(
            algorithm, size, nbytes, network.alpha, network.beta, network.gamma, fan=int(table.fan.max(initial=1))
        ),
        rounds=table.rounds,
        messages=len(table.source),
        bytes=int(sizes.sum()),
        completion=completion,
        _table=table,
        _played=played,
    )
    if run.seconds < run.bound * (1 - 1e-9):
        raise AssertionError(
            f"{algorithm.label} for {size} ranks and {nbytes} bytes took {run.seconds} s, below the lower bound of "
            f"{run.bound} s: either its schedule does not prove, or the simulator is wrong"
        )
    return run


def _check(algorithm: Algorithm, size: int, nbytes: int, network: Network, itemsize: int) -> None:
    if size != network.size:
        raise ValueError(f"the network has {network.size} hosts, not {size}: give each rank one host")
    if not algorithm.supports(size):
        raise ValueError(f"{algorithm.label} does not work for {size} ranks")
    if itemsize < 1:
        raise ValueError(f"an element has at least one byte, got itemsize={itemsize}")
    if nbytes < 0 or nbytes % itemsize:
        raise ValueError(f"nbytes must be 0 or more and a multiple of itemsize={itemsize}, got {nbytes}")


def _play(table: Messages, nbytes: Ints, network: Network) -> _Played:
    occupied: Floats = np.multiply(nbytes, network.beta, dtype=np.float64)
    folding = np.where(table.folds, nbytes * network.gamma, 0.0)
    start, end = np.zeros(len(nbytes)), np.zeros(len(nbytes))
    entered, received, left = (np.zeros((table.rounds, table.size)) for _ in range(3))
    now = np.zeros(table.size)
    for number in range(table.rounds):
        mine = slice(table.first[number], table.first[number + 1])
        source, dest = table.source[mine], table.dest[mine]
        start[mine] = np.maximum(now[source], now[dest])
        if table.fan[number] > 1:
            start[mine] = _in_turn(start[mine], occupied[mine], source, dest)
        end[mine] = start[mine] + occupied[mine] + network.alpha
        entered[number] = received[number] = now
        for ranks in (source, dest):
            np.maximum.at(received[number], ranks, end[mine])
        now = received[number] + np.bincount(dest, weights=folding[mine], minlength=table.size)
        left[number] = now
    return _Played(nbytes, start, start + occupied, end, (entered, received, left))


def _in_turn(ready: Floats, occupied: Floats, source: Ints, dest: Ints) -> Floats:
    """Start times where messages compete for ports: whenever a port is free, the first in order that can go goes."""
    start = ready.copy()
    ports = list(zip(source.tolist(), dest.tolist(), strict=True))
    out_free: dict[int, float] = {}
    in_free: dict[int, float] = {}
    waiting = list(range(len(ports)))
    while waiting:
        possible = [max(ready[i], out_free.get(ports[i][0], 0.0), in_free.get(ports[i][1], 0.0)) for i in waiting]
        now = min(possible) * (1 + _TIE)
        still: list[int] = []
        for i in waiting:
            out, into = ports[i]
            earliest = max(ready[i], out_free.get(out, 0.0), in_free.get(into, 0.0))
            if earliest <= now:
                start[i] = earliest
                out_free[out] = in_free[into] = earliest + occupied[i]
            else:
                still.append(i)
        waiting = still
    return start
