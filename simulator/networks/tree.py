"""Trees of switches: fat trees, and machines inside machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np

from simulator.networks.checks import check_bandwidth, check_latency, whole
from simulator.networks.network import Network
from simulator.networks.topology import Bools, Ints, Routes, Topology, one_of

__all__ = ["Tree", "fat_tree", "hierarchical", "switch_names"]


def fat_tree(
    k: int,
    latency: float,
    bandwidth: float,
    oversubscription: float = 1.0,
    hosts: int | None = None,
    levels: int = 3,
) -> Network:
    """A folded Clos of switches with ``k`` ports each, half of them downwards: k³/4 hosts on three ``levels``.

    Two levels (leaves and spines) take k²/2 hosts, one is a single switch with k. ``hosts``: how many there are, from
    the first on; only the pods that they need are built. ``oversubscription``: an edge switch has that many times
    fewer uplinks than hosts, each as fast as a host's link, so one message alone is as fast as ever; above the edge
    nothing is oversubscribed. ``latency``: seconds of each link. ``bandwidth``: bytes/s of each link, each way.

    The way up is chosen by the destination d alone: at the edge uplink d mod u, one level up ⌊d / u⌋ mod k/2, and so
    on (D-mod-k), so all messages to one host come down one way, and shift patterns meet nowhere without
    oversubscription. Raises ValueError for an odd k, for oversubscription that leaves no whole number of uplinks, for
    more hosts than there are ports, and for a bandwidth or latency that cannot be.
    Source: Al-Fares, Loukissas and Vahdat, "A scalable, commodity data center network architecture" (2008); routing:
    Zahavi et al., "Optimized InfiniBand fat-tree routing for shift all-to-all communication patterns" (2010).
    """
    if whole("k", k, 2) % 2:
        raise ValueError(f"k must be even, for half of a switch's ports go up, got {k}")
    half, levels = k // 2, whole("levels", levels)
    uplinks = _uplinks(half, oversubscription, levels)
    tree = Tree(
        name="fat tree",
        down=(half,) * (levels - 1) + (k,),
        up=((1, uplinks) + (half,) * (levels - 2))[:levels],
        latency=(check_latency(latency),) * levels,
        bandwidth=(check_bandwidth(bandwidth),) * levels,
        switches=switch_names(levels),
    )
    return tree.network(hosts)


def _uplinks(hosts: int, oversubscription: float, levels: int) -> int:
    if not (math.isfinite(oversubscription) and oversubscription >= 1):
        raise ValueError(f"oversubscription must be 1 (none) or more, got {oversubscription}")
    if levels == 1 and oversubscription != 1:
        raise ValueError("a single switch has no uplinks to oversubscribe: levels must be 2 or more")
    uplinks = round(hosts / oversubscription)
    if not (uplinks >= 1 and math.isclose(uplinks * oversubscription, hosts, rel_tol=1e-3)):
        possible = ", ".join(f"{hosts / links:.4g}" for links in range(hosts, 0, -1))
        raise ValueError(
            f"oversubscription {oversubscription:g} leaves no whole number of uplinks for the {hosts} hosts of an edge "
            f"switch; possible: {possible}"
        )
    return uplinks


def hierarchical(
    counts: Sequence[int], latency: Sequence[float], bandwidth: Sequence[float], hosts: int | None = None
) -> Network:
    """Islands inside machines inside a fabric: ``counts`` says how many there are in one of the next, innermost first.

    ``counts=(4, 2, 16)``: 4 GPUs on each island switch (NVLink, say), 2 islands in each node, 16 nodes on one fabric
    switch; any number of levels. ``latency`` and ``bandwidth``: for each level seconds and bytes/s (each way) of the
    links below its switches: of a GPU to its island, an island to its node, a node to the fabric. Every switch has one
    uplink, which all below it share. All below the outermost switch is one machine. ``hosts``: how many there are, from
    the first on. Raises ValueError for lists of different lengths, and for numbers that cannot be.
    """
    levels = len(counts)
    if not levels or not levels == len(latency) == len(bandwidth):
        raise ValueError(
            "hierarchical needs one count, one latency and one bandwidth for each level, got "
            f"{levels}, {len(latency)} and {len(bandwidth)}"
        )
    names = ("island switch", "node switch", "fabric switch")[-levels:] if levels <= 3 else _numbered(levels)
    tree = Tree(
        name="hierarchical",
        down=tuple(whole("each of counts", count) for count in counts),
        up=(1,) * levels,
        latency=tuple(check_latency(value) for value in latency),
        bandwidth=tuple(check_bandwidth(value) for value in bandwidth),
        switches=names,
        machine_level=levels - 1,
    )
    return tree.network(hosts)


def switch_names(levels: int) -> tuple[str, ...]:
    """What the switches of a fat tree with so many levels are called, from the hosts up."""
    match levels:
        case 1:
            return ("switch",)
        case 2:
            return ("leaf switch", "spine switch")
        case 3:
            return ("edge switch", "aggregation switch", "core switch")
        case _:
            return _numbered(levels)


def _numbered(levels: int) -> tuple[str, ...]:
    return tuple(f"level {level} switch" for level in range(1, levels + 1))


def _products(counts: tuple[int, ...]) -> list[int]:
    return [math.prod(counts[:level]) for level in range(len(counts) + 1)]


def _host(host: int) -> str:
    return f"host {host}"


@dataclass(frozen=True)
class Tree:
    """A tree in which a switch of level ``l`` has ``down[l-1]`` children, and a vertex below it ``up[l-1]`` parents.

    Level 0 are the hosts, with one parent each. ``latency`` and ``bandwidth``: of the links below each level.
    ``switches``: what the switches of each level are called. ``machine_level``: all hosts below one switch of this
    level are one machine. Routes go up as far as they must and choose parents by D-mod-k.

    A switch of level l is (s, x): s says which subtree it tops, x which of the W_l = up_1 ⋯ up_l switches that top it.
    The parent that D-mod-k chooses for destination d on every level is x = d mod W_l, so no digits need be kept.
    Source: Zahavi, "D-Mod-K routing providing non-blocking traffic for shift permutations on real life fat trees"
    (2010), which calls these trees parallel-port generalised fat trees.
    """

    name: str
    down: tuple[int, ...]
    up: tuple[int, ...]
    latency: tuple[float, ...]
    bandwidth: tuple[float, ...]
    switches: tuple[str, ...]
    machine_level: int = 0
    host: Callable[[int], str] = _host

    def network(self, hosts: int | None = None) -> Network:
        """The network of the first ``hosts`` hosts, by default of as many as there are places.

        Raises ValueError for more hosts than places, or none.
        """
        places = math.prod(self.down)
        count = places if hosts is None else whole("hosts", hosts)
        if count > places:
            raise ValueError(f"this {self.name} has {places} hosts, too few for {count}")
        topology = _Built(self, count).topology()
        return Network(topology, np.arange(count))


class _Built:
    """A tree with its first ``hosts`` hosts: numbers of its vertices and links.

    Vertices: level after level, (s, x) as s·W + x. Links below level l leave (s, ·) of level l - 1 for parent x, and
    are numbered s·W_l + x, first all upwards and then all downwards, level after level.
    """

    def __init__(self, tree: Tree, hosts: int) -> None:
        self.tree, self.hosts = tree, hosts
        self._levels = len(tree.down)
        self._under = _products(tree.down)  # hosts below a switch of each level
        self._tops = _products(tree.up)  # switches that top one subtree of each level
        self._subtrees = [-(-hosts // under) for under in self._under]
        sizes = [count * tops for count, tops in zip(self._subtrees, self._tops, strict=True)]
        self._vertex = [0, *accumulate(sizes)]
        self._cables = [self._subtrees[level] * self._tops[level + 1] for level in range(self._levels)]
        self._link = [0, *accumulate(2 * cables for cables in self._cables)]

    def topology(self) -> Topology:
        tree = self.tree
        cables = np.repeat(np.arange(self._levels), np.multiply(self._cables, 2))
        only_ports = self._levels == 1
        return Topology(
            name=tree.name,
            hosts=self.hosts,
            ends=np.concatenate([self._ends(level) for level in range(self._levels)]),
            latency=np.array(tree.latency, dtype=np.float64)[cables],
            bandwidth=np.array(tree.bandwidth, dtype=np.float64)[cables],
            machine=np.arange(self.hosts) // self._under[tree.machine_level],
            route=one_of(self.routes),
            cuts=self.cuts,
            label=self.label,
            private=only_ports,
            many=self.routes,
            translations="any" if only_ports else None,
        )

    def _ends(self, level: int) -> Ints:
        """Of the links between ``level`` and the one above."""
        subtree, parent = np.divmod(np.arange(self._cables[level]), self._tops[level + 1])
        below = self._vertex[level] + subtree * self._tops[level] + parent % self._tops[level]
        above = self._vertex[level + 1] + subtree // self.tree.down[level] * self._tops[level + 1] + parent
        up = np.stack([below, above], axis=1)
        return np.concatenate([up, up[:, ::-1]])

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """Up by ``dests`` to the first subtree that holds both, and down."""
        upwards: list[tuple[Bools, Ints]] = []
        downwards: list[tuple[Bools, Ints]] = []
        for level in range(self._levels):
            apart = sources // self._under[level] != dests // self._under[level]
            tops = self._tops[level + 1]
            parent = self._link[level] + dests % tops
            upwards.append((apart, parent + sources // self._under[level] * tops))
            downwards.append((apart, parent + self._cables[level] + dests // self._under[level] * tops))
        return Routes.of_columns(upwards + downwards[::-1], len(sources))

    def cuts(self) -> Iterator[chain[int]]:
        """Every subtree with its switches, from the smallest to those just below the top."""
        for level in range(1, self._levels):
            for subtree in range(self._subtrees[level]):
                yield chain.from_iterable(self._within(level, subtree))

    def _within(self, level: int, subtree: int) -> Iterator[range]:
        for below in range(level + 1):
            each = self._under[level] // self._under[below]
            last = min((subtree + 1) * each, self._subtrees[below])
            start, tops = self._vertex[below], self._tops[below]
            yield range(start + subtree * each * tops, start + last * tops)

    def label(self, vertex: int) -> str:
        """``edge switch 3``, or with its subtree in front where several subtrees have several: ``... 1.3``."""
        if vertex < self.hosts:
            return self.tree.host(vertex)
        level = next(level for level in range(1, self._levels + 1) if vertex < self._vertex[level + 1])
        subtree, top = divmod(vertex - self._vertex[level], self._tops[level])
        which = f"{subtree}.{top}" if self._tops[level] > 1 and level < self._levels else str(subtree + top)
        return f"{self.tree.switches[level - 1]} {which}"
