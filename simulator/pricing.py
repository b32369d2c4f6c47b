"""What the messages of a block cost on a network, as arrays: the form in which every engine takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.blocks import Block
from simulator.coded import Coding
from simulator.conditions import Conditions
from simulator.cut import Cut
from simulator.networks import Network
from simulator.staging import Stages

__all__ = ["Priced", "Pricing"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """Of each message, float64 of shape (m,) in seconds: processor time at both ends, latency, port, gap, reduction.

    ``ideal`` is for how long its bytes take the ports when nothing else is on their way, and ``gap`` for how long they
    stay taken after that. ``eager``: int64, 1 where it
    leaves without its receiver. ``route``: int64, its route in ``Pricing``, 0 where routes do not matter.
    ``parts``: what of these is encoding (of ``send``), decoding (of ``receive``), folding, and resting on the way (of
    ``delay``), where nothing slows a rank down.
    """

    send: Floats
    receive: Floats
    delay: Floats
    ideal: Floats
    gap: Floats
    fold: Floats
    eager: Ints
    route: Ints
    parts: tuple[Floats | float, Floats | float, Floats, Floats | float]


class Pricing:
    """Prices blocks of one network under given conditions, and keeps the routes that were asked for.

    ``first`` and ``links`` hold the routes: route ``i`` is ``links[first[i]:first[i + 1]]``; ``hops`` is the longest.
    """

    def __init__(self, network: Network, conditions: Conditions) -> None:
        self._network, self._model = network, network.model
        self._slow = np.ones(network.size)
        for rank, factor in conditions.slow_ranks.items():
            self._slow[rank] = factor
        self._is_slow = bool(conditions.slow_ranks)
        self._jitter = conditions.jitter
        self._chance = np.random.default_rng(conditions.jitter.seed if conditions.jitter else 0)
        self._spin = _spinning(network)
        self._keys = np.empty(0, dtype=np.int64)
        self._ids = np.empty(0, dtype=np.int64)
        self._latency = self._bandwidth = np.empty(0)
        self._stages = Stages(self._ids, self._latency)
        self.first, self.links, self.hops = np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64), 0
        self._uniform = _uniform(network)
        self._coded: Coding | None = None

    def price(self, block: Block, *, routes: bool, alike: bool = False) -> Priced:
        """The costs of each message of ``block``; ``routes``: whether the engine needs them.

        ``alike``: the block holds what one rank sends, and all ranks do the same.
        """
        nbytes, message = block.nbytes, self._model.message
        route, latency, bandwidth = self._way(block, routes=routes)
        encode, decode = self._coding(block)
        fold = self._folding(block, block.content)
        delay = message.delay(nbytes) + latency + self._later(block, alike=alike)
        ideal = self._ideal(block, bandwidth)
        fill = 0.0
        if self._network.topology.relays:
            ideal, fold, fill = self._staged(block, route, ideal)
            delay = delay + fill
        parts = encode, decode, fold, fill
        overhead = message.overhead + np.multiply(nbytes, message.overhead_per_byte, dtype=np.float64)
        send, receive, gap = overhead + self._model.synchronise + encode, overhead + decode, message.gap(nbytes)
        eager = (nbytes <= message.eager).astype(np.int64)
        if self._spin is not None:
            send, receive, fold = (
                cpu * self._spin[at] for cpu, at in ((send, block.source), (receive, block.dest), (fold, block.dest))
            )
        if self._is_slow:
            at_source, at_dest = self._slow[block.source], self._slow[block.dest]
            worse = np.maximum(at_source, at_dest)
            send, receive, fold = send * at_source, receive * at_dest, fold * at_dest
            delay, ideal, gap = delay * worse, ideal * worse, gap * worse
        if self._jitter:
            delay = delay + self._jitter.draw(self._chance, len(nbytes))
        return Priced(send, receive, delay, ideal, gap, fold, eager, route, parts)

    def follow(self, cut: Cut) -> None:
        """A phase with ``cut`` begins: from now on its blocks are priced, in their order, if vectors are encoded."""
        if self._model.encoding is not None:
            self._coded = Coding(self._model.encoding, self._network.size, cut)

    def _way(self, block: Block, *, routes: bool) -> tuple[Ints, Floats | float, Floats | float]:
        """The route of each message, its latency, and the lowest bandwidth on it."""
        if self._uniform and not routes:
            return np.zeros(len(block.nbytes), dtype=np.int64), *self._uniform
        route = self._routed(block)
        return route, self._latency[route], self._bandwidth[route]

    def _coding(self, block: Block) -> tuple[Floats | float, Floats | float]:
        """Seconds to encode and to decode each message."""
        encoding = self._model.encoding
        if encoding is None or not encoding.works:
            return 0.0, 0.0
        assert self._coded is not None
        found = self._coded.of(block)
        decode = encoding.decode.seconds(found.chunks, block.content)
        if encoding.add is not None:
            decode = np.where(block.folds, encoding.add.seconds(found.chunks, block.content), decode)
        return encoding.encode.seconds(found.fresh, found.nbytes), decode

    def _folding(self, block: Block, content: Ints) -> Floats:
        """Seconds to reduce ``content`` bytes of each message, where its receiver does that after all else."""
        encoding = self._model.encoding
        if encoding is not None and encoding.add is not None:
            return np.zeros(len(content))
        return np.where(block.folds, self._model.reduction.seconds(content), 0.0)

    def _ideal(self, block: Block, bandwidth: Floats | float) -> Floats:
        """Seconds for which the bytes take the ports when they are alone and rest nowhere."""
        ideal = np.maximum(block.nbytes / bandwidth, self._model.message.seconds(block.nbytes))
        duplex = self._model.duplex
        return ideal if duplex.full else np.where(block.mutual, ideal * duplex.factors(block.nbytes), ideal)

    def _later(self, block: Block, *, alike: bool) -> Floats | float:
        """Seconds by which two ranks that both send and receive make a message later."""
        if not self._model.busy.points:
            return 0.0
        later = self._model.busy.seconds(block.nbytes)
        return later if alike else np.where(self._two_way(block), later, 0.0)

    def _staged(self, block: Block, route: Ints, ideal: Floats) -> tuple[Floats, Floats, Floats]:
        """Seconds in the ports, of the last piece's fold, and of the first piece in other stages than the slowest."""
        staging, stages = self._model.staging, self._stages.at(route)
        pieces = staging.pieces(block.nbytes, stages)
        fold = self._folding(block, -(-block.content // pieces))
        ideal = staging.taken(block.nbytes, pieces, stages, ideal, fold)
        return ideal, fold, staging.fill(block.nbytes, pieces, stages)

    def _two_way(self, block: Block) -> NDArray[np.bool_]:
        """Whether the source of each message also receives in its round, and the destination also sends."""
        first = block.round * self._network.size
        sends, receives = first + block.source, first + block.dest
        return np.isin(sends, receives) & np.isin(receives, sends)

    def spin(self, rank: int) -> float:
        """How many times longer processor work takes ``rank`` because others of its machine spin, and it is slow."""
        return float(self._slow[rank]) * (1.0 if self._spin is None else float(self._spin[rank]))

    def _routed(self, block: Block) -> Ints:
        keys = block.source * self._network.size + block.dest
        if not self._known(keys):
            unique = np.unique(keys)
            new = unique[~np.isin(unique, self._keys)]
            self._add(new)
        return self._ids[np.searchsorted(self._keys, keys)]

    def _known(self, keys: Ints) -> bool:
        if not len(self._keys):
            return False
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return bool((self._keys[at] == keys).all())

    def _add(self, keys: Ints) -> None:
        place, topology = self._network.place, self._network.topology
        found = topology.routes(place[keys // self._network.size], place[keys % self._network.size])
        ids = np.arange(len(self.first) - 1, len(self.first) - 1 + len(keys))
        lengths = np.diff(found.first)
        self.hops = max(self.hops, int(lengths.max(initial=0)))
        latency, bandwidth = topology.latency[found.links], topology.bandwidth[found.links]
        self._latency = np.concatenate([self._latency, np.add.reduceat(latency, found.first[:-1])])
        self._bandwidth = np.concatenate([self._bandwidth, np.minimum.reduceat(bandwidth, found.first[:-1])])
        if topology.relays:
            self._stages = self._stages.then(Stages.of(topology, found))
        self.links = np.concatenate([self.links, found.links])
        self.first = np.concatenate([self.first, self.first[-1] + found.first[1:]])
        order = np.argsort(keys_all := np.concatenate([self._keys, keys]), kind="stable")
        self._keys, self._ids = keys_all[order], np.concatenate([self._ids, ids])[order]


def _uniform(network: Network) -> tuple[float, float] | None:
    """Latency and bandwidth of every pair of ranks, where the network is private and all its links are alike."""
    topology = network.topology
    if (
        not topology.private
        or topology.relays
        or np.ptp(topology.latency)
        or np.any(topology.bandwidth != topology.bandwidth[0])
    ):
        return None
    if network.size == 1:
        return 0.0, float(topology.bandwidth[0])
    route = topology.route(int(network.place[0]), int(network.place[1]))
    return float(sum(topology.latency[link] for link in route)), float(topology.bandwidth[0])


def _spinning(network: Network) -> Floats | None:
    """By rank, how many ranks of its machine there are to each of its cores, where waiting ranks spin."""
    cores = network.model.cores
    if cores is None or cores.waiting != "spins":
        return None
    machine = network.topology.machine[network.place]
    _, which, ranks = np.unique(machine, return_inverse=True, return_counts=True)
    return np.maximum(1.0, ranks[which] / cores.count)
