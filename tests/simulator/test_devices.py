"""Devices behind cards: pipelines worked by hand, laws between the paths, and PCIe links that are shared."""

from __future__ import annotations

import doctest
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from simulator import Network, networks, simulate
from simulator.explanation import explain
from simulator.networks.servers import Server, free, names, server
from simulator.processes import World

BROADCAST, EXCHANGE, RING = (catalogue.get(name) for name in ("broadcast_linear", "recursive_doubling", "ring"))
PATHS = networks.PATHS
QUICK = settings(max_examples=30, deadline=None)

SLOW = Server(
    "slow", per_switch=1, pcie=10.0, uplink=8.0, hop=1.0, island=40.0, island_latency=2.0, memory=300.0,
    host_memory=20.0, core=math.inf, copy=3.0, launch=0.5, synchronise=0.25,
)  # fmt: skip
"""Bytes a second, and seconds, so that a reader can follow."""


def cluster(machines: Sequence[int], latency: float = 7.0, bandwidth: float = 5.0) -> Network:
    """One star of cards, ``machines[i]`` of which are in machine i."""
    star = networks.star(sum(machines), latency, bandwidth)
    where = np.repeat(np.arange(len(machines)), machines)
    return replace(star, topology=replace(star.topology, machine=where))


def pipeline(pieces: int, stages: Sequence[float]) -> float:
    """Every stage once, and the slowest again for each further piece."""
    return sum(stages) + (pieces - 1) * max(stages)


# --- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nbytes", "piece", "pieces"), [(100, 40, 3), (100, 100, 1), (120, 40, 3), (10, 40, 1)])
def test_a_staged_message_is_a_pipeline_of_three_stages(nbytes: int, piece: int, pieces: int) -> None:
    """Copied out and in at 8 bytes/s, sent at 5; each piece costs each stage 3 s; latencies 1 + 7 + 1."""
    network = networks.behind(cluster([1, 1]), "staged", SLOW, piece)
    each = nbytes / pieces
    expected = 0.25 + 9 + pipeline(pieces, [3 + each / 8, 3 + each / 5, 3 + each / 8])
    assert simulate(BROADCAST, 2, nbytes, network).seconds == pytest.approx(expected)


def test_pieces_are_folded_while_others_are_on_their_way() -> None:
    """A reduced byte costs 3/300 s and a launch 0.5; then a device so slow that folding is the slowest stage."""
    for memory, fold in ((300.0, 0.5 + 3 * 50 / 300), (6.0, 0.5 + 3 * 50 / 6)):
        wide = replace(SLOW, memory=memory, uplink=math.inf, pcie=math.inf, host_memory=math.inf)
        network = networks.behind(cluster([1, 1]), "staged", wide, 50)
        expected = 0.25 + 9 + pipeline(4, [3.0, 3 + 50 / 5, 3.0, fold])
        assert simulate(EXCHANGE, 2, 200, network).seconds == pytest.approx(expected)


def test_copies_out_and_in_share_the_link_to_the_host_with_the_card() -> None:
    """Both ranks send 160 bytes: up go what is copied out and what the card received, and as much down: 4 bytes/s each.

    While one of them is set up, in 3 s, the other has the link, so that these are hidden.
    """
    network = networks.behind(cluster([1, 1], bandwidth=math.inf), "staged", replace(SLOW, pcie=math.inf), 160)
    alone, both = (simulate(algorithm, 2, 160, network) for algorithm in (BROADCAST, EXCHANGE))
    assert alone.seconds == pytest.approx(0.25 + 9 + 3 * 3 + 160 / 8 + 2 * 160 / 8)
    assert both.seconds == pytest.approx(alone.seconds + 160 / 8 - 3 + 0.5 + 160 / 100)
    shares = explain(both).shares()
    assert shares["contention"] == pytest.approx(160 / 8 - 3)
    assert shares["staging"] == pytest.approx(2 * 3 + 2 * 160 / 8)


