"""Networks that somebody drew: a graph of hosts and switches."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np

from simulator.networks.checks import check_bandwidth, check_latency
from simulator.networks.network import Network
from simulator.networks.topology import Bools, Floats, Ints, Routes, Topology, one_of

__all__ = ["Graph", "Link", "custom", "drawn"]

_KEPT, _AT_ONCE = 1 << 26, 1 << 22
"""Entries of routing tables, one a vertex for each destination, that a network keeps, and that it looks at together."""


class Link(NamedTuple):
    """From node ``source`` to node ``dest``: seconds and bytes/s."""

    source: Hashable
    dest: Hashable
    latency: float
    bandwidth: float

    @classmethod
    def checked(cls, source: Hashable, dest: Hashable, latency: float, bandwidth: float) -> Link:
        """ValueError that names the link, for numbers that cannot be and for a node linked with itself."""
        what = f"link {source} - {dest}"
        if source == dest:
            raise ValueError(f"{what} joins a node with itself")
        return cls(
            source, dest, check_latency(latency, f"{what}: latency"), check_bandwidth(bandwidth, f"{what}: bandwidth")
        )


class Graph(Protocol):
    """What is taken from a graph: ``networkx.Graph`` and ``networkx.DiGraph`` have it."""

    def is_directed(self) -> bool:
        """Whether an edge is one link and not two."""
        ...

    def is_multigraph(self) -> bool:
        """Whether two nodes can have several edges."""
        ...

    @property
    def nodes(self) -> Any:
        """``nodes(data=True)`` gives pairs of a node and its attributes."""
        ...

    @property
    def edges(self) -> Any:
        """``edges(data=True)`` gives triples of two nodes and the attributes of their edge."""
        ...


def custom(graph: Graph, name: str = "custom") -> Network:
    """The network that ``graph`` (of networkx, directed or not) draws.

    Nodes with the attribute ``host=True`` are hosts, in the order in which they were added, and rank r is on host r;
    ``machine=...`` (anything that can be compared) puts hosts with the same value into one machine. The other nodes are
    switches. Every edge has ``latency`` in seconds and ``bandwidth`` in bytes/s; an undirected edge is a cable with
    that much in each direction. Messages take the path with the least latency, among those the one with the fewest
    links, among those the one whose nodes come first by name; other hosts may lie on it.

    Raises ValueError for a graph without hosts, an edge without its numbers or with ones that cannot be, several edges
    between two nodes, and hosts without a route between them.
    """
    if graph.is_multigraph():
        raise ValueError("two nodes with several edges are not one link: give one edge the sum of their bandwidths")
    return drawn(dict(graph.nodes(data=True)), _links(graph), name)


def drawn(nodes: Mapping[Hashable, Mapping[str, Any]], links: Iterable[Link], name: str) -> Network:
    """The network of ``nodes`` (a node and its attributes) and directed ``links``, as ``custom`` says.

    Raises ValueError for nodes without hosts, and for hosts without a route between them.
    """
    hosts = [node for node, given in nodes.items() if given.get("host")]
    if not hosts:
        raise ValueError(f"{name} has no hosts: mark nodes with host=True")
    chosen = set(hosts)
    ordered = hosts + [node for node in nodes if node not in chosen]
    number = {node: vertex for vertex, node in enumerate(ordered)}
    rows = [(number[link.source], number[link.dest], link.latency, link.bandwidth) for link in links]
    labels = [str(node) for node in ordered]
    ends = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
    latency = np.array([row[2] for row in rows], dtype=np.float64)
    _need_routes(ends, len(hosts), labels, name)
    many = _Shortest(ends, latency, labels).routes
    machines = [nodes[host].get("machine", (host,)) for host in hosts]
    numbers = {machine: which for which, machine in enumerate(dict.fromkeys(machines))}
    topology = Topology(
        name=name,
        hosts=len(hosts),
        ends=ends,
        latency=latency,
        bandwidth=np.array([row[3] for row in rows], dtype=np.float64),
        machine=np.array([numbers[machine] for machine in machines]),
        route=one_of(many),
        cuts=lambda: _around(ends, len(hosts), len(ordered)),
        label=lambda vertex: labels[vertex],
        many=many,
    )
    return Network(topology, np.arange(len(hosts)))


def _links(graph: Graph) -> Iterator[Link]:
    for one, other, given in graph.edges(data=True):
        for key in ("latency", "bandwidth"):
            if not isinstance(given.get(key), (int, float)):
                raise ValueError(f"link {one} - {other}: {key} must be a number, got {given.get(key)!r}")
        yield Link.checked(one, other, given["latency"], given["bandwidth"])
        if not graph.is_directed():
            yield Link.checked(other, one, given["latency"], given["bandwidth"])


def _need_routes(ends: Ints, hosts: int, labels: list[str], name: str) -> None:
    """ValueError that names two hosts, if there are two without a route."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    vertices = len(labels)
    for back in (False, True):  # from the first host to all others, and from all others to it
        source, dest = ends.T[::-1] if back else ends.T
        graph = coo_array((np.ones(len(ends)), (source, dest)), shape=(vertices, vertices)).tocsr()
        reached = np.zeros(vertices, dtype=np.bool_)
        reached[breadth_first_order(graph, 0, return_predecessors=False)] = True
        for lost in np.flatnonzero(~reached[:hosts])[:1].tolist():
            one, other = (lost, 0) if back else (0, lost)
            raise ValueError(f"{name} is not connected: there is no route from {labels[one]} to {labels[other]}")


