"""Playing phases of schedules on a network: which engine is right for them, and what they leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from simulator import agenda, events, fluid, settled, world
from simulator.blocks import Block, blocks
from simulator.conditions import Conditions
from simulator.cut import Cut
from simulator.networks import Network
from simulator.pricing import Priced, Pricing

__all__ = ["EventPlayer", "Phase", "Played", "Record", "SettledPlayer", "play"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_NOBODY = np.iinfo(np.int64).max
"""The owner of background traffic, which never ends."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One collective in a row of several: ``nbytes`` bytes in elements of ``itemsize`` bytes.

    No rank r enters it before second ``release[r]`` (float64 of shape (size,), or one number for all), nor before it
    is through with the phase before.
    """

    algorithm: Algorithm
    nbytes: int
    itemsize: int = 1
    release: Floats | float = 0.0


@dataclass(slots=True, eq=False)
class Record:
    """All messages of a run, in order: their blocks, ``ideal`` seconds and ``moments`` (float64 of shape (m, 6)).

    ``parts``: float64 of shape (m, 4), what of its time goes to encoding, decoding, folding and staging.
    ``stay_of``: int64 of shape (s, 2), rank and round of each stay; ``stays``: float64 of shape (s, 3).
    """

    blocks: list[Block] = field(default_factory=list[Block])
    routes: list[Ints] = field(default_factory=list[Ints])
    ideal: Floats = field(default_factory=lambda: np.empty(0))
    parts: Floats = field(default_factory=lambda: np.empty((0, 4)))
    moments: Floats = field(default_factory=lambda: np.empty((0, 6)))
    stay_of: Ints = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    stays: Floats = field(default_factory=lambda: np.empty((0, 3)))


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What came out: ``completion``, float64 of shape (phases, size), when each rank was through with each phase.

    ``rounds``, ``messages`` and ``bytes`` are totals. ``fan``: the most messages that a port had in one round.
    ``eager``: whether any message went before its receiver was ready. ``used``: float64 of shape (links, bins), bytes
    that each link carried in equal parts of the run, or None. ``record``: None where it was not wanted.
    """

    completion: Floats
    rounds: int
    messages: int
    bytes: int
    fan: int
    eager: bool
    used: Floats | None = None
    record: Record | None = None


def play(
    phases: Sequence[Phase],
    network: Network,
    *,
    contention: bool = True,
    conditions: Conditions | None = None,
    record: bool = False,
    bins: int = 0,
    seconds: float = 0.0,
) -> Played:
    """Play ``phases`` one after another, without a barrier between them; ranks drift apart.

    ``contention=False`` gives every message the whole of each link on its way. ``record`` keeps every message, so
    memory grows with their number. ``bins``: into how many equal parts of the first ``seconds`` to count link use.

    Raises ValueError for conditions that do not fit, or a run that can never end because of a failed link;
    ScheduleError for schedules whose sends and receives do not match.
    """
    conditions = conditions or Conditions()
    conditions.check(network)
    if conditions.on_links and not contention:
        raise ValueError("changes of links and background traffic need contention")
    on_links = conditions.on_links or bool(bins) or (contention and not network.topology.private)
    if not on_links and _is_calm(network, conditions):
        return SettledPlayer(phases, network, conditions, record=record).play()
    return EventPlayer(phases, network, conditions, on_links=on_links, record=record, bins=bins, seconds=seconds).play()


def _is_calm(network: Network, conditions: Conditions) -> bool:
    """Whether nothing but the ranks' own ports is ever waited for, and no message goes before its receiver is ready."""
    message, cores = network.model.message, network.model.cores
    encoding = network.model.encoding
    busy = message.overhead or message.overhead_per_byte or not message.gapless or (cores and cores.waiting == "yields")
    busy = busy or network.model.synchronise or (encoding is not None and encoding.works)
    return not busy and message.eager < 0 and not message.handshake and not conditions.compute