def test_inside_a_machine() -> None:
    """Staged: out at 8, copied by the host at 20/3, in at 8. Peers: over NVLink, or PCIe. 0.5 µs is no time here."""
    bare = replace(SLOW, island=0.0)
    expected = {
        ("staged", SLOW): 0.25 + 2 + pipeline(1, [3 + 40 / 8, 3 + 40 / (20 / 3), 3 + 40 / 8]),
        ("peer", SLOW): 0.25 + 3 + 2 + 40 / 40,
        ("gpudirect", SLOW): 0.25 + 3 + 2 + 40 / 40,
        ("peer", bare): 0.25 + 2 + 40 / 8,
        ("gpudirect", bare): 0.25 + 2 + 40 / 8,
        ("host", SLOW): 40 / (20 / 3),
    }
    for (path, machine), seconds in expected.items():
        network = networks.behind(cluster([2]), path, machine, 40)
        assert simulate(BROADCAST, 2, 40, network).seconds == pytest.approx(seconds, abs=1e-6), path
    slow = networks.behind(cluster([2]), "host", replace(SLOW, core=2.0))
    assert simulate(BROADCAST, 2, 40, slow).seconds == pytest.approx(40 / 2, abs=1e-6)
    together = networks.behind(cluster([2]), "gpudirect", replace(bare, per_switch=2))
    assert simulate(BROADCAST, 2, 40, together).seconds == pytest.approx(0.25 + 2 + 40 / 10)  # not over the host


def test_a_switch_that_two_devices_share_is_half_as_fast_for_each() -> None:
    """Each of two devices sends 160 bytes to another machine over a card of its own."""
    swap = catalogue.get("recursive_doubling")
    for path, times in (("gpudirect", 1.0), ("staged", 2.0)):
        seconds: list[float] = []
        for per_switch in (1, 2):
            wide = replace(SLOW, per_switch=per_switch, pcie=10.0, host_memory=math.inf, copy=0.0)
            network = networks.behind(cluster([2, 2], 0.0, math.inf), path, wide, 160)
            far = networks.place(network, [0, 2, 1, 3])  # partners of the first exchange are in different machines
            run = simulate(swap, 4, 160, far)
            first = [message.sent - message.start for message in run.timeline() if message.round == 0]
            seconds.append(max(first))
        assert seconds[1] == pytest.approx(times * seconds[0])


def test_a_sender_waits_for_its_device_before_each_message() -> None:
    """A root that sends to two others waits twice; nothing is copied, and nothing else takes any time."""
    network = networks.behind(cluster([1, 1, 1], 0.0, math.inf), "gpudirect", replace(free(), synchronise=4.0))
    run = simulate(catalogue.get("reduce_linear"), 3, 90, network)
    assert run.completion.tolist() == [4, 4, 4]
    chain = simulate(catalogue.get("broadcast_chain", segments=1), 3, 90, network)
    assert chain.completion.tolist() == [4, 8, 8]
    assert explain(chain).shares()["overhead"] == 8


# --- laws ---------------------------------------------------------------------------------------------------------

REDUCING = [name for name in catalogue.names("allreduce") if catalogue.get(name).supports(8)]
MACHINES = st.sampled_from([(8,), (4, 4), (1,) * 8, (3, 5)])


@given(st.sampled_from(REDUCING), MACHINES, st.integers(0, 3000), st.sampled_from([64, 1000, 1 << 20]))
@QUICK
def test_a_device_that_costs_nothing_is_as_good_as_none(
    name: str, machines: tuple[int, ...], count: int, piece: int
) -> None:
    """A card is then the slowest stage, and what has been copied out is there at once."""
    host, staged = (
        simulate(catalogue.get(name), 8, 4 * count, networks.behind(cluster(machines, 1e-6, 1e9), path, free(), piece))
        for path in ("host", "staged")
    )
    assert staged.completion == pytest.approx(host.completion, rel=1e-9)
    assert staged.bytes == host.bytes


rates, moments = st.floats(1e9, 1e11), st.floats(0.0, 1e-5)
servers = st.builds(
    Server, st.just("any"), st.integers(1, 4), rates, rates, moments, st.just(1e11), st.floats(0.0, 5e-7),
    st.just(math.inf), rates, rates, moments, st.just(0.0), moments,
)  # fmt: skip
"""Devices that reduce in no time: staged pieces are folded while others are on their way, whole messages are not."""


