"""Compressed allreduces over real ranks: the bits of the virtual run, MPI's own count of bytes, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

from collectives import CollectiveMismatch, CollectiveTimeout, Communicator, catalogue, selection
from collectives.compression import bounds, virtual
from collectives.compression.calls import encoded_prices
from collectives.compression.memory import Compression
from collectives.executors.encoded import Coder, encode_plan
from collectives.executors.interpreted import Interpreted
from collectives.selection import Prices
from kernels import compress

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
SEVERAL = pytest.mark.skipif(SIZE == 1, reason="needs at least two ranks")
NAMES = catalogue.names("allreduce")
INT8 = compress.get("int8")
Floats = np.ndarray[Any, np.dtype[np.float32]]

pytestmark = pytest.mark.skipif(
    SIZE > 4, reason="loading compiled kernels takes each rank its time; tests/collectives/test_compression.py has more"
)


@pytest.fixture
def comm() -> Iterator[Communicator]:
    made = Communicator(WORLD).Dup()
    yield made
    made.Free()


def inputs(count: int, seed: int = 0) -> list[Floats]:
    """What every rank brings, the same on all ranks."""
    return [np.random.default_rng([seed, rank]).uniform(-1, 1, count).astype(np.float32) for rank in range(SIZE)]


@pytest.mark.parametrize("name", NAMES)
def test_real_ranks_get_the_bits_of_the_virtual_run(name: str, comm: Communicator) -> None:
    algorithm = catalogue.get(name)
    compression, count = Compression("int8", feedback=True), 1003
    others = [Compression("int8", feedback=True) for _ in range(SIZE)]
    for call in range(3):
        brought = inputs(count, call)
        expected = virtual.run(algorithm, brought, others)
        found = np.empty(count, np.float32)
        comm.Allreduce(brought[RANK].copy(), found, algorithm=name, compress=compression)
        assert found.tobytes() == expected[RANK].tobytes()
        assert np.array_equal(compression.residual, others[RANK].residual)


def test_counts_may_differ_from_call_to_call(comm: Communicator) -> None:
    for count in (0, 1, 700, SIZE, 5000, 700):
        brought = inputs(count)
        found = brought[RANK].copy()
        comm.Allreduce(MPI.IN_PLACE, found, compress="float16")
        largest = [float(np.abs(one).max(initial=0)) for one in brought]
        algorithm = comm.explain("allreduce", 4 * count, compress="float16").algorithm
        assert algorithm is not None
        limit = bounds.error_bound(algorithm, compress.get("float16"), largest)
        assert np.abs(found - np.sum(brought, axis=0, dtype=np.float64)).max(initial=0) <= limit


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_other_floating_point_numbers_are_summed_in_float32(dtype: Any, comm: Communicator) -> None:
    brought = [one.astype(dtype) for one in inputs(300)]
    found = np.empty(300, dtype)
    comm.Allreduce(brought[RANK], found, algorithm="ring", compress=INT8)
    alike = [Compression(INT8) for _ in range(SIZE)]
    expected = virtual.run(catalogue.get("ring"), [one.astype(np.float32) for one in brought], alike)
    assert found.tobytes() == expected[RANK].astype(dtype).tobytes()
    assert brought[RANK].tobytes() == inputs(300)[RANK].astype(dtype).tobytes()


def test_what_is_too_large_becomes_infinite_without_a_word(comm: Communicator) -> None:
    found = np.array([1e300, 1.0])
    comm.Allreduce(MPI.IN_PLACE, found, compress="bfloat16")
    assert np.isinf(found[0])
    assert found[1] == SIZE


@pytest.mark.parametrize("text", ["randomk:share=1/10", "powersgd:rank=2", "sign_majority"])
def test_what_all_ranks_compress_alike_gives_the_bits_of_the_virtual_run(text: str, comm: Communicator) -> None:
    algorithm = None if text == "sign_majority" else "recursive_doubling"
    mine = Compression(text, feedback=True)
    others = [Compression(text, feedback=True) for _ in range(SIZE)]
    for call in range(3):
        brought = inputs(500, call)
        expected = virtual.run(catalogue.get("recursive_doubling"), brought, others)
        found = np.empty(500, np.float32)
        comm.Allreduce(brought[RANK], found, algorithm=algorithm, compress=mine)
        assert found.tobytes() == expected[RANK].tobytes()
        assert np.array_equal(mine.residual, others[RANK].residual)


def test_a_name_remembers_nothing_from_one_gradient_to_the_next(comm: Communicator) -> None:
    for _ in range(2):
        brought = inputs(100)
        found = brought[RANK].copy()
        comm.Allreduce(MPI.IN_PLACE, found, algorithm="ring", compress="powersgd:rank=1")
    named = comm._compressed._named["powersgd:rank=1"]
    assert named.start is None
    assert named.draw(1) == 2


@pytest.mark.parametrize("name", NAMES)
def test_mpi_counts_the_bytes_that_were_foretold(name: str) -> None:
    algorithm, count = catalogue.get(name), 1001
    encoded = encode_plan(algorithm, RANK, SIZE, count, INT8.nbytes)
    buffers = tuple(np.empty(length, np.uint8) for length in encoded.plan.lengths)
    values = inputs(count)[RANK]
    private = WORLD.Dup()
    executor = Interpreted(private)
    coder = Coder(encoded, INT8, values, (buffers[0], buffers[1]), None, 0)
    executor.run(encoded.plan, buffers, around=coder)
    wire = executor._wire(encoded.plan, buffers)
    arrived = sum(
        arrival.status.Get_elements(arrival.datatype) for step in wire.steps for arrival in step.arrivals
    )  # of the persistent requests that have just been used
    executor.free()
    private.Free()
    foretold = sum(bounds.bytes_sent(algorithm, rank, SIZE, count, INT8.nbytes) for rank in range(SIZE))
    assert WORLD.allreduce(arrived) == foretold


def test_explain_tells_what_travels(comm: Communicator) -> None:
    array = inputs(10_000)[RANK]
    for _ in range(2):
        comm.Allreduce(MPI.IN_PLACE, array, algorithm="ring", compress="int8")
    told = comm.explain("allreduce", array.nbytes, compress="int8")
    assert told.algorithm is not None
    assert told.wire is not None
    assert told.wire.nbytes == 10_000 + 4 * 40
    assert told.wire.sent == bounds.bytes_sent(told.algorithm, RANK, SIZE, 10_000, INT8.nbytes)
    assert told.runs == {"ring, int8 on the wire": 2}
    assert "as int8 the vector takes 10160 bytes" in str(told)
    with pytest.raises(ValueError, match="compress= serves allreduce, not broadcast"):
        comm.explain("broadcast", 8, compress="int8")


def test_the_selection_prices_the_bytes_that_travel() -> None:
    prices, count = Prices(1e-6, 1e-9, 3e-10), 1 << 20
    paid = encoded_prices(prices, INT8, count)
    ring = catalogue.get("ring").cost(8)
    seconds = ring.seconds(4 * count, paid.alpha, paid.beta, paid.gamma)
    assert seconds == pytest.approx(14e-6 + 14 / 8 * INT8.nbytes(count) * 1e-9 + 7 / 8 * 4 * count * 3e-10)
    sizes = [1 << power for power in range(6, 24)]
    plain, packed = (
        [selection.choose("allreduce", 8, size, each).name for size in sizes]
        for each in (prices, encoded_prices(prices, INT8, count))
    )
    assert plain != packed


# --- what is refused --------------------------------------------------------------------------------------------------


def test_what_cannot_be_compressed_is_refused_and_never_sent_as_it_is(comm: Communicator) -> None:
    floats, whole = np.ones(4, np.float32), np.ones(4, np.int32)
    for send, recv, op, complaint in (
        (MPI.IN_PLACE, floats, MPI.MAX, r"compress= serves sums \(op=MPI.SUM\), not max"),
        (MPI.IN_PLACE, whole, MPI.SUM, "compress= serves bfloat16, float16, float32, float64, not MPI_INT"),
        (floats, np.empty(5, np.float32), MPI.SUM, "can't be compressed: different datatypes or counts"),
        (MPI.IN_PLACE, np.broadcast_to(floats, (4,)), MPI.SUM, "can't be compressed: .* not writable"),
    ):
        with pytest.raises(ValueError, match=complaint):
            comm.Allreduce(send, recv, op=op, compress="int8")
    with pytest.raises(KeyError, match="no encoding is called 'int7'; known: int8"):
        comm.Allreduce(MPI.IN_PLACE, floats, compress="int7")
    with pytest.raises(ValueError, match="allgather_ring does allgather"):
        comm.Allreduce(MPI.IN_PLACE, floats, algorithm="allgather_ring", compress="int8")
    assert floats.tolist() == [1, 1, 1, 1]


@SEVERAL
def test_ranks_that_compress_differently_are_told_in_check_mode(comm: Communicator) -> None:
    comm.settings.check = True
    with pytest.raises(CollectiveMismatch, match="algorithm: ring, int8 on the wire on rank 0 but ring, float16 on"):
        comm.Allreduce(
            MPI.IN_PLACE, np.ones(9, np.float32), algorithm="ring", compress="int8" if RANK == 0 else "float16"
        )


@SEVERAL
def test_a_rank_that_does_not_come_is_named() -> None:
    comm = Communicator(WORLD.Dup(), timeout=20.0)
    array = np.ones(100, np.float32)
    comm.Allreduce(MPI.IN_PLACE, array, algorithm="linear", compress="int8")
    comm.settings.timeout = 0.2
    if RANK == 0:
        with pytest.raises(CollectiveTimeout, match=r"0.2 s in round 0 .* 104 bytes \(chunks \{0\}\) from rank 1"):
            comm.Allreduce(MPI.IN_PLACE, array, algorithm="linear", compress="int8")
