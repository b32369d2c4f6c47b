"""Communicator against NumPy and against the MPI library's own collectives, for every algorithm in the catalogue."""

import functools
import time

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator, catalogue, selection

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size
COMM = Communicator(WORLD)
COUNTS = sorted({0, 1, 2, SIZE - 1, SIZE, SIZE + 1, 4 * SIZE, 97})
PLACES = pytest.mark.parametrize("in_place", [False, True], ids=["two buffers", "in place"])


def algorithms(collective: str) -> list[str | None]:
    """None (let it select), every algorithm that this number of ranks allows, and pipelines of another length."""
    names: list[str | None] = [None]
    for name in catalogue.names(collective):
        entry = catalogue.get(name)
        if entry.supports(SIZE):
            names.append(name)
        if "segments" in entry.parameters:
            names.append(f"{name}:segments=3")
    return names


def every(collective: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("algorithm", algorithms(collective))


def data(rank: int, count: int, dtype: object = np.int64, seed: int = 0) -> np.ndarray:
    """Small whole numbers, so that sums and products are exact in every dtype; the same on all ranks for one rank."""
    numbers = np.random.default_rng((seed, rank, count)).integers(1, 4, count)
    return numbers.astype(dtype)


def everyone(count: int, dtype: object = np.int64, seed: int = 0) -> list[np.ndarray]:
    return [data(rank, count, dtype, seed) for rank in range(SIZE)]


def summed(count: int, dtype: object = np.int64, seed: int = 0) -> np.ndarray:
    return functools.reduce(np.add, everyone(count, dtype, seed))


@every("allreduce")
@PLACES
def test_allreduce_sums(algorithm: str | None, in_place: bool) -> None:
    for count in COUNTS:
        for dtype in (np.int32, np.float64):
            recv = data(RANK, count, dtype) if in_place else np.full(count, -1, dtype)
            send = MPI.IN_PLACE if in_place else data(RANK, count, dtype)
            for _ in range(2):  # the second call takes the short way
                if in_place:
                    recv[:] = data(RANK, count, dtype)
                COMM.Allreduce(send, recv, algorithm=algorithm)
                np.testing.assert_array_equal(recv, summed(count, dtype))


@every("reduce")
@PLACES
def test_reduce_leaves_the_sum_at_the_root_and_everything_else_alone(algorithm: str | None, in_place: bool) -> None:
    for count in COUNTS:
        for root in {0, SIZE // 2, SIZE - 1}:
            mine = data(RANK, count)
            recv = mine.copy() if in_place else np.full(count, -1)
            if root != RANK:
                COMM.Reduce(mine, None, root=root, algorithm=algorithm)
            else:
                COMM.Reduce(MPI.IN_PLACE if in_place else mine, recv, root=root, algorithm=algorithm)
                np.testing.assert_array_equal(recv, summed(count))
            if root != RANK or not in_place:
                np.testing.assert_array_equal(mine, data(RANK, count))


@every("broadcast")
def test_bcast_brings_the_root_s_data_to_all(algorithm: str | None) -> None:
    for count in COUNTS:
        for root in {0, SIZE // 2, SIZE - 1}:
            for dtype in (np.uint8, np.complex128):
                array = data(RANK, count, dtype)
                COMM.Bcast(array, root=root, algorithm=algorithm)
                np.testing.assert_array_equal(array, data(root, count, dtype))


@every("allgather")
@PLACES
def test_allgather_collects_in_rank_order(algorithm: str | None, in_place: bool) -> None:
    for count in COUNTS:
        recv = np.full((SIZE, count), -1)
        if in_place:
            recv[RANK] = data(RANK, count)
        COMM.Allgather(MPI.IN_PLACE if in_place else data(RANK, count), recv, algorithm=algorithm)
        np.testing.assert_array_equal(recv, np.reshape(everyone(count), (SIZE, count)))


@every("allgather")
@PLACES
def test_allgatherv_puts_each_piece_at_its_displacement_and_leaves_the_gaps(
    algorithm: str | None, in_place: bool
) -> None:
    for scale in (0, 1, 5):
        counts = [scale * (rank % 3) for rank in range(SIZE)]
        starts = [sum(counts[rank + 1 :]) + 2 * (SIZE - rank) for rank in range(SIZE)]  # backwards, with gaps
        expected = np.full(sum(counts) + 2 * SIZE + 1, -1)
        for rank in range(SIZE):
            expected[starts[rank] : starts[rank] + counts[rank]] = data(rank, counts[rank])
        recv = np.full(expected.size, -1)
        if in_place:
            recv[starts[RANK] : starts[RANK] + counts[RANK]] = data(RANK, counts[RANK])
        send = MPI.IN_PLACE if in_place else data(RANK, counts[RANK])
        COMM.Allgatherv(send, [recv, (counts, starts), MPI.LONG], algorithm=algorithm)
        np.testing.assert_array_equal(recv, expected)


@every("reduce_scatter")
@PLACES
def test_reduce_scatter_with_uneven_counts(algorithm: str | None, in_place: bool) -> None:
    for scale in (0, 1, 7):
        counts = [scale * ((rank + 1) % 3) for rank in range(SIZE)]
        total, start = sum(counts), sum(counts[:RANK])
        recv = data(RANK, total) if in_place else np.full(counts[RANK], -1)
        send = MPI.IN_PLACE if in_place else data(RANK, total)
        COMM.Reduce_scatter(send, recv, counts, algorithm=algorithm)
        np.testing.assert_array_equal(recv[: counts[RANK]], summed(total)[start : start + counts[RANK]])
        if not in_place:
            COMM.Reduce_scatter(send, recv, algorithm=algorithm)  # the counts come from the receive buffers
            np.testing.assert_array_equal(recv, summed(total)[start : start + counts[RANK]])


@every("reduce_scatter")
@PLACES
def test_reduce_scatter_block(algorithm: str | None, in_place: bool) -> None:
    for count in COUNTS:
        recv = data(RANK, count * SIZE) if in_place else np.full(count, -1)
        send = MPI.IN_PLACE if in_place else data(RANK, count * SIZE)
        COMM.Reduce_scatter_block(send, recv, algorithm=algorithm)
        np.testing.assert_array_equal(recv[:count], summed(count * SIZE)[RANK * count : (RANK + 1) * count])


@every("alltoall")
@pytest.mark.parametrize("way", ["two buffers", "in place", "aliased"])
def test_alltoall_transposes(algorithm: str | None, way: str) -> None:
    for count in (0, 1, 3, 17):
        send = np.arange(SIZE * count).reshape(SIZE, count) + 1000 * RANK
        expected = [np.arange(RANK * count, (RANK + 1) * count) + 1000 * source for source in range(SIZE)]
        recv = np.full_like(send, -1) if way == "two buffers" else send
        source = {"two buffers": send, "in place": MPI.IN_PLACE, "aliased": send[:]}[way]
        COMM.Alltoall(source, recv, algorithm=algorithm)
        np.testing.assert_array_equal(recv, np.reshape(expected, (SIZE, count)))


@every("barrier")
def test_nobody_leaves_a_barrier_before_the_last_has_come(algorithm: str | None) -> None:
    for late in range(SIZE):
        come = np.zeros(SIZE)
        time.sleep(0.01 * (late == RANK))
        mine = np.array([time.monotonic()])  # one machine, one clock; MPI.Wtime may start with each process
        COMM.Barrier(algorithm=algorithm)
        left = time.monotonic()
        WORLD.Allgather(mine, come)
        assert left >= come.max()


NUMBERS = "bhilqBHILQfdgFDG"
OPERATIONS = {
    "SUM": NUMBERS,
    "PROD": NUMBERS,
    "MIN": "bhilqBHILQfdg",
    "MAX": "bhilqBHILQfdg",
    "LAND": "?bhilqBHILQ",
    "LOR": "?bhilqBHILQ",
    "LXOR": "?bhilqBHILQ",
    "BAND": "bhilqBHILQ",
    "BOR": "bhilqBHILQ",
    "BXOR": "bhilqBHILQ",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_on_every_datatype_gives_what_the_library_gives(name: str) -> None:
    op: MPI.Op = getattr(MPI, name)
    for code in OPERATIONS[name]:
        for count in (1, 13):
            values = np.random.default_rng((RANK, count)).integers(0, 3, count)
            mine = values.astype(code)
            ours, theirs = np.empty_like(mine), np.empty_like(mine)
            COMM.Allreduce(mine, ours, op=op, algorithm="circulant")
            WORLD.Allreduce(mine, theirs, op=op)
            np.testing.assert_array_equal(ours, theirs, f"{name} on {code}")
    assert not COMM.explain("allreduce").passed_on


@pytest.mark.parametrize("name", ["MINLOC", "MAXLOC"])
@pytest.mark.parametrize("code", ["f", "d", "i", "l", "h", "g"])
def test_locations_of_extremes_ties_included(name: str, code: str) -> None:
    pairs = {
        "f": "FLOAT_INT",
        "d": "DOUBLE_INT",
        "i": "TWOINT",
        "l": "LONG_INT",
        "h": "SHORT_INT",
        "g": "LONG_DOUBLE_INT",
    }
    datatype: MPI.Datatype = getattr(MPI, pairs[code])
    mine = np.zeros(11, np.dtype({"names": ["value", "index"], "formats": [code, "i"]}, align=True))
    mine["value"] = np.random.default_rng((3, RANK)).integers(0, 3, 11)
    mine["index"] = (RANK * 7 + 3) % (SIZE + 1)
    ours, theirs = np.zeros_like(mine), np.zeros_like(mine)
    COMM.Allreduce([mine, datatype], [ours, datatype], op=getattr(MPI, name), algorithm="recursive_doubling")
    WORLD.Allreduce([mine, datatype], [theirs, datatype], op=getattr(MPI, name))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
@every("allreduce")
def test_dtypes_that_mpi_lacks(dtype: object, algorithm: str | None) -> None:
    for op, ufunc in ((MPI.SUM, np.add), (MPI.PROD, np.multiply), (MPI.MAX, np.maximum), (MPI.MIN, np.minimum)):
        mine, recv = data(RANK, 29, dtype), np.empty(29, dtype)
        if op == MPI.PROD:
            mine[:] = 1 + mine % 2
        COMM.Allreduce(mine, recv, op=op, algorithm=algorithm)
        parts = [(1 + part % 2).astype(dtype) if op == MPI.PROD else part for part in everyone(29, dtype)]
        np.testing.assert_array_equal(recv, functools.reduce(ufunc, parts).astype(dtype))


def test_dtypes_that_mpi_lacks_are_moved_too() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        recv = np.empty((SIZE, 5), dtype)
        COMM.Allgather(data(RANK, 5, dtype), recv)
        np.testing.assert_array_equal(recv, np.array(everyone(5, dtype)))
        array = data(RANK, 5, dtype)
        COMM.Bcast(array, root=SIZE - 1)
        np.testing.assert_array_equal(array, data(SIZE - 1, 5, dtype))


# --- operations of one's own ----------------------------------------------------------------------------------------

MODULUS = 251


def _compose(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Elementwise composition of x -> a·x + b mod 251, packed as a·256 + b: associative and not commutative."""
    (a, b), (c, d) = divmod(left, 256), divmod(right, 256)
    return a * c % MODULUS * 256 + (a * d + b) % MODULUS


def _in_order(left: MPI.buffer, right: MPI.buffer, datatype: MPI.Datatype) -> None:
    mine, other = np.frombuffer(left, np.int64), np.frombuffer(right, np.int64)
    other[:] = _compose(mine, other)


@pytest.fixture
def composition() -> MPI.Op:
    op = MPI.Op.Create(_in_order, commute=False)
    yield op
    op.Free()


def maps(rank: int, count: int) -> np.ndarray:
    random = np.random.default_rng((9, rank, count))
    return random.integers(1, MODULUS, count) * 256 + random.integers(0, MODULUS, count)


def composed(count: int) -> np.ndarray:
    return functools.reduce(_compose, [maps(rank, count) for rank in range(SIZE)])


@every("allreduce")
def test_an_operation_that_does_not_commute_is_done_in_rank_order_or_refused(
    algorithm: str | None, composition: MPI.Op
) -> None:
    entry = None if algorithm is None else catalogue.parse(algorithm)
    for count in (0, 1, SIZE, 23):
        recv = np.zeros(count, np.int64)
        if entry is not None and not selection.allowed(entry, SIZE):
            with pytest.raises(ValueError, match="rank order"):
                COMM.Allreduce(maps(RANK, count), recv, op=composition, algorithm=algorithm)
            continue
        COMM.Allreduce(maps(RANK, count), recv, op=composition, algorithm=algorithm)
        np.testing.assert_array_equal(recv, composed(count))


@pytest.mark.parametrize("root", sorted({0, SIZE // 2, SIZE - 1}))
def test_reduce_and_reduce_scatter_keep_rank_order_too(root: int, composition: MPI.Op) -> None:
    recv = np.zeros(23, np.int64)
    COMM.Reduce(maps(RANK, 23), recv, op=composition, root=root)
    if root == RANK:
        np.testing.assert_array_equal(recv, composed(23))
    part = np.zeros(4, np.int64)
    COMM.Reduce_scatter_block(maps(RANK, 4 * SIZE), part, op=composition)
    np.testing.assert_array_equal(part, composed(4 * SIZE)[4 * RANK : 4 * RANK + 4])


def test_an_operation_made_anew_under_an_old_handle_is_not_mistaken_for_the_old_one() -> None:
    recv = np.zeros(3, np.int64)
    for power in (2, 3, 5):

        def scaled(left: MPI.buffer, right: MPI.buffer, datatype: MPI.Datatype, power: int = power) -> None:
            np.frombuffer(right, np.int64)[:] += np.frombuffer(left, np.int64) * 1 + 0 * power
            np.frombuffer(right, np.int64)[:] %= power

        op = MPI.Op.Create(scaled, commute=True)
        COMM.Allreduce(np.full(3, 1), recv, op=op)
        op.Free()
        assert recv.tolist() == [SIZE % power if SIZE > 1 else 1] * 3


def test_an_operation_on_a_derived_datatype_goes_to_mpi4py_and_is_told() -> None:
    datatype = MPI.INT64_T.Create_contiguous(2).Commit()

    def add(left: MPI.buffer, right: MPI.buffer, datatype: MPI.Datatype) -> None:
        np.frombuffer(right, np.int64)[:] += np.frombuffer(left, np.int64)

    op, comm = MPI.Op.Create(add, commute=True), Communicator(WORLD)
    recv = np.zeros(6, np.int64)
    comm.Allreduce([data(RANK, 6), datatype], [recv, datatype], op=op)
    np.testing.assert_array_equal(recv, summed(6))
    assert sum(comm.explain("allreduce").passed_on.values()) == 1
    op.Free()
    datatype.Free()


# --- all ranks get the same -----------------------------------------------------------------------------------------


@every("allreduce")
def test_floating_point_results_are_the_same_bits_at_every_rank(algorithm: str | None) -> None:
    mine = np.random.default_rng((5, RANK)).standard_normal(257).astype(np.float32) * 10.0 ** (RANK % 5)
    recv = np.empty_like(mine)
    COMM.Allreduce(mine, recv, algorithm=algorithm)
    assert len(set(WORLD.allgather(recv.tobytes()))) == 1


# --- datatypes that differ from rank to rank ------------------------------------------------------------------------


def test_a_column_at_the_root_becomes_a_vector_elsewhere() -> None:
    matrix = np.arange(12.0).reshape(4, 3)
    column = MPI.DOUBLE.Create_vector(4, 1, 3).Commit()
    vector = np.zeros(4)
    for root in range(SIZE):
        vector[:] = 0
        COMM.Bcast([matrix, 1, column] if root == RANK else vector, root=root)
        if root != RANK:
            assert vector.tolist() == [0, 3, 6, 9]
    column.Free()


def test_rows_are_gathered_into_columns() -> None:
    table = np.full((5, SIZE), -1.0)
    column = MPI.DOUBLE.Create_vector(5, 1, SIZE).Create_resized(0, 8).Commit()
    COMM.Allgather(np.arange(5.0) + 10 * RANK, [table, 1, column])
    np.testing.assert_array_equal(table, np.arange(5.0)[:, None] + 10 * np.arange(SIZE))
    table[:] = -1
    COMM.Allgatherv(np.arange(5.0) + 10 * RANK, [table, ([1] * SIZE, range(SIZE)), column])
    np.testing.assert_array_equal(table, np.arange(5.0)[:, None] + 10 * np.arange(SIZE))
    column.Free()
