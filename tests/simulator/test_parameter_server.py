"""The parameter server as processes: against its closed forms, its bounds, and what each mode promises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.parameter_server import Configuration, consistency
from collectives.parameter_server.sharding import Sharding
from simulator import Network, networks, server_theory, simulate
from simulator.compute_times import ComputeTime
from simulator.encodings import Work
from simulator.models import Calibrated, LogGOPS, Model
from simulator.parameter_server import Handling, Outcome, Setup, Spell
from simulator.parameter_server import simulate as serve
from simulator.parameter_server.trains import unpaused
from simulator.training import Layer

ALPHA, BETA = 10e-6, 1e-9
LAW = settings(deadline=None, max_examples=30)
EVERY_STEP = st.sampled_from(["bsp", "ssp:1", "ssp:4", "asp"])
MODES = st.sampled_from(["bsp", "ssp:1", "ssp:4", "asp", "async:fetch=3,push=2", "backup:0", "easgd:period=2"])


def star(size: int, gamma: float = 0.0) -> Network:
    return networks.star(size, ALPHA, 1 / BETA, gamma)


def setup_of(
    workers: int, servers: int, nbytes: int, compute: ComputeTime, colocated: bool = False, *, mode: str = "bsp",
    slow: dict[int, float] | None = None, slices: int = 1, handling: Handling = Handling(),  # noqa: B008 - a frozen value
) -> Setup:  # fmt: skip
    """A model of one layer, each server's share of it in so many slices."""
    partition = -(-nbytes // (servers * slices))
    configuration = Configuration(workers, servers, colocated, consistency.get(mode), partition)
    layer = Layer("model", nbytes, 0.0, compute.mean)
    noise = ComputeTime(1.0, compute.distribution, compute.variation)
    return Setup(configuration, (layer,), noise, slow or {}, handling=handling)


def run(setup: Setup, mode: str, steps: int, gamma: float = 0.0, seed: int = 0) -> Outcome:
    setup = replace(setup, configuration=replace(setup.configuration, consistency=consistency.get(mode)))
    return serve(setup, star(setup.configuration.ranks, gamma), steps=steps, seed=seed)


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    workers = draw(st.integers(1, 6))
    colocated = draw(st.booleans())
    servers = draw(st.integers(1, workers if colocated else 5))
    distribution, variation = draw(st.sampled_from([("constant", 0.0), ("exponential", 0.0), ("lognormal", 0.4)]))
    names = range(draw(st.integers(1, 4)))
    sizes = draw(st.lists(st.integers(1, 10**5), min_size=len(names), max_size=len(names)))
    times = st.floats(0, 1e-2)
    layers = tuple(
        Layer(str(name), 4 * size, draw(times), draw(times)) for name, size in zip(names, sizes, strict=True)
    )
    configuration = Configuration(
        workers, servers, colocated, partition=draw(st.sampled_from([10**5, 10**6])),
        replicas=draw(st.integers(1, servers)), encoding=draw(st.sampled_from([None, "int8"])),
    )  # fmt: skip
    noise = ComputeTime(1.0, distribution, variation)
    spells = (Spell(workers - 1, 3.0, 5e-3, 3e-2),)
    handling = Handling(push=Work(1e-5, 1e-10), update=Work(2e-5), answer=Work(1e-5), header=64)
    return Setup(
        configuration,
        layers,
        noise,
        {0: draw(st.floats(0.5, 5))},
        spells,
        handling,
        draw(st.booleans()),
        draw(st.booleans()),
    )


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_one_worker_and_one_server_take_turns() -> None:
    # A step: 1 ms computing, push 10 + 1000 us, adding 500 us, pull 10 + 1000 us.
    found = run(setup_of(1, 1, 10**6, ComputeTime(1e-3)), "asp", steps=4, gamma=0.5e-9)
    assert found.step_seconds == pytest.approx([3.52e-3] * 4)
    assert found.throughput == pytest.approx(1 / 3.52e-3)
    (server,) = found.servers
    assert (server.rank, server.longest, server.waited) == (1, 0, 0.0)
    assert server.busy == pytest.approx(0.5 / 3.52)
    assert server.receiving == server.sending == pytest.approx(1 / 3.52)
    assert server.queue == pytest.approx(0.5 / 3.52)


def test_a_slow_server_makes_pushes_wait_in_line() -> None:
    # Pushes arrive at 1.01, 2.01 and 3.01 ms and take 2 ms each: the second waits 1 ms, the third 2; the first worker's
    # next push comes at 9.03 ms, waits for nobody, and the run ends before it is added.
    found = run(setup_of(3, 1, 10**6, ComputeTime(0.0)), "bsp", steps=1, gamma=2e-9)
    (server,) = found.servers
    assert server.waited == pytest.approx((0 + 1 + 2 + 0) / 4 * 1e-3)
    assert server.longest == 1  # the first is through at 3.01 ms, when the third comes
    # All added at 7.01; pulls leave until 8.01, 9.01 and 10.01, and take 10 us more.
    assert found.seconds == pytest.approx(10.02e-3)


def test_who_computes_three_times_as_long_holds_up_those_that_wait_for_it() -> None:
    setup = setup_of(2, 1, 4, ComputeTime(1e-3), slow={0: 3.0})
    step = 1e-3 + 2 * ALPHA + 8 * BETA
    assert run(setup, "bsp", 6).throughput == pytest.approx(2 / (3e-3 + 2 * ALPHA), rel=1e-4)
    # Without waiting the quick one does three in that time (a little less, for its latencies).
    free = run(setup, "asp", 6)
    assert np.bincount(free.worker).tolist() == [3, 9]
    assert free.seconds == pytest.approx(9 * step, rel=1e-2)
    # One push of the slow worker to three of the other: it misses three updates, or two while it begins.
    assert free.staleness.max() == 3


def test_ssp_lets_a_worker_run_ahead_by_so_much_and_no_more() -> None:
    found = run(setup_of(4, 2, 1000, ComputeTime(1e-3), slow={3: 4.0}), "ssp:3", 20)
    assert found.lead.max() == 3
    assert found.lead[found.worker == 3].max() == 0


def test_slices_let_a_worker_receive_while_it_sends() -> None:
    whole, sliced = (run(setup_of(4, 4, 4 * 10**6, ComputeTime(0.0), slices=s), "bsp", 1).seconds for s in (1, 4))
    assert whole == pytest.approx(2 * ALPHA + 2 * 4e-3)
    assert sliced == pytest.approx(2 * ALPHA + 1.25 * 4e-3)


def test_messages_cost_servers_their_processors() -> None:
    network = networks.star(2, 0.0, math.inf)
    modelled = Network(network.topology, network.place, Model(LogGOPS(o=1e-3)))
    found = serve(setup_of(1, 1, 8, ComputeTime(0.0), handling=Handling(fold=Work())), modelled, steps=1)
    assert found.seconds == pytest.approx(4e-3)  # both ends, there and back
    assert found.servers[0].busy == pytest.approx(0.5)


def test_workers_share_the_links_to_their_servers() -> None:
    # 2 workers and 2 servers, one pair on each end of a line of switches that carries as much as one port.
    graph = nx.Graph()
    graph.add_nodes_from(range(4), host=True)
    graph.add_edges_from([(0, "left"), (1, "left"), ("left", "right"), ("right", 2), ("right", 3)])
    nx.set_edge_attributes(graph, 0.0, "latency")
    nx.set_edge_attributes(graph, 1e9, "bandwidth")
    network = networks.custom(graph)
    setup = setup_of(2, 2, 2_000_000, ComputeTime(0.0))
    shared, alone = (serve(setup, network, steps=1, contention=both).seconds for both in (True, False))
    # Each way two rounds of two messages of 1 MB: 1 ms each alone, 2 ms when two share the line.
    assert (shared, alone) == (pytest.approx(8e-3), pytest.approx(4e-3))


# --- laws ---------------------------------------------------------------------------------------------------------


@LAW
@given(setups(), MODES, st.integers(0, 3))
def test_what_every_run_keeps(setup: Setup, mode: str, seed: int) -> None:
    found = run(setup, mode, 4, gamma=1e-10, seed=seed)
    workers = setup.configuration.workers
    assert len(found.worker) == len(found.lead) == len(found.step_seconds) == 4 * workers
    bound = consistency.get(mode).bound
    assert found.lead.max() <= bound
    assert found.staleness.min(initial=0) >= 0
    assert sum(found.histogram.values()) == len(found.staleness) == len(found.pusher)
    # Between two of its pushes to a part a worker misses at most what the others may be ahead and behind.
    if bound < math.inf:
        assert found.staleness.max() <= (2 * bound + 1) * (workers - 1) * (bound > 0)
    for server in found.servers:
        assert 0 <= server.busy <= 1 + 1e-9
        assert 0 <= server.receiving <= 1 + 1e-9
        assert 0 <= server.sending <= 1 + 1e-9
        assert server.lengths[:, 1].min(initial=0) >= 0
        assert server.lengths[:, 1].max(initial=0) <= server.longest + 1
        # Little's law: the mean length over time is the messages' stays, over the time.
        held = np.diff(np.append(server.lengths[:, 0], found.seconds)) @ server.lengths[:, 1]
        assert server.queue * found.seconds == pytest.approx(held, abs=found.seconds * server.longest + 1e-9)
    assert found.seconds >= found.step_seconds.max() * (1 - 1e-9)
    # Steps follow each other without gaps: those of a worker fill its time.
    for worker in range(workers):
        assert found.step_seconds[found.worker == worker].sum() <= found.seconds * (1 + 1e-9)


@LAW
@given(setups(), st.integers(0, 3))
def test_no_slack_is_lockstep(setup: Setup, seed: int) -> None:
    lockstep, none = (run(setup, mode, 4, seed=seed) for mode in ("bsp", "ssp:0"))
    assert lockstep.seconds == none.seconds
    assert lockstep.step_seconds.tolist() == none.step_seconds.tolist()
    assert lockstep.staleness.tolist() == none.staleness.tolist() == [0] * len(lockstep.staleness)
    # Everybody has done as many steps as everybody else.
    assert np.bincount(lockstep.worker).tolist() == [4] * setup.configuration.workers


@LAW
@given(setups(), MODES, st.integers(0, 3))
def test_the_same_seed_gives_the_same_run_to_the_bit(setup: Setup, mode: str, seed: int) -> None:
    first, second = run(setup, mode, 3, seed=seed), run(setup, mode, 3, seed=seed)
    assert first.seconds == second.seconds
    assert first.step_seconds.tolist() == second.step_seconds.tolist()
    assert [server.busy for server in first.servers] == [server.busy for server in second.servers]
    assert first.sent_bytes == second.sent_bytes


@LAW
@given(
    st.integers(1, 8), st.integers(1, 4), st.integers(1, 10**6), st.floats(0, 1e-2), st.floats(0, 3e-9),
    st.integers(1, 3), EVERY_STEP,
)  # fmt: skip
def test_no_run_does_more_steps_than_the_bound(
    workers: int, servers: int, nbytes: int, compute: float, gamma: float, slices: int, mode: str
) -> None:
    nbytes += -nbytes % (4 * servers * slices)
    found = run(setup_of(workers, servers, nbytes, ComputeTime(compute), slices=slices), mode, 8, gamma)
    bound = server_theory.asynchronous_bound([compute] * workers, servers, nbytes, ALPHA, BETA, gamma, slices)
    assert found.throughput <= bound * (1 + 1e-9)


@pytest.mark.parametrize(
    ("workers", "servers", "compute", "gamma"),
    [
        (4, 4, 20e-3, 0.0),  # workers are what there is too little of
        (8, 1, 2e-3, 0.0),  # the server's port
        (16, 2, 2e-3, 0.5e-9),  # two servers' ports
        (8, 1, 2e-3, 3e-9),  # the server's processor
    ],
)
def test_workers_that_do_not_wait_come_close_to_the_bound(
    workers: int, servers: int, compute: float, gamma: float
) -> None:
    found = run(setup_of(workers, servers, 10**6, ComputeTime(compute)), "asp", 100, gamma)
    bound = server_theory.asynchronous_bound([compute] * workers, servers, 10**6, ALPHA, BETA, gamma)
    assert 0.97 * bound <= found.throughput <= bound  # the start, when nothing has come yet, is one step of 100


# --- closed forms, and who wins -----------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5e-9, 2e-9])
@pytest.mark.parametrize(("workers", "servers"), [(1, 1), (1, 4), (4, 1), (4, 4), (6, 3), (8, 2), (12, 4)])
@pytest.mark.parametrize("slices", [1, 3])
def test_a_push_and_pull_takes_its_closed_form(workers: int, servers: int, slices: int, gamma: float) -> None:
    nbytes = servers * slices * 1000
    found = run(setup_of(workers, servers, nbytes, ComputeTime(0.0), slices=slices), "bsp", 1, gamma).seconds
    form = server_theory.separate_seconds(workers, servers, nbytes, ALPHA, BETA, gamma, slices)
    assert found == pytest.approx(form, rel=1e-9)


@pytest.mark.parametrize(("workers", "servers"), [(3, 2), (2, 5), (5, 3), (7, 4), (12, 5), (12, 8)])
def test_where_servers_do_not_divide_workers_the_closed_form_is_a_bound(workers: int, servers: int) -> None:
    nbytes = servers * 1000
    found = run(setup_of(workers, servers, nbytes, ComputeTime(0.0)), "bsp", 1).seconds
    form = server_theory.separate_seconds(workers, servers, nbytes, ALPHA, BETA)
    assert form * (1 - 1e-9) <= found <= 1.3 * form


@pytest.mark.parametrize("gamma", [0.0, 0.5e-9])
@pytest.mark.parametrize(("workers", "servers"), [(2, 2), (4, 1), (4, 2), (4, 4), (8, 8)])
def test_servers_beside_the_workers_take_their_closed_form(workers: int, servers: int, gamma: float) -> None:
    nbytes = servers * 1000
    found = run(setup_of(workers, servers, nbytes, ComputeTime(0.0), colocated=True), "bsp", 1, gamma).seconds
    assert found == pytest.approx(server_theory.colocated_seconds(workers, servers, nbytes, ALPHA, BETA, gamma))


def test_a_server_at_each_worker_moves_as_many_bytes_as_a_ring() -> None:
    def slope(seconds: Any) -> float:
        return seconds(2.0) - seconds(1.0)

    for workers in (2, 3, 8):
        colocated = slope(lambda n, w=workers: server_theory.colocated_seconds(w, w, n, ALPHA, 1.0))
        ring = slope(lambda n, w=workers: catalogue.get("ring").cost(w).seconds(n, ALPHA, 1.0))
        assert colocated == pytest.approx(ring) == pytest.approx(2 * (workers - 1) / workers)


@pytest.mark.parametrize("gamma", [0.0, 1e-9])
@pytest.mark.parametrize(
    ("workers", "servers", "colocated"),
    [(3, 1, False), (5, 2, False), (12, 5, False), (2, 4, False), (4, 2, True), (4, 4, True), (1, 1, True)],
)
def test_shared_ports_take_their_closed_form_whether_or_not_servers_divide_workers(
    workers: int, servers: int, colocated: bool, gamma: float
) -> None:
    nbytes = servers * 24_000
    setup = setup_of(workers, servers, nbytes, ComputeTime(0.0), colocated)
    found = serve(setup, star(setup.configuration.ranks, gamma), steps=1, sharing=True).seconds
    form = server_theory.shared_seconds(workers, servers, nbytes, ALPHA, BETA, gamma, colocated=colocated)
    assert found == pytest.approx(form, rel=1e-9)


@pytest.mark.parametrize("workers", [4, 8])
def test_how_many_servers_a_ring_s_bandwidth_is_worth(workers: int) -> None:
    long, thin = 10**9, {"alpha": 0.0, "beta": BETA, "slices": 1000}
    least = math.ceil(workers**2 / (2 * (workers - 1)))
    assert server_theory.crossover_servers(workers, long, **thin) == least
    assert server_theory.crossover_servers(workers, long, 0.0, BETA, colocated=True) == workers
    # Half as many servers as workers are too few, as many are enough, in the simulator too.
    nbytes, slices = 64 * 2**14, 16
    half, whole = (server_seconds(workers, servers, nbytes, slices) for servers in (workers // 2, workers))
    assert whole < ring_seconds(workers, nbytes) < half
    found = server_theory.crossover_servers(workers, nbytes, ALPHA, BETA, slices=slices)
    assert found is not None
    assert workers // 2 < found <= workers
    ring = server_theory.ring_seconds(workers, nbytes, ALPHA, BETA)
    assert server_theory.separate_seconds(workers, found, nbytes, ALPHA, BETA, slices=slices) <= ring
    assert server_theory.separate_seconds(workers, found - 1, nbytes, ALPHA, BETA, slices=slices) > ring


def test_no_number_of_servers_makes_up_for_one_slice() -> None:
    assert server_theory.crossover_servers(2, 10**9, ALPHA, BETA) is None
    assert server_theory.crossover_servers(8, 8, ALPHA, BETA) == 1  # latency alone: 2α against 14α


def ring_seconds(workers: int, nbytes: int) -> float:
    return simulate(catalogue.get("ring"), workers, nbytes, star(workers)).seconds


def server_seconds(workers: int, servers: int, nbytes: int, slices: int = 1) -> float:
    return run(setup_of(workers, servers, nbytes, ComputeTime(0.0), slices=slices), "bsp", 1).seconds


@pytest.mark.parametrize(("workers", "servers"), [(8, 1), (8, 4), (8, 8), (16, 4)])
def test_servers_win_small_vectors_and_the_ring_large_ones_and_theory_says_where(workers: int, servers: int) -> None:
    predicted = server_theory.crossover_bytes(workers, servers, ALPHA, BETA)
    small, large = 32, 10**8
    assert server_seconds(workers, servers, small) < ring_seconds(workers, small)
    assert server_seconds(workers, servers, large) > ring_seconds(workers, large)
    while large > small + 32:
        middle = (small + large) // 64 * 32  # a multiple of all counts, so that shares are even
        if server_seconds(workers, servers, middle) < ring_seconds(workers, middle):
            small = middle
        else:
            large = middle
    assert predicted == pytest.approx(small, rel=1e-3, abs=64)


def test_as_many_servers_as_workers_and_slices_beat_the_ring_at_every_size() -> None:
    assert server_theory.crossover_bytes(8, 8, ALPHA, BETA, slices=4) == math.inf
    for nbytes in (32, 32 * 10**4, 32 * 10**6):
        assert server_seconds(8, 8, nbytes, slices=4) < ring_seconds(8, nbytes)
    # By no more than a worker's port allows: 2(w-1)/w·nβ against nβ.
    assert ring_seconds(8, 32 * 10**6) / server_seconds(8, 8, 32 * 10**6, slices=4) < 2 * 7 / 8


@pytest.mark.parametrize(
    ("workers", "nbytes", "compute"), [(4, 10**6, 20e-3), (4, 3 * 10**6, 20e-3), (3, 10**7, 40e-3)]
)
def test_a_straggler_turns_the_tables_where_theory_says(workers: int, nbytes: int, compute: float) -> None:
    ring = ring_seconds(workers, nbytes)
    alone = 2 * ALPHA + 2 * nbytes * BETA
    turn = server_theory.crossover_straggler(workers, compute, ring, alone)
    assert turn > 1

    def lead(factor: float) -> float:
        """Steps per second of workers that do not wait, over those of a ring in lockstep."""
        found = run(setup_of(workers, 1, nbytes, ComputeTime(compute), slow={0: factor}), "asp", 200)
        return found.throughput / (workers / (factor * compute + ring))

    # The closed form leaves out that workers wait in line for the one server, so the turn comes up to 8 % later.
    assert lead(1.0) < lead(turn) <= 1 < lead(1.08 * turn)


def test_two_servers_leave_the_ring_behind_without_any_straggler() -> None:
    workers, nbytes = 8, 4 * 10**6
    ring, alone = ring_seconds(workers, nbytes), 2 * ALPHA + 1.5 * nbytes * BETA
    assert alone < ring
    assert server_theory.crossover_straggler(workers, 40e-3, ring, alone) == 1.0
    found = run(setup_of(workers, 2, nbytes, ComputeTime(40e-3)), "asp", 60)
    assert found.throughput > workers / (40e-3 + ring)


@pytest.mark.parametrize("workers", [1, 2])
def test_with_nobody_to_talk_to_the_ring_is_never_beaten(workers: int) -> None:
    assert server_theory.crossover_bytes(workers, 1, ALPHA, BETA) == 0.0
    assert server_theory.crossover_straggler(1, 1.0, 0.0, 1.0) == math.inf


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layers": ()}, "at least one parameter"),
        ({"layers": (Layer("a", 6, 0.0, 0.0),)}, "6 bytes, which is no number of float32"),
        ({"layers": (Layer("a", 4, 0.0, 0.0), Layer("a", 4, 0.0, 0.0))}, "names of their own, got a, a"),
        ({"slow": {4: 2.0}}, "worker 4 is slow, and there are workers 0 to 3"),
        ({"slow": {0: math.nan}}, "finite and above 0"),
        ({"spells": (Spell(-1, 2.0),)}, "worker -1 is slow"),
        ({"sharding": Sharding.plan({"a": 3}, 1, 4)}, "the sharding is of 3 parameters, and the layers have 2"),
        ({"sharding": Sharding.plan({"a": 2}, 2, 4)}, "more than the 1 servers"),
    ],
)
def test_a_setup_that_cannot_be_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(setup_of(4, 1, 8, ComputeTime(0.0)), **change)


def test_a_handling_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0 bytes, got -1"):
        Handling(header=-1)


def test_a_run_that_cannot_be_is_refused() -> None:
    setup = setup_of(4, 2, 8, ComputeTime(0.0))
    with pytest.raises(ValueError, match="6 ranks are needed, and star has 5"):
        serve(setup, star(5))
    with pytest.raises(ValueError, match="at least one step"):
        serve(setup, star(6), steps=0)
    with pytest.raises(ValueError, match="seed"):
        serve(setup, star(6), seed=-1)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((1.0, "gauss", 0.0), "known: constant, exponential, gamma, lognormal, uniform"),
        ((-1.0,), "at least 0 s"),
        ((math.inf,), "finite"),
        ((1.0, "constant", 0.1), "must be 0, got 0.1"),
        ((1.0, "uniform", 0.6), "from 0 to 0.5774"),
        ((1.0, "gamma", 0.0), "from 0.001 to 10"),
        ((1.0, "lognormal", math.nan), "from 0 to 10"),
    ],
)
def test_a_time_that_cannot_be_is_refused(given: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ComputeTime(*given)


@pytest.mark.parametrize(("distribution", "variation"), [("gamma", 0.5), ("lognormal", 0.5), ("uniform", 0.5)])
def test_times_have_the_mean_and_the_spread_that_was_asked_for(distribution: str, variation: float) -> None:
    draw = ComputeTime(2.0, distribution, variation).draw(seed=1, stream=0)
    times = np.array([next(draw) for _ in range(20_000)])
    assert times.min() >= 0
    assert times.mean() == pytest.approx(2.0, rel=0.02)
    assert times.std() / times.mean() == pytest.approx(0.5, rel=0.05)


def test_workers_draw_times_of_their_own() -> None:
    first, second = (next(ComputeTime(1.0, "exponential").draw(0, stream)) for stream in (0, 1))
    assert first != second


def test_theory_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="one server"):
        server_theory.separate_seconds(4, 0, 8, ALPHA, BETA)
    with pytest.raises(ValueError, match="beta must be finite"):
        server_theory.colocated_seconds(4, 1, 8, ALPHA, math.nan)
    with pytest.raises(ValueError, match="compute above 0 s"):
        server_theory.crossover_straggler(4, 0.0, 0.0, 0.0)


