"""Closed forms, held against the event simulation; lower bounds; the best number of segments."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.catalogue import Algorithm
from collectives.contract import CONTRACTS
from simulator import simulate, theory
from simulator.blocks import blocks
from simulator.networks import uniform

EVERY = [catalogue.get(name) for name in catalogue.names()]
SIZES = (*range(1, 18), 32, 64)
COSTS = st.one_of(st.just(0.0), st.floats(1e-12, 1e-2, allow_nan=False))


def divisible(algorithm: Algorithm, size: int, factor: int) -> int:
    return factor * (algorithm.chunks(size) or 1)


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 10**6), COSTS, COSTS, COSTS)
def test_the_simulator_agrees_with_the_closed_form(
    algorithm: Algorithm, factor: int, alpha: float, beta: float, gamma: float
) -> None:
    for size in filter(algorithm.supports, SIZES):
        nbytes = divisible(algorithm, size, factor)
        expected = theory.seconds(algorithm, size, nbytes, alpha, beta, gamma)
        assert simulate(algorithm, size, nbytes, uniform(size, alpha, beta, gamma)).seconds == pytest.approx(
            expected, rel=1e-9
        )


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_so_it_does_with_any_parameters(data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from([entry for entry in EVERY if entry.defaults]))
    size = data.draw(st.integers(2, 17))
    limits = {"root": (0, size - 1), "segments": (1, 20), "servers": (1, size - 1), "local": (1, size)}
    algorithm = catalogue.get(entry.name, **{key: data.draw(st.integers(*limits[key])) for key in entry.defaults})
    assume(algorithm.supports(size))
    alpha, beta, gamma = (data.draw(COSTS) for _ in range(3))
    nbytes = divisible(algorithm, size, data.draw(st.integers(1, 10**5)))
    expected = theory.seconds(algorithm, size, nbytes, alpha, beta, gamma)
    assert simulate(algorithm, size, nbytes, uniform(size, alpha, beta, gamma)).seconds == pytest.approx(
        expected, rel=1e-9
    )


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(EVERY), st.integers(2, 17), st.integers(0, 5000), COSTS, COSTS)
def test_bytes_that_do_not_divide_cost_at_most_one_byte_a_chunk(
    algorithm: Algorithm, size: int, nbytes: int, beta: float, gamma: float
) -> None:
    """All chunks rounded down are no slower than the real ones, and these no slower than all rounded up."""
    unit = algorithm.chunks(size) // algorithm.vectors(size) or 1
    low, high = (
        theory.seconds(algorithm, size, whole * unit, 1e-6, beta, gamma)
        for whole in (nbytes // unit, -(-nbytes // unit))
    )
    run = simulate(algorithm, size, nbytes, uniform(size, 1e-6, beta, gamma))
    if max(int(block.fan.max()) for block in blocks(algorithm, size, nbytes)) > 1:
        high *= (
            1.1  # two messages at a port: where one is a byte shorter, a less urgent one may slip in before the next
        )
    assert low * (1 - 1e-9) <= run.seconds <= high * (1 + 1e-9)


def test_the_design_s_example() -> None:
    ring = catalogue.get("ring")
    assert theory.seconds(ring, 4, 2**20, alpha=5e-6, beta=8e-10) == pytest.approx(6 * 5e-6 + 1.5 * 2**20 * 8e-10)
    assert theory.seconds(ring, 4, 2**20, 5e-6, 8e-10, 1e-10) == pytest.approx(
        6 * 5e-6 + 1.5 * 2**20 * 8e-10 + 0.75 * 2**20 * 1e-10
    )


# --- bounds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("costs", "expected"),
    [((1.0, 0.0, 0.0), 4.0), ((0.0, 1.0, 0.0), 2 * 8 / 9 * 900), ((0.0, 0.0, 1.0), 8 / 9 * 900)],
)
def test_each_term_of_the_allreduce_bound(costs: tuple[float, float, float], expected: float) -> None:
    assert theory.bound("allreduce", 9, 900, *costs) == pytest.approx(expected)


def test_bandwidth_and_reduction_add_up_and_latency_does_not() -> None:
    assert theory.bound("allreduce", 2, 10, 1.0, 1.0, 1.0) == pytest.approx(15.0)
    assert theory.bound("allreduce", 2, 10, 20.0, 1.0, 1.0) == pytest.approx(20.0)


@pytest.mark.parametrize("collective", sorted(CONTRACTS))
def test_every_collective_has_a_bound_that_one_rank_does_not_need(collective: str) -> None:
    assert theory.bound(collective, 1, 100, 1.0, 1.0, 1.0) == 0.0
    assert theory.bound(collective, 8, 100, 1.0, 1.0, 1.0) > 0.0


def test_a_single_worker_needs_nobody() -> None:
    assert theory.bound("push_pull", 4, 100, 1.0, 1.0, workers=1) == 0.0
    assert theory.bound("push_pull", 4, 100, 1.0, 1.0, workers=2) == 100.0


def test_ranks_that_hear_from_several_at_once_need_fewer_steps() -> None:
    assert theory.bound("barrier", 9, 0, 1.0, 0.0) == 4.0
    assert theory.bound("barrier", 9, 0, 1.0, 0.0, fan=2) == 2.0


def test_the_circulant_allreduce_meets_the_bound_in_each_term() -> None:
    circulant = catalogue.get("circulant")
    for size in range(2, 40):
        assert theory.seconds(circulant, size, 7920, 0.0, 1.0, 1.0) == pytest.approx(
            theory.bound("allreduce", size, 7920, 0.0, 1.0, 1.0)
        )
        assert theory.seconds(circulant, size, 7920, 1.0, 0.0) == 2 * theory.bound("allreduce", size, 7920, 1.0, 0.0)


# --- segments -----------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(["chain", "double_tree", "broadcast_chain", "reduce_chain"]),
    st.integers(2, 20), st.integers(1, 10**5), st.floats(1e-7, 1e-3), st.floats(1e-11, 1e-7),
)  # fmt: skip
@settings(deadline=None)
def test_no_other_number_of_segments_is_better(name: str, size: int, nbytes: int, alpha: float, beta: float) -> None:
    entry = catalogue.get(name)
    best = theory.best_segments(entry, size, nbytes, alpha, beta)

    def cost(segments: int) -> float:
        return theory.seconds(catalogue.get(name, segments=segments), size, nbytes, alpha, beta)

    nearby = range(max(1, best - 50), min(nbytes, best + 50) + 1)
    spread = [2**power for power in range(nbytes.bit_length())]
    assert all(cost(best) <= cost(other) * (1 + 1e-12) for other in (*nearby, *spread))


def test_the_chain_s_best_segments_are_the_root_of_the_design() -> None:
    size, nbytes, alpha, beta = 10, 10**6, 5e-6, 8e-10
    best = theory.best_segments(catalogue.get("broadcast_chain"), size, nbytes, alpha, beta)
    assert abs(best - math.sqrt((size - 2) * nbytes * beta / alpha)) <= 1


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nonsense", 4, 1, 1.0, 1.0), "no collective is called 'nonsense'"),
        (("allreduce", 0, 1, 1.0, 1.0), "at least one rank"),
        (("allreduce", 4, -1, 1.0, 1.0), "nbytes"),
        (("allreduce", 4, 1, math.nan, 1.0), "alpha"),
        (("allreduce", 4, 1, 1.0, math.inf), "beta"),
        (("allreduce", 4, 1, 1.0, 1.0, -1.0), "gamma"),
    ],
)
def test_bad_numbers_are_refused(arguments: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        theory.bound(*arguments)


def test_segments_are_asked_of_pipelines_only() -> None:
    with pytest.raises(ValueError, match="ring is not pipelined"):
        theory.best_segments(catalogue.get("ring"), 4, 100, 1.0, 1.0)
