"""One collective on one network: ``simulate`` plays it, ``Run`` is what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.schedule import Chunks
from simulator import symmetry as symmetries
from simulator.bounds import Bound, lower_bound
from simulator.conditions import Conditions
from simulator.networks import Network
from simulator.playing import Phase, Played, Record, play
from simulator.symmetry import Symmetric
from simulator.timeline import Message, Stay, Timeline

if TYPE_CHECKING:
    from simulator.explanation import Explanation

__all__ = ["Run", "simulate"]

Floats = NDArray[np.float64]

_FULL = 4096
"""Up to so many ranks every message is played, unless symmetry is asked for."""

_MOST = 1e9
"""More rounds of a rank than this are played in full only where that is asked for: it takes many minutes."""

_KEPT = 5_000_000
"""A timeline holds up to so many messages, of about 1 kB each."""


@dataclass(frozen=True, eq=False)
class Run:
    """What came out of one simulation.

    ``seconds``: completion of the last rank. ``completion``: that of each rank, float64 of shape (size,), read-only.
    ``limits``: the lower bounds, and ``bound`` the largest of them in seconds. ``rounds``, ``messages`` and ``bytes``
    are totals on the wire, zero-byte messages included. ``contention`` and ``conditions`` are what it was played under.
    ``symmetric``: where one rank stood for all, by which relabelling and checked on how many ranks; else empty.
    """

    algorithm: Algorithm
    network: Network
    nbytes: int
    itemsize: int
    contention: bool
    conditions: Conditions
    seconds: float
    limits: Bound
    rounds: int
    messages: int
    bytes: int
    completion: Floats
    symmetric: str = ""

    @property
    def size(self) -> int:
        """Number of ranks."""
        return self.network.size

    @property
    def bound(self) -> float:
        """Seconds below which no algorithm can stay."""
        return self.limits.seconds

    def timeline(self) -> Timeline:
        """Every message, and every rank's stay in every round that gave it something to do.

        The run is played again, to the same result, and this time everything is kept: memory grows with its messages.
        Raises ValueError for more than five million of them.
        """
        return self._timeline

    def utilisation(self, bins: int = 64) -> Floats:
        """The share of its bandwidth that each link used in each of ``bins`` equal parts of the run: (links, bins).

        Links of infinite bandwidth use none of it.
        """
        if bins < 1:
            raise ValueError(f"utilisation needs at least one bin, got {bins}")
        links = self.network.topology.bandwidth
        if not self.seconds:
            return np.zeros((len(links), bins))
        played = self._play(bins=bins)
        assert played.used is not None
        return played.used / links[:, np.newaxis] / (self.seconds / bins)

    def explain(self) -> Explanation:
        """Why it took so long: the critical path with its shares. The run is played again and all of it kept."""
        from simulator.explanation import explain

        return explain(self)

    @cached_property
    def _timeline(self) -> Timeline:
        if self.messages > _KEPT:
            raise ValueError(
                f"a timeline keeps every message, and {self.messages} are more than {_KEPT}: take fewer ranks"
            )
        record = self._play(record=True).record
        assert record is not None
        return _timeline(record)

    def _play(self, *, record: bool = False, bins: int = 0) -> Played:
        return play(
            [Phase(self.algorithm, self.nbytes, self.itemsize)], self.network, contention=self.contention,
            conditions=self.conditions, record=record, bins=bins, seconds=self.seconds,
        )  # fmt: skip


def simulate(
    algorithm: Algorithm,
    size: int,
    nbytes: int,
    network: Network,
    *,
    itemsize: int = 1,
    contention: bool = True,
    conditions: Conditions | None = None,
    symmetry: bool | None = None,
) -> Run:
    """Play ``algorithm`` for ``size`` ranks and a vector of ``nbytes`` bytes on ``network``.

    Chunks end between elements of ``itemsize`` bytes, which are those that the model's encoding takes, if it has one.
    Empty chunks are real messages of zero bytes, and cost α.
    ``contention=False`` gives every message the whole of each link on its way, as closed forms do. Time grows with the
    number of messages, memory with how many of them are under way.

    ``symmetry``: whether one rank's part may stand for all of them, where schedule and network look the same from every
    rank; that is verified (see ``simulator.symmetry``). By default it is tried above 4,096 ranks, and where it fails a
    run that would take more than some ten minutes is refused; False plays it.

    Raises ValueError for a size that the network or the algorithm does not have, for bytes that are no whole number of
    elements, and for conditions that do not fit; ScheduleError for a schedule whose sends and receives do not match.
    """
    _check(algorithm, size, nbytes, network, itemsize)
    conditions = conditions or Conditions()
    found = _by_symmetry(algorithm, size, nbytes, network, itemsize, contention, conditions, symmetry)
    if isinstance(found, Symmetric):
        played, seconds = found, found.seconds
        completion = np.full(size, seconds)
        completion.flags.writeable = False
        how = f"{found.relabelling.kind}, compared with {len(found.relabelling.ranks)} other ranks"
    else:
        played = play([Phase(algorithm, nbytes, itemsize)], network, contention=contention, conditions=conditions)
        completion, how = played.completion[0], ""
    run = Run(
        algorithm=algorithm,
        network=network,
        nbytes=nbytes,
        itemsize=itemsize,
        contention=contention,
        conditions=conditions,
        seconds=float(completion.max()),
        limits=lower_bound(algorithm, nbytes, network, fan=played.fan, eager=played.eager, contention=contention),
        rounds=played.rounds,
        messages=played.messages,
        bytes=played.bytes,
        completion=completion,
        symmetric=how,
    )
    if run.seconds < run.bound * (1 - 1e-9):
        raise AssertionError(_too_fast(run))
    return run


def _by_symmetry(
    algorithm: Algorithm, size: int, nbytes: int, network: Network, itemsize: int, contention: bool,
    conditions: Conditions, wanted: bool | None,
) -> Symmetric | None:  # fmt: skip
    if wanted is False or (wanted is None and size <= _FULL):
        return None
    if conditions != Conditions():
        reason = "conditions are not the same for all ranks"
    else:
        found = symmetries.quick(algorithm, size, nbytes, network, itemsize, contention=contention)
        if isinstance(found, Symmetric):
            return found
        reason = found.reason
    work = float(algorithm.cost(size).messages) * size
    if wanted or work > _MOST:
        raise ValueError(
            f"{algorithm.label} over {size} ranks, {work:.2g} rounds of a rank in all: one rank cannot stand for all "
            f"({reason}). Take fewer ranks, or play it in full with symmetry=False, at about 100 million a minute"
        )
    return None


def _check(algorithm: Algorithm, size: int, nbytes: int, network: Network, itemsize: int) -> None:
    if size != network.size:
        raise ValueError(f"the network has {network.size} hosts, not {size}: give each rank one host")
    if not algorithm.supports(size):
        raise ValueError(f"{algorithm.label} does not work for {size} ranks")
    if itemsize < 1:
        raise ValueError(f"an element has at least one byte, got itemsize={itemsize}")
    if nbytes < 0 or nbytes % itemsize:
        raise ValueError(f"nbytes must be 0 or more and a multiple of itemsize={itemsize}, got {nbytes}")
    if network.model.encoding is not None:
        network.model.encoding.check(itemsize)


def _too_fast(run: Run) -> str:
    """Why a run below its lower bound is a defect: the message that was faster than its route, if there is one."""
    said = (
        f"{run.algorithm.label} for {run.size} ranks and {run.nbytes} bytes took {run.seconds} s, below the lower "
        f"bound of {run.bound} s ({run.limits})"
    )
    topology, place = run.network.topology, run.network.place
    for message in run.timeline():
        route = list(topology.route(int(place[message.source]), int(place[message.dest])))
        least = float(topology.latency[route].sum()) + message.nbytes / float(topology.bandwidth[route].min())
        if message.arrived - message.start < least * (1 - 1e-9):
            return (
                f"{said}: the message from rank {message.source} to rank {message.dest} in round {message.round} took "
                f"{message.arrived - message.start} s, and its route alone takes {least} s, so the simulator is wrong"
            )
    return f"{said}, although no message was too fast: its schedule does not prove, or the bound is wrong"


def _timeline(record: Record) -> Timeline:
    messages: list[Message] = []
    for block in record.blocks:
        spans = block.spans.tolist()
        first = block.span_first.tolist()
        at = len(messages)
        moments = record.moments[at : at + len(block.source)].tolist()
        ideal = record.ideal[at : at + len(block.source)].tolist()
        parts = record.parts[at : at + len(block.source)].tolist()
        columns = (
            block.source.tolist(), block.dest.tolist(), block.round.tolist(), block.nbytes.tolist(),
            block.folds.tolist(),
        )  # fmt: skip
        for m, (source, dest, number, nbytes, folds) in enumerate(zip(*columns, strict=True)):
            chunks = _chunks(spans[first[m] : first[m + 1]])
            times = [*moments[m], ideal[m], *parts[m]]
            messages.append(Message(source, dest, number, chunks, nbytes, folds, *times))
    order = np.lexsort((record.stay_of[:, 0], record.stay_of[:, 1]))
    stays = tuple(
        Stay(rank, number, *moments)
        for (rank, number), moments in zip(record.stay_of[order].tolist(), record.stays[order].tolist(), strict=True)
    )
    return Timeline(tuple(messages), stays)


def _chunks(spans: Sequence[tuple[int, int]]) -> Chunks:
    return Chunks(range(*spans[0])) if len(spans) == 1 else Chunks(chain.from_iterable(range(*span) for span in spans))
