"""What ranks add to a message, each piece worked by hand: seconds are whole numbers so that a reader can follow."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from collectives import catalogue
from simulator import Conditions, Network, networks, simulate
from simulator.models import Cores, Curve, Duplex, Hockney, LogGOPS, LogGP, Model, Reduction

BROADCAST, GATHER, EXCHANGE = (
    catalogue.get(name) for name in ("broadcast_linear", "reduce_linear", "recursive_doubling")
)


def star(size: int, model: Model, latency: float = 0.0) -> Network:
    """Links that cost ``latency`` only, so that all else comes from the model."""
    return replace(networks.star(size, latency, math.inf), model=model)


def seconds(model: Model, nbytes: int, algorithm: Any = BROADCAST, size: int = 2) -> float:
    return simulate(algorithm, size, nbytes, star(size, model)).seconds


def test_hockney_adds_to_the_links() -> None:
    network = replace(networks.star(2, 3.0, 0.5), model=Model(Hockney(alpha=4.0, beta=1.0)))
    assert simulate(BROADCAST, 2, 10, network).seconds == 3 + 4 + 10 / 0.5  # the slower of link and port
    network = replace(network, model=Model(Hockney(4.0, beta=5.0)))
    assert simulate(BROADCAST, 2, 10, network).seconds == 3 + 4 + 50


def test_loggp_is_o_and_l_and_bytes_and_o() -> None:
    assert seconds(Model(LogGP(L=100, o=7, g=3, G=2)), 10) == 7 + 2 * 10 + 100 + 7
    assert seconds(Model(LogGP(L=100, o=7, g=3, G=2)), 0) == 7 + 100 + 7


def test_an_eager_sender_goes_on_after_its_overhead() -> None:
    """The root, which serves rank 2 first, has 10 bytes out every g + 10G = 23 s, but its processor is done in 2o."""
    run = simulate(BROADCAST, 3, 10, star(3, Model(LogGP(L=100, o=7, g=3, G=2))))
    assert run.completion.tolist() == [14, 7 + 23 + 20 + 100 + 7, 7 + 20 + 100 + 7]


def test_a_long_message_asks_first() -> None:
    """Beyond S its sender asks, which takes L, and is answered, which takes L; then 10 bytes and L again."""
    model = Model(LogGOPS(L=100, o=7, G=2, S=9))
    run = simulate(BROADCAST, 2, 10, star(2, model))
    assert run.completion.tolist() == [7 + 200 + 20 + 100, 7 + 200 + 20 + 100 + 7]


def test_processor_time_a_byte_is_spent_at_both_ends() -> None:
    assert seconds(Model(LogGOPS(L=100, o=7, O=3)), 10) == 7 + 30 + 100 + 7 + 30


def test_a_curve_goes_through_its_points() -> None:
    model = Model(Curve(((0, 5.0), (100, 25.0), (1000, 115.0))))
    assert [seconds(model, size) for size in (0, 50, 100, 1000, 2000)] == [5, 15, 25, 115, 215]


@pytest.mark.parametrize(("nbytes", "expected"), [(99, 99), (100, 200), (400, 800)])
def test_half_duplex_costs_an_exchange_twice_and_from_its_size_on(nbytes: int, expected: float) -> None:
    model = Model(Hockney(beta=1.0), duplex=Duplex(2.0, from_bytes=100))
    assert seconds(model, nbytes, EXCHANGE) == expected
    assert seconds(model, nbytes) == nbytes  # one way is one way


def test_a_ring_s_partners_differ_so_half_duplex_does_not_touch_it() -> None:
    full, half = (Model(Hockney(beta=1.0), duplex=Duplex(factor)) for factor in (1.0, 2.0))
    ring = catalogue.get("ring")
    assert seconds(half, 400, ring, 4) == seconds(full, 400, ring, 4)
    assert seconds(half, 400, ring, 2) == 2 * seconds(full, 400, ring, 2)


def test_reductions_run_at_the_speed_of_the_cache_they_fit() -> None:
    levels = Reduction(((100, 1.0), (1000, 2.0), (math.inf, 5.0)))
    assert [seconds(Model(reduction=levels), size, EXCHANGE) for size in (100, 101, 1000, 2000)] == [
        100, 202, 2000, 10000,
    ]  # fmt: skip


def on_one_machine(size: int, model: Model) -> Network:
    network = star(size, model)
    return replace(network, topology=replace(network.topology, machine=np.zeros(size, dtype=np.int64)))


@pytest.mark.parametrize(("cores", "expected"), [(4, 10), (2, 20), (1, 40), (3, 40 / 3)])
def test_ranks_share_the_cores_of_their_machine(cores: int, expected: float) -> None:
    """Four ranks fold 10 s each at once: on c cores that takes 40/c s, if c is below four."""
    model = Model(reduction=Reduction(((math.inf, 1.0),)), cores=Cores(cores))
    pairs = simulate(catalogue.get("reduce_scatter_ring"), 2, 20, on_one_machine(2, model))
    assert pairs.seconds == pytest.approx(10 * max(1, 2 / cores))
    doubled = simulate(EXCHANGE, 4, 10, on_one_machine(4, model))
    assert doubled.seconds == pytest.approx(2 * expected)
    apart = simulate(EXCHANGE, 4, 10, star(4, model))
    assert apart.seconds == 20


def test_ranks_without_messages_share_their_cores_too() -> None:
    """Three ranks compute 10 s each on one core, and the schedule has nothing for one of them."""
    network = on_one_machine(3, Model(cores=Cores(1)))
    conditions = Conditions(compute={(rank, 0): 10.0 for rank in range(3)})
    silent = replace(BROADCAST, function=lambda rank, size, root: [()], collective="barrier")
    assert simulate(silent, 3, 8, network, conditions=conditions).completion.tolist() == pytest.approx([30, 30, 30])


def test_ranks_that_spin_take_their_share_while_they_wait() -> None:
    """Of three ranks on one core only the root folds, two times 10 s; the others leave it the core, or do not."""
    for waiting, expected in (("yields", 20.0), ("spins", 60.0)):
        model = Model(reduction=Reduction(((math.inf, 1.0),)), cores=Cores(1, waiting))
        assert simulate(GATHER, 3, 10, on_one_machine(3, model)).seconds == expected


def test_loggops_with_free_processors_is_hockney() -> None:
    for name in catalogue.names("allreduce"):
        algorithm = catalogue.get(name)
        one = simulate(algorithm, 8, 4096, star(8, Model(Hockney(5e-6, 8e-10))))
        other = simulate(algorithm, 8, 4096, star(8, Model(LogGOPS(L=5e-6, G=8e-10, S=math.inf))))
        assert other.seconds <= one.seconds * (1 + 1e-9)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Hockney(-1.0), "alpha must be finite and at least 0 s"),
        (lambda: Hockney(beta=math.nan), "beta"),
        (lambda: LogGOPS(o=math.inf), "o must be"),
        (lambda: LogGOPS(S=math.nan), "S must be"),
        (lambda: Curve(((0, 1),)), "at least two points"),
        (lambda: Curve(((0, 1), (0, 2))), "ascending"),
        (lambda: Curve(((0, 2), (1, 1))), "must rise"),
        (lambda: Curve(((0, math.nan), (1, 1))), "seconds of 0 bytes"),
        (lambda: Duplex(0.5), "duplex"),
        (lambda: Duplex(2.0, -1), "from_bytes"),
        (lambda: Reduction(()), "levels"),
        (lambda: Reduction(((10, 1), (5, 1))), "ascending"),
        (lambda: Reduction(((math.inf, -1),)), "gamma"),
        (lambda: Cores(0), "at least one core"),
        (lambda: Cores(2, "sleeps"), "yields"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
