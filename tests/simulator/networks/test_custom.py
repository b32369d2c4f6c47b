"""Networks from graphs: shortest paths, chosen the same way every time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Network, networks


def names(network: Network, source: int, dest: int) -> list[str]:
    hops = network.route(source, dest)
    return [hops[0].source, *(hop.dest for hop in hops)]


def dumbbell() -> nx.Graph:
    """Three hosts on each of two switches, and a thin cable between."""
    graph = nx.Graph()
    for host in range(6):
        graph.add_node(f"h{host}", host=True)
        graph.add_edge(f"h{host}", "left" if host < 3 else "right", latency=1e-6, bandwidth=1e9)
    graph.add_edge("left", "right", latency=2e-6, bandwidth=1.5e9)
    return graph


def test_a_dumbbell_by_hand() -> None:
    network = networks.custom(dumbbell(), "dumbbell")
    assert network.name == "dumbbell"
    assert names(network, 0, 5) == ["h0", "left", "right", "h5"]
    assert names(network, 0, 1) == ["h0", "left", "h1"]
    assert network.alpha == pytest.approx(4e-6)
    assert network.nearest == 2e-6
    assert [(cut.ranks.tolist(), cut.outward, cut.inward) for cut in network.cut_capacities()] == [
        ([0, 1, 2], 1.5e9, 1.5e9), ([3, 4, 5], 1.5e9, 1.5e9),
    ]  # fmt: skip


def test_of_paths_with_the_least_latency_the_shortest_and_then_the_first_by_name() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(["a", "b"], host=True)
    # 0.1 + 0.2 us and 0.3 us are one latency, though not in floating point.
    for via, first, second in (("y", 0.1, 0.2), ("x", 0.2, 0.1)):
        graph.add_edge("a", via, latency=first * 1e-6, bandwidth=1e9)
        graph.add_edge(via, "b", latency=second * 1e-6, bandwidth=1e9)
    graph.add_edge("b", "a", latency=1e-6, bandwidth=1e9)
    assert names(networks.custom(graph), 0, 1) == ["a", "x", "b"]
    assert names(networks.custom(graph), 1, 0) == ["b", "a"]
    graph.add_edge("a", "b", latency=0.3e-6, bandwidth=1e9)
    assert names(networks.custom(graph), 0, 1) == ["a", "b"]


@st.composite
def graphs(draw: st.DrawFn) -> nx.DiGraph:
    """A directed ring of up to nine nodes, so that all are reachable, and any links more."""
    count = draw(st.integers(1, 9))
    graph = nx.DiGraph()
    for node in draw(st.permutations(range(count))):
        graph.add_node(node, host=node == 0 or draw(st.booleans()))
    pairs = {(node, (node + 1) % count) for node in range(count)} | draw(
        st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)))
    )
    for one, other in sorted(pairs):
        if one != other:
            graph.add_edge(one, other, latency=draw(st.integers(0, 3)) * 1e-6, bandwidth=1e9)
    return graph


@given(graphs())
def test_routes_are_the_first_of_the_shortest_paths(graph: nx.DiGraph) -> None:
    network = networks.custom(graph)
    hosts = [node for node, given in graph.nodes(data=True) if given["host"]]
    for source, one in enumerate(hosts):
        for dest, other in enumerate(hosts):
            if one == other:
                assert network.route(source, dest) == ()
                continue
            paths = nx.all_simple_paths(graph, one, other)
            best = min(paths, key=lambda path: (latency(graph, path), len(path), [str(node) for node in path]))
            assert names(network, source, dest) == [str(node) for node in best]


def latency(graph: nx.DiGraph, path: list[int]) -> int:
    return sum(round(graph.edges[edge]["latency"] * 1e6) for edge in itertools.pairwise(path))


@given(graphs(), st.randoms(use_true_random=False))
def test_many_routes_are_as_one_each(graph: nx.DiGraph, chance: Any) -> None:
    topology = networks.custom(graph).topology
    pairs = [(chance.randrange(topology.hosts), chance.randrange(topology.hosts)) for _ in range(20)]
    found = topology.routes(*np.array(pairs).T)
    for which, (source, dest) in enumerate(pairs):
        links = found.links[found.first[which] : found.first[which + 1]].tolist()
        assert links == list(topology.route(source, dest))


def test_a_shape_drawn_as_a_graph_has_routes_as_long() -> None:
    tree = networks.fat_tree(4, 1e-6, 1e9).topology
    graph = nx.DiGraph()
    graph.add_nodes_from(range(tree.hosts), host=True)
    for (one, other), seconds, rate in zip(tree.ends, tree.latency, tree.bandwidth, strict=True):
        graph.add_edge(int(one), int(other), latency=float(seconds), bandwidth=float(rate))
    sources, dests = np.divmod(np.arange(256), 16)
    drawn = networks.custom(graph).topology
    assert np.diff(drawn.routes(sources, dests).first).tolist() == np.diff(tree.routes(sources, dests).first).tolist()


def test_hosts_with_one_machine_share_it() -> None:
    graph = dumbbell()
    for host, machine in (("h0", "m"), ("h4", "m"), ("h5", 7)):
        graph.nodes[host]["machine"] = machine
    machine = networks.custom(graph).topology.machine.tolist()
    assert machine[0] == machine[4]
    assert len(set(machine)) == 5


def changed(edge: tuple[str, str] = ("h0", "left"), **attributes: Any) -> nx.Graph:
    graph = dumbbell()
    graph.edges[edge].update(attributes)
    return graph


def without(edge: tuple[str, str]) -> nx.Graph:
    graph = dumbbell()
    graph.remove_edge(*edge)
    return graph


def one_way() -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(["a", "b"], host=True)
    graph.add_edge("a", "b", latency=0.0, bandwidth=1e9)
    return graph


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (without(("left", "right")), "custom is not connected: there is no route from h0 to h3"),
        (without(("h2", "left")), "there is no route from h0 to h2"),
        (one_way(), "there is no route from b to a"),
        (nx.path_graph(3), "custom has no hosts: mark nodes with host=True"),
        (nx.MultiGraph(dumbbell()), "two nodes with several edges"),
        (changed(bandwidth=0.0), "link h0 - left: bandwidth must be above 0 bytes/s, got 0.0"),
        (changed(bandwidth=math.nan), "link h0 - left: bandwidth must be above 0"),
        (changed(latency=-1e-6), "link h0 - left: latency must be finite and at least 0 s, got -1e-06"),
        (changed(latency="1us"), "link h0 - left: latency must be a number, got '1us'"),
        (changed(bandwidth=None), "link h0 - left: bandwidth must be a number, got None"),
    ],
)
def test_what_cannot_be_is_refused(graph: nx.Graph, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        networks.custom(graph)


def test_a_node_linked_with_itself_is_refused() -> None:
    graph = dumbbell()
    graph.add_edge("h1", "h1", latency=0.0, bandwidth=1e9)
    with pytest.raises(ValueError, match="link h1 - h1 joins a node with itself"):
        networks.custom(graph)
