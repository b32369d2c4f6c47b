"""Allreduce with an encoding on the wire, every algorithm, without MPI: bits, bounds, bytes, and what is put off."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.compression import bounds, virtual
from collectives.compression.codings import Loss, codings
from collectives.compression.memory import Compression
from collectives.executors import virtual as plain
from collectives.executors.encoded import encode_plan
from collectives.schedule import INCOMING_FIRST, Recv, Send
from kernels import compress
from simulator import encodings, networks, simulate

SIZES = range(1, 10)
TELLING = (1, 2, 3, 6, 8)
NAMES = catalogue.names("allreduce")
Floats = np.ndarray[Any, np.dtype[np.float32]]


def variants(name: str, size: int) -> list[catalogue.Algorithm]:
    """The entry with its defaults, and with parameters that change who encodes what."""
    values = {"segments": (1, 3), "servers": (1, 2), "local": (2, 3)}
    entry = catalogue.get(name)
    changed = [catalogue.get(name, **{key: value}) for key in entry.parameters for value in values[key]]
    return [algorithm for algorithm in (entry, *changed) if algorithm.supports(size)]


def inputs(size: int, count: int, seed: int = 0, top: float = 1.0) -> list[Floats]:
    source = np.random.default_rng([seed, size, count])
    return [source.uniform(-top, top, count).astype(np.float32) for _ in range(size)]


def alike(method: Any, size: int, *, feedback: bool = False) -> list[Compression]:
    return [Compression(method, feedback=feedback) for _ in range(size)]


def exact(arrays: list[Floats]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.sum(arrays, axis=0, dtype=np.float64)


@dataclass(frozen=True)
class AsTheyAre:
    """The values' own bytes: loses nothing. It writes down what it is asked to encode."""

    encoded: list[tuple[int, int]] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    name: str = "as they are"

    def nbytes(self, count: int) -> int:
        return 4 * count

    def encode(self, values: Floats, wire: Any, *, counter: int = 0) -> None:
        self.encoded.append((counter, len(values)))
        wire[:] = values.view(np.uint8)

    def decode(self, wire: Any, values: Floats) -> None:
        self.decoded.append(len(values))
        values.view(np.uint8)[:] = wire

    def decode_add(self, wire: Any, values: Floats) -> None:
        values += np.frombuffer(wire.tobytes(), np.float32)

    def encode_feedback(self, values: Floats, wire: Any, residual: Floats, *, counter: int = 0) -> None:
        values += residual
        residual[:] = 0
        self.encode(values, wire, counter=counter)

    def bound(self, values: Floats) -> float:
        return 0.0 * len(values)


# --- the schedule is run as it is -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_an_encoding_that_loses_nothing_changes_no_bit(name: str) -> None:
    for size in TELLING:
        for algorithm in variants(name, size):
            for count in (0, 1, 3 * size + 2):
                brought = inputs(size, count)
                before = [array.tobytes() for array in brought]
                found = virtual.run(algorithm, brought, alike(AsTheyAre(), size))
                expected = plain.run(algorithm, brought)
                assert [one.tobytes() for one in found] == [one.tobytes() for one in expected]
                assert [array.tobytes() for array in brought] == before


@pytest.mark.parametrize("name", NAMES)
def test_all_ranks_end_with_the_same_bits(name: str) -> None:
    # Stochastic rounding: whoever encodes the same value must draw the same numbers, and none may encode what came in.
    for size in SIZES:
        for algorithm in variants(name, size):
            assert codings(algorithm, size).alike
            outputs = virtual.run(algorithm, inputs(size, 90), alike("int8:block=64", size))
            assert len({output.tobytes() for output in outputs}) == 1


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_encoded_once_and_passed_on_as_it_came(name: str) -> None:
    for size in (2, 3, 7, 8):
        algorithm, encoding = catalogue.get(name), AsTheyAre()
        count = 5 * algorithm.chunks(size)
        virtual.run(algorithm, inputs(size, count), alike(encoding, size))
        counters = [counter for counter, _ in encoding.encoded]
        assert set(counters) == set(range(codings(algorithm, size).numbers))
        elements = sum(length for _, length in encoding.encoded)
        if name == "recursive_doubling":  # all ranks of a group encode the sum that they all hold
            core = 1 << (size.bit_length() - 1)
            extra = size - core
            # extras hand over once; the core encodes in each round; at the end all encode what the extras were sent
            assert elements == count * (extra + core * (core.bit_length() - 1) + (core if extra else 0))
        else:  # p - 1 partial sums of each chunk, and its total
            assert elements == count * size + settled(algorithm, size, count)