class _Player:
    """What both engines count and keep."""

    def __init__(self, phases: Sequence[Phase], network: Network, conditions: Conditions, *, record: bool) -> None:
        self.phases, self.network, self.size = phases, network, network.size
        self.pricing = Pricing(network, conditions)
        self.left = np.full(self.size, network.model.start)
        for rank, late in conditions.start.items():
            self.left[rank] += late
        released = [np.broadcast_to(np.asarray(phase.release, float), self.size) for phase in phases]
        self.release = np.maximum.accumulate(np.stack([np.maximum(released[0], self.left), *released[1:]]))
        self.completion = np.zeros((len(phases), self.size))
        self.rounds = self.messages = self.bytes = 0
        self.fan, self.eager = 1, False
        self.record = Record() if record else None

    def blocks(self) -> Iterator[tuple[int, int, Block]]:
        """The blocks of all phases, with the number of their phase and of the round at which the phase begins."""
        for number, phase in enumerate(self.phases):
            begin, last = self.rounds, 0
            encoding = self.network.model.encoding
            if encoding is not None:
                encoding.check(phase.itemsize)
                self.pricing.follow(Cut.of(phase.algorithm, self.size, phase.nbytes, phase.itemsize))
            wire = encoding and encoding.wire
            for block in blocks(phase.algorithm, self.size, phase.nbytes, phase.itemsize, wire=wire):
                last = block.first_round + block.rounds
                self.rounds = begin + last
                yield number, begin, block

    def count(self, block: Block, priced: Priced) -> None:
        self.messages += len(block.source)
        self.bytes += int(block.nbytes.sum())
        self.fan = max(self.fan, int(block.fan.max(initial=1)))
        self.eager = self.eager or bool(priced.eager.any())
        if self.record:
            self.record.blocks.append(block)
            self.record.routes.append(priced.route)
            self.record.ideal = np.concatenate([self.record.ideal, priced.ideal])
            parts = np.stack(np.broadcast_arrays(*priced.parts), axis=1)
            self.record.parts = np.concatenate([self.record.parts, parts])

    def played(self, used: Floats | None = None) -> Played:
        completion = np.maximum.accumulate(np.maximum(self.completion, self.release), axis=0)
        completion.flags.writeable = False
        return Played(completion, self.rounds, self.messages, self.bytes, self.fan, self.eager, used, self.record)


class SettledPlayer(_Player):
    """Settles one block of rounds after the other."""

    def play(self) -> Played:
        """Play all phases."""
        now = -1
        for number, begin, block in self.blocks():
            if number != now:
                self._close(now, number)
                now = number
            priced = self.pricing.price(block, routes=False)
            self.count(block, priced)
            start = np.zeros(len(block.source))
            stays = np.full((block.rounds if self.record else 0, self.size, 3), np.nan)
            settled.settle(
                block.first, block.fan, block.source, block.dest, priced.delay, priced.ideal, priced.fold, self.left,
                start, stays,
            )  # fmt: skip
            if self.record:
                self._keep(self.record, block, priced, begin, start, stays)
        self._close(now, len(self.phases))
        return self.played()

    def _close(self, now: int, following: int) -> None:
        """Phases ``now`` to before ``following`` are over, and ``following`` may begin."""
        for phase in range(max(now, 0), following):
            self.completion[phase] = self.left
        if following < len(self.phases):
            self.left = np.maximum(self.left, self.release[following])

    def _keep(self, record: Record, block: Block, priced: Priced, begin: int, start: Floats, stays: Floats) -> None:
        ready = np.array(start)
        enter = stays[:, :, 0]
        number = block.round - block.first_round
        ready = np.maximum(enter[number, block.source], enter[number, block.dest])
        sent = start + priced.ideal
        end = sent + priced.delay
        moments = np.stack([enter[number, block.source], ready, start, sent, end, end], axis=1)
        record.moments = np.concatenate([record.moments, moments])
        busy = np.argwhere(~np.isnan(stays[:, :, 0]))
        record.stays = np.concatenate([record.stays, stays[busy[:, 0], busy[:, 1]]])
        of = np.stack([busy[:, 1], busy[:, 0] + begin + block.first_round], axis=1)
        record.stay_of = np.concatenate([record.stay_of, of])