@given(servers, st.sampled_from(REDUCING), MACHINES, st.integers(1, 1 << 18), st.sampled_from([1 << 14, 1 << 20]))
@settings(max_examples=60, deadline=None)
def test_gpudirect_is_never_slower_than_staging(
    machine: Server, name: str, machines: tuple[int, ...], each: int, piece: int
) -> None:
    """No chunk is empty: between peers the host starts a copy, and staging copies nothing that is nothing.

    Where links are shared, a message that is quicker can meet others that it missed before; then there is no such law.
    """
    algorithm = catalogue.get(name)
    nbytes = 4 * algorithm.chunks(8) * each
    quick, middle, slow = (
        simulate(
            algorithm, 8, nbytes, networks.behind(cluster(machines, 1e-6, 5e10), path, machine, piece), itemsize=4,
            contention=False,
        ).seconds
        for path in ("gpudirect", "peer", "staged")
    )  # fmt: skip
    assert quick <= middle * (1 + 1e-6)
    assert middle <= slow * (1 + 1e-6)


@pytest.mark.parametrize("name", REDUCING)
def test_gpudirect_is_quicker_on_a_server_that_is_known(name: str) -> None:
    for nbytes in (1 << 12, 1 << 20, 1 << 26):
        direct, staged = (
            simulate(catalogue.get(name), 8, nbytes, networks.preset("dgx-h100", 8, path), itemsize=4).seconds
            for path in ("gpudirect", "staged")
        )
        assert direct < staged


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "base", [cluster((3, 1, 4)), networks.torus((2, 4), 1.0, 5.0), networks.preset("infiniband-hdr", 8)]
)
@pytest.mark.parametrize("island", [0.0, 40.0])
def test_routes_lead_from_device_to_device_without_a_gap(path: networks.Path, base: Network, island: float) -> None:
    network = networks.behind(base, path, replace(SLOW, per_switch=2, island=island))
    topology, size = network.topology, network.size
    for source in range(size):
        for dest in range(size):
            ends = topology.ends[list(topology.route(source, dest))]
            if source != dest:
                assert (ends[0, 0], ends[-1, 1]) == (source, dest)
            assert (ends[1:, 0] == ends[:-1, 1]).all()
    labels = [topology.label(vertex) for vertex in range(topology.vertices)]
    assert len(set(labels)) == topology.vertices
    assert all(cut.outward > 0 and cut.inward > 0 for cut in network.cut_capacities())


def test_links_of_the_network_keep_their_numbers() -> None:
    base = cluster((2, 2))
    network = networks.behind(base, "staged", SLOW)
    assert [network.hop(link)[1:][2:] for link in range(8)] == [base.hop(link)[1:][2:] for link in range(8)]
    assert network.hop(0).source == "card 0 of node 0"
    assert network.hop(4).dest == "card 0 of node 0"


# --- presets and words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dgx-a100", "dgx-h100", "infiniband-ndr"])
@pytest.mark.parametrize("path", PATHS)
def test_presets_take_a_path_and_say_what_is_assumed(name: str, path: networks.Path) -> None:
    network = networks.preset(name, 16, path)
    assert network.size == 16
    assert network.source.count("Assumed:") >= 2
    assert simulate(RING, 16, 1 << 24, network, itemsize=4).seconds > 0


def test_servers_say_where_their_figures_are_from() -> None:
    for name in names():
        assert "Assumed:" in server(name).source
        assert "None of this has been measured here" in server(name).source
    assert server("h100").pcie == pytest.approx(
        57.6e9, rel=1e-3
    )  # 32 GT/s, 16 lanes, 128 of 130 bits, 256 of 280 bytes
    with pytest.raises(ValueError, match="known: h100"):
        server("h1000")


def test_an_unknown_path_is_refused_and_processes_know_no_devices() -> None:
    with pytest.raises(ValueError, match="known: host, staged, peer, gpudirect"):
        networks.behind(cluster([2]), "teleport", SLOW)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no device"):
        World(networks.behind(cluster([1, 1]), "staged", free()))


def test_the_examples_of_the_page_are_computed_anew() -> None:
    page = Path(__file__).parents[2] / "docs" / "devices-simulated.md"
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted >= 15
    assert found.failed == 0


def test_staging_is_named_in_both_languages() -> None:
    run = simulate(BROADCAST, 2, 100, networks.behind(cluster([1, 1]), "staged", SLOW, 100))
    assert "the first piece through host memory" in " ".join(explain(run).words())
    assert "a primeira parte pela memória do hospedeiro" in " ".join(explain(run).words("pt"))
