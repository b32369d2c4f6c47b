"""Runs in which every rank does the same at the same time: one rank's timeline stands for all of them.

A schedule is *equivariant* if it looks the same from every rank: what rank r does is what rank 0 does, with the ranks
renamed, by turning the ring of ranks (i -> i + r mod p) or by flipping the bits of r (i -> i xor r). If the network
looks the same from every rank too, all ranks enter and leave each round together, and one of them is enough.

Neither is assumed. The network says of itself what leaves it unchanged; the schedule is compared, round by round and
all rounds, between rank 0 and a random sample of the other ranks at the very size and number of bytes asked for.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.schedule import OVERWRITE, Recv, Send
from simulator.blocks import Block
from simulator.columns import whole
from simulator.conditions import Conditions
from simulator.cut import Cut
from simulator.networks import Network
from simulator.pricing import Pricing

__all__ = ["Asymmetric", "Relabelling", "Symmetric", "equivariance", "quick"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Kind = Literal["rotation", "xor"]

_PEEK = 64
"""Rounds that are compared first: most schedules that are not symmetric show it in these."""

_SAMPLE, _LEAST_SAMPLE, _OPERATIONS = 8, 2, 300_000
"""Ranks compared with rank 0 by default: so many, or fewer if that is more operations, but never fewer than two."""

_BATCH = 128
"""Rounds that are read at once: enough for long lists, and few enough to stay in the cache."""

_NONE = np.zeros(0, dtype=np.int64)

_TURN_BITS = 24
"""No round lists more operations than these count."""

_LINKS = 10_000_000
"""Routes of more links than this in all are not added up."""


@dataclass(frozen=True, slots=True, eq=False)
class Relabelling:
    """``kind``: how ranks are renamed so that rank 0's part becomes any other's; ``ranks`` were compared with it.

    ``messages``: what rank 0 sends, with ``folds`` and ``mutual`` at the ranks that receive it, and without spans.
    """

    kind: Kind
    size: int
    ranks: tuple[int, ...]
    messages: Block


@dataclass(frozen=True, slots=True)
class Symmetric:
    """A run of ``relabelling.size`` ranks that are all through after ``seconds``. The others are totals of all ranks.

    ``fan``: the most messages that a port had in one round. ``eager``: whether any went before its receiver was ready.
    """

    seconds: float
    messages: int
    bytes: int
    rounds: int
    fan: int
    eager: bool
    relabelling: Relabelling


@dataclass(frozen=True, slots=True)
class Asymmetric:
    """``reason``: why one rank does not stand for all."""

    reason: str


def quick(
    algorithm: Algorithm, size: int, nbytes: int, network: Network, itemsize: int = 1, *, contention: bool = True
) -> Symmetric | Asymmetric:
    """The run of ``algorithm`` on ``network`` from one rank's rounds, if that is right and nothing disturbs the run.

    Equal to the full simulation but for rounding. Time grows with the messages of one rank; where it does not apply,
    that usually shows in the first rounds. The arguments are those of ``simulate``, and have been checked.
    """
    topology = network.topology
    if network.translations is None or (network.translations == "any" and not topology.private):
        return Asymmetric(f"{network.name} does not look the same from every rank")
    if network.model.cores and len(np.unique(topology.machine[network.place])) < size:
        return Asymmetric("ranks share the cores of a machine")
    if network.model.encoding is not None:
        return Asymmetric("with an encoding, what is encoded anew is followed at every rank")
    found = equivariance(algorithm, size, nbytes, itemsize)
    if found is None:
        return Asymmetric(f"{algorithm.label} with {nbytes} bytes does not look the same from every rank")
    if network.translations == "cyclic" and found.kind != "rotation":
        return Asymmetric(f"{algorithm.label} is symmetric, but not when {network.name} is turned")
    if found.messages.fan.max(initial=0) > 1:
        return Asymmetric(f"{algorithm.label} has several messages for one port in a round")
    if network.translations == "cyclic" and _links(network, found) > _LINKS:
        return Asymmetric(f"the routes of {algorithm.label} on {network.name} are too long")
    return _played(found, network, contention)


# --- the schedule -------------------------------------------------------------------------------------------------


class _Half(NamedTuple):
    """The sends or the receives of one rank, in order; ``place`` is the round, and the turn in its lowest bits."""

    peer: Ints
    place: Ints
    folds: Ints
    nbytes: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Role:
    """What one rank does in some rounds."""

    rank: int
    rounds: int
    sends: _Half
    receives: _Half


def equivariance(
    algorithm: Algorithm, size: int, nbytes: int, itemsize: int = 1, sample: int | None = None, seed: int = 0
) -> Relabelling | None:
    """How the schedule looks the same from rank 0 and from ``sample`` other ranks, or None if it does not.

    Compared are, in every round and in listed order, partners, bytes and whether a receive folds. The sample holds the
    last rank and rank 1, and others drawn with ``seed``; by default it is as large as is quick.
    """
    chance = random.Random(seed)
    others = [size - 1, *chance.sample(range(2, size - 1), min(sample or _SAMPLE, max(size - 3, 0))), 1]
    others = list(dict.fromkeys(rank for rank in others if 0 < rank < size))[: sample or _SAMPLE]
    cut = Cut.of(algorithm, size, nbytes, itemsize)
    first = _role(algorithm, 0, size, cut, _PEEK)
    roles = [_role(algorithm, rank, size, cut, _PEEK) for rank in others]
    kinds: list[Kind] = [kind for kind in _kinds(size) if all(_alike(kind, size, first, role) for role in roles)]
    if not kinds:
        return None
    first = _role(algorithm, 0, size, cut, None)
    others = others[: sample or max(_LEAST_SAMPLE, _OPERATIONS // max(len(first.sends.peer), 1))]
    for rank in others:
        role = _role(algorithm, rank, size, cut, None)
        kinds = [kind for kind in kinds if _alike(kind, size, first, role)]
    for kind in kinds:
        if (messages := _messages(kind, size, first)) is not None:
            return Relabelling(kind, size, tuple(others), messages)
    return None


def _kinds(size: int) -> tuple[Kind, ...]:
    return ("rotation", "xor") if size & (size - 1) == 0 else ("rotation",)


def _role(algorithm: Algorithm, rank: int, size: int, cut: Cut, rounds: int | None) -> _Role:
    """The part of ``rank`` in the first ``rounds`` rounds, or in all."""
    lengths: list[Ints] = []
    kinds: list[Bools] = []
    columns: tuple[list[Ints], ...] = ([], [], [], [])
    coming = islice(algorithm.rounds(rank, size), rounds)
    while batch := list(islice(coming, _BATCH)):
        operations = list(chain.from_iterable(batch))
        spans = [operation.chunks.spans for operation in operations]
        lengths.append(whole([len(mine) for mine in batch]))
        kinds.append(np.array([isinstance(operation, Send) for operation in operations], dtype=np.bool_))
        numbers = (
            [operation.dest if isinstance(operation, Send) else operation.source for operation in operations],
            [isinstance(operation, Recv) and operation.fold is not OVERWRITE for operation in operations],
            [len(mine) for mine in spans],
            list(chain.from_iterable(chain.from_iterable(spans))),
        )
        for column, new in zip(columns, numbers, strict=True):
            column.append(whole(new))
    counts = np.concatenate([_NONE, *lengths])
    peer, folds, spanning, ends = (np.concatenate([_NONE, *column]) for column in columns)
    nbytes = cut.nbytes(ends[::2], ends[1::2], _starts(spanning))
    turn = np.arange(len(peer)) - np.repeat(_starts(counts)[:-1], counts)
    place = np.repeat(np.arange(len(counts)), counts) << _TURN_BITS | turn
    sends = np.concatenate([_NONE.astype(np.bool_), *kinds])
    halves = (_Half(peer[mine], place[mine], folds[mine], nbytes[mine]) for mine in (sends, ~sends))
    return _Role(rank, len(counts), *halves)


def _starts(lengths: Ints) -> Ints:
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(lengths)))


def _alike(kind: Kind, size: int, first: _Role, other: _Role) -> bool:
    """Whether ``other`` does what rank 0 does, its partners renamed."""
    return first.rounds == other.rounds and all(
        np.array_equal(_renamed(kind, size, mine.peer, other.rank), its.peer)
        and all(map(np.array_equal, mine[1:], its[1:]))
        for mine, its in ((first.sends, other.sends), (first.receives, other.receives))
    )


def _renamed(kind: Kind, size: int, peer: Ints, rank: int) -> Ints:
    return peer ^ rank if kind == "xor" else (peer + rank) % size


def _messages(kind: Kind, size: int, role: _Role) -> Block | None:
    """What rank 0 sends, as it is received elsewhere; None if sends and receives do not match."""
    sends, receives = role.sends, role.receives
    round_out, round_in = sends.place >> _TURN_BITS, receives.place >> _TURN_BITS
    # a rank gets from there what it sends to the other side: the receives of rank 0 are those of all its messages
    towards = receives.peer if kind == "xor" else -receives.peer % size
    out, into = np.lexsort((sends.peer, round_out)), np.lexsort((towards, round_in))
    leaving = round_out[out], sends.peer[out], sends.nbytes[out]
    if not all(map(np.array_equal, leaving, (round_in[into], towards[into], receives.nbytes[into]))):
        return None
    folds = np.empty(len(out), dtype=np.bool_)
    folds[out] = receives.folds[into] != 0
    counts = np.bincount(round_out, minlength=role.rounds)
    return Block(
        first_round=0,
        rounds=role.rounds,
        source=np.zeros(len(out), dtype=np.int64),
        dest=sends.peer,
        round=round_out,
        nbytes=sends.nbytes,
        content=sends.nbytes,
        folds=folds,
        mutual=np.isin(round_out * size + sends.peer, round_in * size + receives.peer),
        fan=counts,
        first=_starts(counts),
        spans=np.zeros((0, 2), dtype=np.int64),
        span_first=np.zeros(len(out) + 1, dtype=np.int64),
    )


# --- the run ------------------------------------------------------------------------------------------------------


def _links(network: Network, found: Relabelling) -> int:
    """How many links the routes of rank 0 have, each different one counted once."""
    dests = np.unique(found.messages.dest)
    lengths = network.topology.lengths
    return (
        int(lengths(network.place[np.zeros_like(dests)], network.place[dests]).sum())
        if lengths
        else len(dests) * found.size
    )


def _played(found: Relabelling, network: Network, contention: bool) -> Symmetric:
    """All ranks are in step: a message starts when both ports are free, and nothing but its like is on its way."""
    block, message = found.messages, network.model.message
    priced = Pricing(network, Conditions()).price(block, routes=False, alike=True)
    busy = priced.ideal
    if contention and network.translations == "cyclic":
        busy = np.maximum(busy, _shared(network, block))
    now = free = network.model.start
    rows = (priced.send, priced.receive, priced.delay, busy, priced.fold, priced.gap, priced.eager)
    for send, receive, delay, taken, fold, gap, eager in zip(*(row.tolist() for row in rows), strict=True):
        ready = now + send
        if message.handshake and not eager:
            ready = ready + delay + delay
        sent = max(ready, free) + taken
        free = sent + gap
        now = sent + delay + receive + fold
    return Symmetric(
        seconds=now,
        messages=len(block.dest) * found.size,
        bytes=int(block.nbytes.sum()) * found.size,
        rounds=block.rounds,
        fan=int(block.fan.max(initial=1)),
        eager=bool(priced.eager.any()),
        relabelling=found,
    )


def _shared(network: Network, block: Block) -> Floats:
    """Seconds that the bytes take on a ring on which every rank sends as far at once: as many share each link."""
    dests, which = np.unique(block.dest, return_inverse=True)
    routes = network.topology.routes(np.full(len(dests), network.place[0]), network.place[dests])
    links = np.diff(routes.first)
    slowest = np.minimum.reduceat(network.topology.bandwidth[routes.links], routes.first[:-1])
    return block.nbytes * links[which] / slowest[which]