def test_a_copy_that_nobody_reads_is_not_decoded() -> None:
    encoding, size = AsTheyAre(), 5
    virtual.run(catalogue.get("ring"), inputs(size, 2 * size), alike(encoding, size))
    # Of its own encodings a rank reads the total of one chunk; the partial sums that it sent on are overwritten.
    assert len(encoding.decoded) == size * (size - 1) + size


def settled(algorithm: catalogue.Algorithm, size: int, count: int) -> int:
    """Elements encoded after the last round, so that a rank holds what others do."""
    plans = [encode_plan(algorithm, rank, size, count, AsTheyAre().nbytes) for rank in range(size)]
    return sum(place.hi - place.lo for plan in plans for _, place in plan.last)


def test_different_values_draw_different_random_numbers() -> None:
    for name in NAMES:
        found = codings(catalogue.get(name), 8)
        of_number: dict[int, set[int]] = {}
        for rank, mine in enumerate(found.of):
            for coding in (one for ones in mine.values() for one in ones if one.loss is not Loss.ELSEWHERE):
                of_number.setdefault(coding.number, set()).add(rank)
        assert all(len(keepers) == 1 for keepers in of_number.values())
        assert len(of_number) == found.numbers


# --- what is lost -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["int8", "int8:rounding=nearest", "float16", "bfloat16", "sign", "topk:share=1/3"])
@settings(max_examples=10)
@given(st.data())
def test_no_element_is_further_off_than_the_bound(text: str, data: st.DataObject) -> None:
    encoding = compress.get(text)
    size = data.draw(st.sampled_from(SIZES))
    algorithm = data.draw(st.sampled_from(variants(data.draw(st.sampled_from(NAMES)), size)))
    count = data.draw(st.integers(1, 700))
    tops = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=size, max_size=size))
    seed = data.draw(st.integers(0, 2**32))
    brought = [one * np.float32(top) for one, top in zip(inputs(size, count, seed), tops, strict=True)]
    largest = [float(np.abs(one).max()) for one in brought]
    limit = bounds.error_bound(algorithm, encoding, largest)
    for output in virtual.run(algorithm, brought, alike(text, size)):
        assert np.abs(output - exact(brought)).max() <= limit


def test_the_bound_is_what_is_said_of_ring_and_not_far_from_what_happens() -> None:
    ring, nearest = catalogue.get("ring"), compress.get("int8:rounding=nearest")
    for size in (2, 4, 8):
        limit = bounds.error_bound(ring, nearest, [1.0] * size)
        assert limit == pytest.approx(size * (size + 1) / 2 / 254, rel=0.02)
        brought = inputs(size, 3000)
        off = max(np.abs(output - exact(brought)).max() for output in virtual.run(ring, brought, alike(nearest, size)))
        assert off > limit / 3


@pytest.mark.parametrize("name", NAMES)
def test_feedback_puts_off_but_loses_nothing(name: str) -> None:
    for size in TELLING:
        for algorithm in variants(name, size):
            off, owed = what_is_off(algorithm, alike("int8:block=64", size, feedback=True))
            assert np.abs(off + owed).max() < 1e-4
            # Without what is owed the results are off by far more than that.
            assert size == 1 or np.abs(off).max() > 1e-3


def what_is_off(algorithm: catalogue.Algorithm, compressions: list[Compression]) -> tuple[Any, Any]:
    """By how much the results of four calls together differ from the exact sums, and what is owed in the end."""
    count, off = 70, np.zeros(70)
    for call in range(4):
        brought = inputs(len(compressions), count, seed=call)
        off += virtual.run(algorithm, brought, compressions)[-1] - exact(brought)
    return off, exact([compression.residual for compression in compressions if compression.residual is not None])


