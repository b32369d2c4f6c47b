"""Encoded vectors: bytes counted by hand, laws that tie them to runs without encoding, and the closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.compression.bounds import bytes_sent
from collectives.executors.encoded import encode_plan
from kernels.compress import sizes
from simulator import Network, Phase, encodings, networks, play, simulate, theory
from simulator.encodings import Encoding, Work
from simulator.explanation import explain
from simulator.models import Cores, Hockney, LogGOPS, Model, Reduction
from simulator.processes import World

EXCHANGE, RING = catalogue.get("recursive_doubling"), catalogue.get("ring")
QUICK = settings(max_examples=25, deadline=None)


def plain(itemsize: int) -> Encoding:
    """Elements as they are, for nothing."""
    return Encoding("plain", lambda count: itemsize * count, itemsize)


def on(network: Network, encoding: Encoding | None) -> Network:
    return replace(network, model=replace(network.model, encoding=encoding))


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "bytes_of"),
    [
        (sizes.float16, {1: 2, 1000: 2000}),
        (sizes.bfloat16, {1: 2, 1000: 2000}),
        (sizes.int8, {1: 1 + 4, 256: 256 + 4, 257: 257 + 8}),
        (lambda count: sizes.int8(count, 10), {10: 14, 11: 19}),
        (sizes.sign, {1: 1 + 4, 8: 1 + 4, 9: 2 + 4}),
        (sizes.topk, {1: 8, 100: 8, 101: 16}),
        (lambda count: sizes.topk(count, Fraction(1, 3)), {3: 8, 4: 16}),
        (sizes.randomk, {1: 4 + 8, 100: 4 + 8, 101: 8 + 8}),
        # 1: one by one, of rank 1. 100: ten by ten. 101: eleven rows of ten.
        (sizes.powersgd, {1: 4 * (1 + 1), 100: 4 * 4 * 20, 101: 4 * 4 * 21}),
    ],
)
def test_sizes_by_hand(size: Callable[[int], int], bytes_of: dict[int, int]) -> None:
    assert size(0) == 0
    assert {count: size(count) for count in bytes_of} == bytes_of


@pytest.mark.parametrize("name", encodings.names())
@given(st.integers(0, 100_000), st.integers(0, 100_000))
@QUICK
def test_no_message_has_fewer_bytes_than_a_long_one_for_each_of_its_elements(name: str, one: int, other: int) -> None:
    encoding = encodings.get(name)
    assert encoding.wire(one) + encoding.wire(other) >= encoding.wire(one + other)
    assert encoding.wire(one) >= encoding.ratio * one * encoding.itemsize * (1 - 1e-9)


def test_an_unknown_encoding_names_the_nearest_and_a_vector_of_other_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="known: int8"):
        encodings.get("int16")
    network = on(networks.star(2, 1e-6, 1e9), encodings.get("float16"))
    with pytest.raises(ValueError, match="elements of 4 bytes, not of 8"):
        simulate(EXCHANGE, 2, 800, network, itemsize=8)
    with pytest.raises(ValueError, match="elements of 4 bytes, not of 8"):
        play([Phase(EXCHANGE, 800, 8)], network)


# --- runs ---------------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """1,000 elements: encoded in 2 + 4, 2,000 bytes on the wire in 7 + 20, decoded in 1 + 8, folded in 40.

    Or decoded and folded at once, in 3 + 12.
    """
    encoding = Encoding("half", sizes.float16, 4, Work(2, 1e-3), Work(1, 2e-3))
    model = Model(Hockney(7, 1e-2), Reduction(((math.inf, 1e-2),)), encoding=encoding)
    run = simulate(EXCHANGE, 2, 4000, replace(networks.uniform(2, 0.0, 0.0), model=model), itemsize=4)
    assert run.seconds == pytest.approx(2 + 4 + 7 + 20 + 1 + 8 + 40)
    assert run.bytes == 2 * 2000
    fused = replace(run.network, model=replace(model, encoding=replace(encoding, add=Work(3, 3e-3))))
    assert simulate(EXCHANGE, 2, 4000, fused, itemsize=4).seconds == pytest.approx(2 + 4 + 7 + 20 + 3 + 12)
    told = [(step.kind, round(step.seconds, 9)) for step in explain(run).steps]
    assert told == [("encoding", 6), ("bandwidth", 20), ("latency", 7), ("encoding", 9), ("reduction", 40)]
    assert "encoding and decoding" in " ".join(explain(run).words())
    assert "codificação e decodificação" in " ".join(explain(run).words("pt"))


NETWORKS = [
    networks.star(8, 1e-6, 1e9, 1e-10),
    networks.torus((2, 4), 1e-6, 1e9),
    networks.preset("dgx-h100", 8),
    replace(networks.star(8, 1e-6, 1e9), model=Model(LogGOPS(1e-6, 2e-7, 1e-7, 1e-10, 1e-11, 4096), cores=Cores(1))),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
@given(st.sampled_from(catalogue.names()), st.integers(0, 5000), st.sampled_from([1, 4, 8]))
@QUICK
def test_an_encoding_that_changes_nothing_changes_nothing(
    network: Network, name: str, count: int, itemsize: int
) -> None:
    algorithm = catalogue.get(name)
    bare, same = (
        simulate(algorithm, 8, count * itemsize, on(network, encoding), itemsize=itemsize)
        for encoding in (None, plain(itemsize))
    )
    assert same.completion.tolist() == bare.completion.tolist()
    assert (same.bytes, same.limits) == (bare.bytes, bare.limits)


@pytest.mark.parametrize("name", encodings.names())
def test_bytes_on_the_wire_are_those_of_each_message(name: str) -> None:
    """A ring over three ranks of 1,000 elements sends chunks of 334, 333 and 333 of them, each four times."""
    encoding = encodings.get(name)
    run = simulate(RING, 3, 4000, on(networks.star(3, 1e-6, 1e9), encoding), itemsize=4)
    assert run.bytes == 4 * sum(encoding.wire(count) for count in (334, 333, 333))
    assert {message.nbytes for message in run.timeline()} == {encoding.wire(334), encoding.wire(333)}


ALIKE = ["recursive_doubling", "reduce_scatter_ring"]
"""Every message is one chunk that its sender has just reduced, or its own."""


@pytest.mark.parametrize("name", encodings.names())
@given(
    st.sampled_from(ALIKE), st.sampled_from([2, 4, 8]), st.integers(1, 1000),
    st.floats(0, 1e-3), st.floats(1e-10, 1e-6), st.floats(0, 1e-7), st.floats(0, 1e-3), st.floats(0, 1e-7),
)  # fmt: skip
@QUICK
def test_the_closed_form_is_exact_where_all_messages_are_alike(
    name: str,
    algorithm: str,
    ranks: int,
    count: int,
    alpha: float,
    beta: float,
    gamma: float,
    launch: float,
    work: float,
) -> None:
    encoding = replace(
        encodings.get(name),
        encode=Work(launch, work),
        decode=Work(2 * launch, 3 * work),
        add=Work(2 * launch, 4 * work),
    )
    network = on(networks.uniform(ranks, alpha, beta, gamma), encoding)
    entry, nbytes = catalogue.get(algorithm), 4 * ranks * count
    run = simulate(entry, ranks, nbytes, network, itemsize=4)
    closed = theory.seconds(entry, ranks, nbytes, alpha, beta, gamma, encoding=encoding)
    assert run.seconds == pytest.approx(closed, rel=1e-9)
    assert closed < theory.seconds(
        entry, ranks, nbytes, alpha, beta, gamma, encoding=replace(encoding, wire=twice(encoding))
    )


def twice(encoding: Encoding) -> Callable[[int], int]:
    return lambda count: 2 * encoding.wire(count)


@given(st.sampled_from(catalogue.names("allreduce")), st.sampled_from(encodings.names()), st.integers(0, 20_000))
@QUICK
def test_no_run_is_below_its_bound_and_fewer_bytes_lower_it(name: str, encoding: str, count: int) -> None:
    """``simulate`` itself raises for a run that is faster than its bound."""
    network = networks.star(8, 1e-6, 1e9, 1e-10)
    bare, less = (
        simulate(catalogue.get(name), 8, 4 * count, on(network, found), itemsize=4)
        for found in (None, encodings.get(encoding, memory=1e11))
    )
    assert less.limits.ports <= bare.limits.ports
    work = encodings.get(encoding, memory=1e11).add
    assert work is not None
    assert less.limits.reduction == pytest.approx(7 / 8 * 4 * count * work.per_byte)


def test_what_is_passed_on_is_not_encoded_again() -> None:
    """A ring of p encodes p of its p chunks, p - 1 partial sums and a result, and decodes 2(p - 1)."""
    model = Model(encoding=Encoding("costly", lambda count: 0, 4, Work(1, 0.5), Work(100, 0)))
    run = simulate(RING, 4, 4 * 4 * 10, replace(networks.uniform(4, 0.0, 0.0), model=model), itemsize=4)
    assert run.seconds == 4 * (1 + 40 * 0.5) + 6 * 100
    gather = catalogue.get("allgather_ring")
    assert simulate(gather, 4, 4 * 4 * 10, run.network, itemsize=4).seconds == 21 + 3 * 100


@pytest.mark.parametrize("name", catalogue.names("allreduce"))
@pytest.mark.parametrize("ranks", [5, 8])
def test_messages_are_encoded_as_the_executor_encodes_them(name: str, ranks: int) -> None:
    """The executor's own plan says how often each rank encodes before it sends, and how many bytes it sends."""
    algorithm, count = catalogue.get(name), 1003
    encoding = Encoding("counted", sizes.int8, 4, encode=Work(1.0), decode=Work(0.0))
    run = simulate(algorithm, ranks, 4 * count, on(networks.uniform(ranks, 0.0, 0.0), encoding), itemsize=4)
    spent = [0.0] * ranks
    sent = [0] * ranks
    for message in run.timeline():
        spent[message.source] += message.encoding
        sent[message.source] += message.nbytes
    plans = [encode_plan(algorithm, rank, ranks, count, sizes.int8) for rank in range(ranks)]
    assert spent == [sum(map(len, plan.before)) for plan in plans]
    assert sent == [bytes_sent(algorithm, rank, ranks, count, sizes.int8) for rank in range(ranks)]
    assert run.bytes == sum(sent)