class EventPlayer(_Player):
    """Feeds the event engine with blocks of rounds as its ranks need them."""

    def __init__(
        self,
        phases: Sequence[Phase],
        network: Network,
        conditions: Conditions,
        *,
        on_links: bool,
        record: bool = False,
        bins: int = 0,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(phases, network, conditions, record=record)
        self.on_links, self.conditions = on_links, conditions
        topology, cores = network.topology, network.model.cores
        capacity, core = topology.bandwidth, np.full(self.size, -1)
        if cores and cores.waiting == "yields":
            machines, which = np.unique(topology.machine[network.place], return_inverse=True)
            core = len(capacity) + which
            capacity = np.concatenate([capacity, np.full(len(machines), float(cores.count))])
        room = 2 * self.size + len(conditions.background)
        self.flows = fluid.make(capacity, room, 1, bins, seconds / max(bins, 1))
        message, changes = network.model.message, conditions.links
        self.rules = world.Rules(bool(message.handshake), self.on_links)
        table = np.zeros((len(phases), self.size), dtype=world.PHASE)
        table["completion"], table["release"] = 0.0, self.release
        changing = np.zeros(len(changes), dtype=world.CHANGE)
        changing["link"] = [change.link for change in changes]
        changing["capacity"] = [change.factor * topology.bandwidth[change.link] for change in changes]
        self.world = world.empty(table, self._compute(), changing, core)
        self.world.ranks["left"] = self.left
        ends = np.cumsum(np.bincount([rank for rank, _ in conditions.compute], minlength=self.size).astype(np.int64))
        self.world.ranks["compute"][1:], self.world.ranks["compute_end"] = ends[:-1], ends

    def play(self) -> Played:
        """Play all phases; ValueError if a failed link keeps them from ending."""
        self._begin()
        coming = self.blocks()
        ahead = next(coming, None)
        if ahead is None:
            self._load(None, 0, more=False)
        while ahead is not None:
            (phase, begin, block), ahead = ahead, next(coming, None)
            self._load((begin, block), phase, more=ahead is not None)
            if events.advance(self.world, self.flows, self.rules) == events.STUCK:
                raise ValueError(self._stuck())
        events.advance(self.world, self.flows, self.rules)
        self.completion = self.world.phases["completion"]
        if self.record:
            stays = self.world.stays[: int(self.world.totals[world.STAYS])]
            self.record.moments = self.world.moments
            self.record.stay_of = np.stack([stays["rank"], stays["round"]], axis=1)
            self.record.stays = np.stack([stays["entered"], stays["received"], stays["left"]], axis=1)
        return self.played(self.flows.used[: len(self.network.topology.ends)] if self.flows.used.size else None)

    def _compute(self) -> world.Records:
        """The phases of work, by rank and round."""
        found = sorted(self.conditions.compute.items())
        table = np.zeros(len(found), dtype=world.COMPUTE)
        table["round"] = [number for (_, number), _ in found]
        table["seconds"] = [seconds * self.pricing.spin(rank) for (rank, _), seconds in found]
        return table

    def _begin(self) -> None:
        """Link changes and background traffic."""
        for number, change in enumerate(self.conditions.links):
            agenda.put(self.world, float(change.at), events.LINK, number)
        for flow in self.conditions.background:
            links = np.array(self.network.topology.route(flow.source, flow.dest), dtype=np.int64)
            self._hops(len(links))
            fluid.begin(self.flows, links, 0, len(links), np.inf, float(flow.rate), _NOBODY, 0.0)

    def _load(self, loaded: tuple[int, Block] | None, phase: int, *, more: bool) -> None:
        ints, floats, first = np.zeros((5, 0), dtype=np.int64), np.zeros((7, 0)), self.messages
        if loaded:
            begin, block = loaded
            priced = self.pricing.price(block, routes=self.on_links)
            self.count(block, priced)
            ints = np.stack([block.source, block.dest, block.round + begin, priced.eager, priced.route])
            floats = np.stack(
                [block.nbytes, priced.send, priced.receive, priced.delay, priced.ideal, priced.fold, priced.gap],
                dtype=np.float64,
            )
            self._hops(self.pricing.hops)
            self.world = world.with_routes(self.world, self.pricing.first, self.pricing.links)
        self.world = world.with_slots(self.world, ints.shape[1], log=self.record is not None)
        events.load(self.world, self.rules, ints, floats, first, phase, more)

    def _hops(self, hops: int) -> None:
        if hops > self.flows.entry.shape[1]:
            self.flows = fluid.grown(self.flows, len(self.flows.flow), hops)

    def _stuck(self) -> str:
        flows, slots = self.flows, self.world.slots
        for slot in range(len(slots)):
            message = slots[slot]
            for flow in np.flatnonzero((flows.flow["owner"] == slot) & (flows.flow["place"] >= 0)).tolist():
                links = flows.entry["link"][flow, : flows.flow["hops"][flow]]
                for link in links[flows.link["capacity"][links] == 0].tolist():
                    ends = self.network.topology.ends[link].tolist()
                    between = " to ".join(self.network.topology.label(vertex) for vertex in ends)
                    return (
                        f"the run cannot end: link {link} ({between}) failed and never came back, and the message from "
                        f"rank {message['source']} to rank {message['dest']} in round {message['round']} is on it"
                    )
        raise AssertionError("the engine stopped although no link has failed: a defect of the simulator")