# --- as measured --------------------------------------------------------------------------------------------------


def test_trains_of_messages_that_ask_first_are_as_dense_as_longer_ones() -> None:
    curve = ((0, 1e-4), (1000, 2e-4), (2000, 3e-4), (4000, 5e-4))
    period = ((1000, 2e-4), (2000, 6e-4), (4000, 4e-4))
    message = Calibrated(curve, period, eager=1000)
    network = replace(star(2), model=Model(message))
    dense = unpaused(network).model.message
    assert isinstance(dense, Calibrated)
    assert dense.period == ((1000, 2e-4), (2000, pytest.approx(2e-4)), (4000, 4e-4))
    plain = star(2)
    assert unpaused(plain) is plain


def test_a_worker_s_first_message_after_computing_is_late_by_what_ranks_need_to_wake_up() -> None:
    setup = setup_of(1, 1, 400_000, ComputeTime(1e-3), slices=4)
    usual, late = (
        serve(setup, replace(star(2), model=Model(start=start)), steps=5).step_seconds for start in (0.0, 5e-4)
    )
    assert late == pytest.approx(usual + 5e-4)  # once a step, not once for each of its four messages


# --- rules, replicas, encodings, spells ---------------------------------------------------------------------------


def test_a_push_goes_down_the_chain_of_replicas_before_it_is_answered() -> None:
    alone = Setup(Configuration(1, 3), (Layer("model", 12_000, 0.0, 0.0),))
    steps = 4
    for replicas in (1, 2, 3):
        setup = replace(alone, configuration=replace(alone.configuration, replicas=replicas))
        found = serve(setup, networks.star(4, ALPHA, math.inf), steps=steps)
        # Push, replicas - 1 copies, the last one's word to the first, and the answer: a latency each.
        assert found.seconds == pytest.approx(steps * (2 + replicas * (replicas > 1)) * ALPHA)
        assert sum(found.sent_bytes) == steps * 12_000 * (1 + replicas)