class _Shortest:
    """Shortest paths to one destination at a time: the link by which messages for it leave each vertex."""

    def __init__(self, ends: Ints, latency: Floats, labels: list[str]) -> None:
        self._ends, self._vertices = ends, len(labels)
        by_name = sorted(range(len(labels)), key=lambda vertex: (labels[vertex], vertex))
        turn = np.empty(len(labels), dtype=np.int64)
        turn[by_name] = np.arange(len(labels))
        # Of several links that are equally good, the first in this order is taken.
        self._links = np.lexsort((turn[ends[:, 1]], ends[:, 0]))
        self._weight = _weights(latency, self._vertices)
        self.toward = lru_cache(maxsize=max(1, _KEPT // self._vertices))(self._toward)

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """The links of each route; time and memory grow with the number of different destinations."""
        order = np.argsort(dests, kind="stable")
        wanted, number = np.unique(dests[order], return_inverse=True)
        some = max(1, _AT_ONCE // self._vertices)
        cuts = np.searchsorted(number, np.arange(some, len(wanted), some))
        parts = [self._walk(sources[part], dests[part]) for part in np.split(order, cuts)]
        lengths = np.empty(len(sources), dtype=np.int64)
        lengths[order] = np.concatenate([np.diff(part.first) for part in parts])
        found = Routes.of_lengths(lengths, np.empty(int(lengths.sum()), dtype=np.int64))
        place = np.repeat(found.first[order] - np.cumsum(lengths[order]) + lengths[order], lengths[order])
        found.links[place + np.arange(len(place))] = np.concatenate([part.links for part in parts])
        return found

    def _walk(self, sources: Ints, dests: Ints) -> Routes:
        wanted, number = np.unique(dests, return_inverse=True)
        table = np.stack([self.toward(dest) for dest in wanted.tolist()] or [np.empty(0, dtype=np.int64)])
        at, columns = sources, list[tuple[Bools, Ints]]()
        while (going := at != dests).any():
            links = table[number, at]
            columns.append((going, links))
            at = np.where(going, self._ends[links, 1], at)
        return Routes.of_columns(columns, len(sources))

    def _toward(self, dest: int) -> Ints:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import dijkstra

        source, target = self._ends.T
        backwards = coo_array((self._weight, (target, source)), shape=(self._vertices, self._vertices)).tocsr()
        far: Floats = dijkstra(backwards, indices=[dest])[0]
        links = self._links[::-1]
        best = links[self._weight[links] + far[target[links]] == far[source[links]]]
        table = np.zeros(self._vertices, dtype=np.int64)
        table[source[best]] = best  # of several for one vertex the last is kept, the first by name
        return table


def _weights(latency: Floats, vertices: int) -> Floats:
    """Whole numbers that compare paths by latency and then by number of links, exact in every sum along a path."""
    scale = 1 << vertices.bit_length()
    total = float(latency.sum())
    # Powers of ten, for latencies are decimal numbers: 1 us + 3 us must equal 2 us + 2 us.
    digits = min(15, math.floor(math.log10(2.0**52 / scale / total))) if total else 15
    return np.rint(latency * 10.0**digits) * scale + 1


def _around(ends: Ints, hosts: int, vertices: int) -> Iterator[list[int]]:
    """Every switch with the hosts that are linked to it alone."""
    low, high = np.full(vertices, vertices), np.full(vertices, -1)
    for one, other in (ends.T, ends.T[::-1]):
        np.minimum.at(low, one, other)
        np.maximum.at(high, one, other)
    alone = np.flatnonzero((low == high)[:hosts])
    members: dict[int, list[int]] = {switch: [switch] for switch in range(hosts, vertices)}
    for host, neighbour in zip(alone.tolist(), low[alone].tolist(), strict=True):
        if neighbour in members:
            members[neighbour].append(host)
    yield from members.values()