def test_feedback_finds_a_small_value_beside_a_large_one() -> None:
    # Less than half a step is rounded to nothing in every call, unless what is lost is remembered.
    gradient, ring, nearest = (
        np.full(256, 1e-3, np.float32),
        catalogue.get("ring"),
        compress.get("int8:rounding=nearest"),
    )
    gradient[::64] = 1.0

    def mean(compressions: list[Compression]) -> float:
        return sum(float(virtual.run(ring, [gradient] * 4, compressions)[0][1]) for _ in range(60)) / 60

    assert mean(alike(nearest, 4)) == 0.0
    assert mean(alike(nearest, 4, feedback=True)) == pytest.approx(4e-3, rel=0.2)


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_that_are_foretold_are_those_of_the_plan(name: str) -> None:
    encoding = compress.get("int8")
    for size in SIZES:
        for algorithm in variants(name, size):
            for rank in {0, size // 2, size - 1}:
                plan = encode_plan(algorithm, rank, size, 1001, encoding.nbytes).plan
                sent = sum(send.length for step in plan.steps for send in step.sends)
                assert bounds.bytes_sent(algorithm, rank, size, 1001, encoding.nbytes) == sent


def test_ring_sends_each_chunk_but_two_twice() -> None:
    assert bounds.bytes_sent(catalogue.get("ring"), 0, 4, 4096, compress.get("int8").nbytes) == 6 * (1024 + 4 * 4)
    assert bounds.bytes_sent(catalogue.get("ring"), 0, 4, 4096, compress.get("float16").nbytes) == 6 * 2048


@pytest.mark.parametrize("name", NAMES)
def test_the_simulator_prices_the_bytes_that_travel(name: str) -> None:
    for size in (2, 5, 8):
        algorithm, encoding = catalogue.get(name), compress.get("int8")
        network = networks.star(size, latency=1e-6, bandwidth=1e9)
        priced = replace(network, model=replace(network.model, encoding=encodings.get("int8")))
        foretold = sum(bounds.bytes_sent(algorithm, rank, size, 10_007, encoding.nbytes) for rank in range(size))
        assert simulate(algorithm, size, 4 * 10_007, priced, itemsize=4).bytes == foretold


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_compression_serves_one_gradient() -> None:
    compression = Compression("int8", feedback=True)
    owed = compression.owed(np.empty(10, np.float32))
    assert owed is not None
    assert compression.owed(np.empty(10, np.float32)) is owed
    with pytest.raises(ValueError, match=r"keeps what 10 elements lost, and this call has 11: make a Compression"):
        compression.owed(np.empty(11, np.float32))
    compression.reset()
    fresh = compression.owed(np.empty(11, np.float32))
    assert fresh is not None
    assert not fresh.any()


def test_a_compression_uses_no_counter_twice() -> None:
    compression = Compression("int8")
    firsts = [compression.draw(7) for _ in range(3)]
    assert firsts == [0, 7, 14]
    assert compression.owed(np.empty(10, np.float32)) is None


def everybody_to_everybody(rank: int, size: int) -> list[tuple[Send | Recv, ...]]:
    others = [other for other in range(size) if other != rank]
    return [(*(Send(other, 0) for other in others), *(Recv(other, 0, INCOMING_FIRST) for other in others))]


def test_feedback_is_refused_where_ranks_add_in_different_orders() -> None:
    algorithm = replace(catalogue.get("linear"), name="everybody", function=everybody_to_everybody)
    assert not codings(algorithm, 4).alike
    brought = inputs(4, 30)
    limit = bounds.error_bound(algorithm, compress.get("float16"), [1.0] * 4)
    for output in virtual.run(algorithm, brought, alike("float16", 4)):
        assert np.abs(output - exact(brought)).max() <= limit
    with pytest.raises(ValueError, match="everybody gives ranks different roundings of a sum: leave feedback out"):
        virtual.run(algorithm, brought, alike("float16", 4, feedback=True))


def test_what_leaves_elements_out_has_no_bound() -> None:
    with pytest.raises(ValueError, match="randomk may leave out any element altogether"):
        bounds.error_bound(catalogue.get("ring"), compress.get("randomk"), [1.0, 1.0])


def test_ranks_that_bring_different_things_are_named() -> None:
    with pytest.raises(ValueError, match="every rank must bring 3 float32 elements"):
        virtual.run(catalogue.get("ring"), [np.zeros(3, np.float32), np.zeros(4, np.float32)], alike("int8", 2))