def test_who_is_spared_is_not_waited_for_and_its_pushes_are_dropped() -> None:
    setup = setup_of(4, 1, 400, ComputeTime(1e-3), slow={3: 2.5})
    lockstep, spared = (run(setup, mode, 10) for mode in ("bsp", "backup:1"))
    assert lockstep.late == 0
    assert spared.late > 0
    assert spared.updates / spared.seconds == pytest.approx(1e3, rel=0.05)  # as if all were as quick as the others
    assert lockstep.updates / lockstep.seconds == pytest.approx(400, rel=0.05)


@pytest.mark.parametrize(("mode", "pushes", "pulls"), [("easgd:period=4", 3, 3), ("async:fetch=2,push=3", 4, 6)])
def test_rare_pushes_and_pulls_are_rare(mode: str, pushes: int, pulls: int) -> None:
    found = run(setup_of(1, 1, 4_000, ComputeTime(1e-3)), mode, 12)
    assert len(found.worker) == 12
    assert found.updates == pytest.approx(pushes, abs=1)  # the last may still be on its way
    assert found.sent_bytes[0] == pytest.approx(4_000 * pushes, abs=4_000)
    assert found.sent_bytes[1] == pytest.approx(4_000 * pulls, abs=4_000)


def test_encoded_pushes_are_short_and_answers_are_not() -> None:
    plain = setup_of(2, 1, 400_000, ComputeTime(0.0), handling=Handling(header=72))
    half = replace(plain, configuration=replace(plain.configuration, encoding="float16"))
    for setup, size in ((plain, 400_000), (half, 200_000)):
        found = run(setup, "bsp", 3)
        assert found.servers[0].received_bytes == pytest.approx(2 * 3 * (size + 72), rel=0.2)
        assert found.servers[0].sent_bytes == 2 * 3 * (400_000 + 72)


def test_a_spell_slows_a_worker_for_as_long_as_it_lasts() -> None:
    setup = replace(setup_of(2, 1, 4, ComputeTime(1e-3)), spells=(Spell(1, 3.0, 2.5e-3, 8e-3),))
    found = run(setup, "bsp", 8)
    mine = found.step_seconds[found.worker == 0]
    assert [round(1e3 * seconds) for seconds in mine] == [1, 1, 1, 3, 3, 1, 1, 1]


def test_who_was_spared_goes_on_where_the_others_are() -> None:
    setup = replace(setup_of(4, 1, 400, ComputeTime(1e-3)), spells=(Spell(3, 3.5, 0.0, 1e-3),))
    found = run(setup, "backup:1", 12)
    behind = found.lead[found.worker == 3]
    assert behind[0] == -2  # its first push is of clock 1 when three are over
    assert behind[1:].min() >= -1  # then it pushes for the clock that is under way
