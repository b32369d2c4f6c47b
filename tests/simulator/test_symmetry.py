"""One rank's timeline for all: claimed only where every rank agrees, and equal to the full simulation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.catalogue import Algorithm
from collectives.schedule import INCOMING_FIRST, OVERWRITE, Recv, Round, Send, extents
from simulator import Network, networks, simulate
from simulator.models import Cores, Curve, Duplex, Hockney, LogGOPS, LogGP, Model, Reduction
from simulator.symmetry import Asymmetric, Relabelling, Symmetric, equivariance, quick

EVERY = [catalogue.get(name) for name in catalogue.names()]
ROTATING = {
    "ring", "circulant", "parameter_server", "reduce_scatter_ring", "reduce_scatter_circulant", "allgather_ring",
    "allgather_bruck", "alltoall_pairwise", "alltoall_bruck", "barrier_dissemination",
}  # fmt: skip
MODELS = [
    Model(),
    Model(Hockney(1e-6, 3e-9), Reduction(((1000.0, 1e-10), (math.inf, 3e-10))), Duplex(1.7, 100)),
    Model(LogGOPS(2e-6, 1e-7, 3e-7, 1e-10, 1e-11, 1000.0)),
    Model(LogGOPS(2e-6, 1e-7, 3e-7, 1e-10, 1e-11, -1), Reduction(((math.inf, 1e-10),))),
    Model(LogGP(1e-6, 1e-7, 5e-5, 1e-10), cores=Cores(1)),
    Model(Curve(((0, 1e-6), (100, 2e-6), (10000, 1e-5)))),
]


def custom(function: Callable[[int, int], Iterator[Round]]) -> Algorithm:
    return replace(
        catalogue.get("linear"), name="custom", function=function, chunk_count=lambda size, at: 1
    )  # fmt: skip


cached_extents = lru_cache(maxsize=4)(extents)


def facts(algorithm: Algorithm, rank: int, size: int, nbytes: int) -> list[list[tuple[str, int, int, bool]]]:
    """What a rank does: for each operation of each round its kind, partner, bytes and whether it folds."""
    cut = cached_extents(nbytes * algorithm.vectors(size), algorithm.chunks(size))
    return [
        [
            (
                type(op).__name__,
                op.dest if isinstance(op, Send) else op.source,
                sum(cut[chunk][1] - cut[chunk][0] for chunk in op.chunks),
                isinstance(op, Recv) and op.fold is not OVERWRITE,
            )
            for op in operations
        ]
        for operations in algorithm.rounds(rank, size)
    ]


def exhaustively(algorithm: Algorithm, size: int, nbytes: int, kind: str) -> bool:
    """Whether every rank does what rank 0 does, its partners renamed."""
    first = facts(algorithm, 0, size, nbytes)
    for rank in range(1, size):
        renamed = [
            [(what, peer ^ rank if kind == "xor" else (peer + rank) % size, n, folds) for what, peer, n, folds in mine]
            for mine in first
        ]
        if renamed != facts(algorithm, rank, size, nbytes):
            return False
    return True


# --- the claim ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", EVERY, ids=lambda algorithm: algorithm.label)
def test_whoever_is_symmetric_by_sample_is_so_by_exhaustion(algorithm: Algorithm) -> None:
    """With bytes that cut evenly and bytes that do not; and those that are known to be symmetric are found."""
    for size in range(1, 18):
        if not algorithm.supports(size):
            continue
        for nbytes in (size * 60, 100):
            found = equivariance(algorithm, size, nbytes)
            kinds = ["rotation", "xor"] if size & (size - 1) == 0 else ["rotation"]
            agreeing = [kind for kind in kinds if exhaustively(algorithm, size, nbytes, kind)]
            assert (found.kind if found else None) == (agreeing[0] if agreeing else None)
            if algorithm.name in ROTATING and nbytes == size * 60:
                assert agreeing


@pytest.mark.parametrize("size", [64, 100, 256])
@pytest.mark.parametrize("algorithm", EVERY, ids=lambda algorithm: algorithm.label)
def test_the_same_for_many_ranks(algorithm: Algorithm, size: int) -> None:
    """Up to 256 ranks; of alltoall, whose chunks are p², only up to 100."""
    if not algorithm.supports(size) or (algorithm.name == "alltoall_bruck" and size > 100):
        return
    found = equivariance(algorithm, size, size * 16)
    if found:
        assert exhaustively(algorithm, size, size * 16, found.kind)
    power = size & (size - 1) == 0
    assert bool(found) == (
        algorithm.name in ROTATING or (power and algorithm.name in ("recursive_doubling", "halving_doubling"))
    )


def _once_different(at: int, odd: int) -> Callable[[int, int], Iterator[Round]]:
    """A ring in which, in round ``at``, rank ``odd`` does not fold."""

    def rounds(rank: int, size: int) -> Iterator[Round]:
        for number in range(100):
            fold = OVERWRITE if number == at and rank == odd else INCOMING_FIRST
            yield Send((rank + 1) % size, 0), Recv((rank - 1) % size, 0, fold)

    return rounds


@given(at=st.integers(0, 99), odd=st.integers(0, 8))
@settings(deadline=None, max_examples=40)
def test_one_different_fold_in_one_round_is_seen(at: int, odd: int) -> None:
    """Nine ranks: the sample is all of them, and all rounds are compared."""
    assert equivariance(custom(_once_different(at, odd)), 9, 100) is None
    assert equivariance(custom(_once_different(-1, odd)), 9, 100) is not None


def test_the_sample_is_drawn_with_the_seed_and_holds_the_last_rank() -> None:
    ring = catalogue.get("ring")
    drawn = [equivariance(ring, 100, 1000, sample=5, seed=seed) for seed in (1, 1, 2)]
    ranks = [found.ranks for found in drawn if found]
    assert len(ranks) == 3
    assert ranks[0] == ranks[1] != ranks[2]
    assert all(len(set(mine)) == 5 and 99 in mine and 0 not in mine for mine in ranks)


def test_sends_that_nobody_receives_are_no_symmetry() -> None:
    """All ranks do the same, and it does not match."""

    def rounds(rank: int, size: int) -> Iterator[Round]:
        yield Send((rank + 1) % size, 0), Recv((rank + 1) % size, 0)

    assert equivariance(custom(rounds), 5, 100) is None
    assert equivariance(custom(rounds), 2, 100) is not None


# --- the run ------------------------------------------------------------------------------------------------------


def same(algorithm: Algorithm, size: int, nbytes: int, network: Network, *, contention: bool = True) -> bool:
    """Whether one rank stands for all; if so, that it gives what all of them give."""
    found = quick(algorithm, size, nbytes, network, contention=contention)
    if isinstance(found, Asymmetric):
        return False
    run = simulate(algorithm, size, nbytes, network, contention=contention)
    assert (found.messages, found.bytes, found.rounds) == (run.messages, run.bytes, run.rounds)
    assert found.seconds == pytest.approx(run.seconds, rel=1e-12, abs=0)
    assert run.completion.tolist() == pytest.approx([found.seconds] * size, rel=1e-12, abs=0)
    return True


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_rank_gives_what_all_ranks_give(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from(EVERY))
    size = data.draw(st.integers(1, 20).filter(algorithm.supports))
    shape = data.draw(st.sampled_from([networks.star, networks.ring]))
    network = replace(shape(size, 1e-6, 1e9), model=data.draw(st.sampled_from(MODELS)))
    nbytes = data.draw(st.one_of(st.integers(0, 300).map(lambda count: count * size * size), st.integers(0, 10**5)))
    same(algorithm, size, nbytes, network, contention=data.draw(st.booleans()))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["ring", "circulant", "alltoall_pairwise", "recursive_doubling"])
def test_and_it_is_used(name: str, model: Model) -> None:
    star = replace(networks.star(32, 1e-6, 1e9), model=model)
    circle = replace(networks.ring(32, 1e-6, 1e9), model=model)
    assert same(catalogue.get(name), 32, 32 * 100, star)
    assert same(catalogue.get(name), 32, 32 * 100, circle) == (name != "recursive_doubling")


def test_a_circulant_on_a_ring_pays_for_its_distance() -> None:
    """Eight ranks, 800 bytes, links of 1 byte/s and 1 s: by hand, 1, 2, 4, 4, 2, 1 links of way, each as often shared.

    A message of k chunks of 100 bytes to a rank k links away takes k s and 100 k bytes x k s/byte, both ways.
    """
    found = quick(catalogue.get("circulant"), 8, 800, networks.ring(8, 1.0, 1.0))
    assert isinstance(found, Symmetric)
    assert found.seconds == 2 * ((1 + 100) + (2 + 400) + (4 + 1600))
    apart = quick(catalogue.get("circulant"), 8, 800, networks.ring(8, 1.0, 1.0), contention=False)
    assert isinstance(apart, Symmetric)
    assert apart.seconds == 2 * ((1 + 100) + (2 + 200) + (4 + 400))


@pytest.mark.parametrize(
    ("name", "network", "nbytes", "reason"),
    [
        ("chain", networks.star(8, 1e-6, 1e9), 800, "chain with 800 bytes does not look the same"),
        ("ring", networks.star(8, 1e-6, 1e9), 801, "ring with 801 bytes does not look the same"),
        ("ring", networks.torus((2, 4), 1e-6, 1e9), 800, "torus does not look the same"),
        ("recursive_doubling", networks.ring(8, 1e-6, 1e9), 800, "not when ring is turned"),
        (
            "ring",
            replace(networks.ring(8, 1e-6, 1e9), place=np.array([0, 2, 1, 3, 4, 5, 6, 7])),
            800,
            "ring does not look the same",
        ),
    ],
)
def test_what_is_not_symmetric_says_why(name: str, network: Network, nbytes: int, reason: str) -> None:
    found = quick(catalogue.get(name), 8, nbytes, network)
    assert isinstance(found, Asymmetric)
    assert reason in found.reason


def test_several_messages_for_one_port_are_left_to_the_engine() -> None:
    def rounds(rank: int, size: int) -> Iterator[Round]:
        around = [(rank + step) % size for step in (1, 2)]
        yield (*(Send(peer, 0) for peer in around), *(Recv((rank - step) % size, 0) for step in (1, 2)))

    assert isinstance(equivariance(custom(rounds), 7, 100), Relabelling)
    found = quick(custom(rounds), 7, 100, networks.star(7, 1e-6, 1e9))
    assert isinstance(found, Asymmetric)
    assert "several messages for one port" in found.reason


def test_a_million_ranks_take_no_time() -> None:
    """q(α + nβ), and ten times the seconds that it takes on a quiet machine."""
    network = networks.star(1 << 20, 1e-6, 1e9)
    begin = time.process_time()
    found = quick(catalogue.get("recursive_doubling"), 1 << 20, 10**6, network)
    assert time.process_time() - begin < 2
    assert isinstance(found, Symmetric)
    assert found.seconds == pytest.approx(20 * (1e-6 + 1e-3), rel=1e-12)
    assert found.messages == 20 << 20