def test_one_rank_cannot_stand_for_all_that_encode() -> None:
    network = on(networks.star(16, 1e-6, 1e9), encodings.get("int8"))
    with pytest.raises(ValueError, match="followed at every rank"):
        simulate(RING, 16, 1 << 20, network, itemsize=4, symmetry=True)


def test_more_chunks_than_can_be_followed_are_refused() -> None:
    network = on(networks.star(1000, 1e-6, 1e9), encodings.get("int8", launch=1e-6))
    with pytest.raises(ValueError, match="too many to follow"):
        simulate(catalogue.get("alltoall_pairwise"), 1000, 4000, network, itemsize=4)


def test_processes_know_no_encoding() -> None:
    with pytest.raises(ValueError, match="no encoding"):
        World(on(networks.star(2, 1e-6, 1e9), encodings.get("int8")))


def test_a_kernel_over_nothing_is_not_launched() -> None:
    encoding = Encoding("costly", lambda count: count, 4, Work(1.0), Work(1.0))
    run = simulate(RING, 4, 8, on(networks.uniform(4, 0.0, 0.0), encoding), itemsize=4)  # two of four chunks are empty
    assert sum(message.encoding + message.decoding for message in run.timeline()) == 2 * (4 + 6)
    assert Reduction(((math.inf, 0.5),), launch=1.0).seconds(np.array([0, 10])).tolist() == [0, 6]
