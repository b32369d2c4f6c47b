"""The interpreted executor over real MPI: the bits of the virtual one, and nothing built twice."""

from __future__ import annotations

import time
import tracemalloc
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from mpi4py import MPI

from collectives import catalogue
from collectives.contract import CONTRACTS, special
from collectives.executors import interpreted, virtual, wire
from collectives.executors.faults import CollectiveError
from collectives.executors.interpreted import Interpreted
from collectives.executors.plan import Plan, Span, lower, touched
from collectives.schedule import extents
from kernels import reduce

Array = np.ndarray[Any, np.dtype[Any]]
SIZE, RANK = MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank
NAMES = [name for name in catalogue.names() if catalogue.get(name).supports(SIZE)]
PAIR = np.dtype([("value", np.float64), ("index", np.int32)], align=True)
OPERANDS = [
    ("sum", "f8"), ("sum", "e"), ("prod", "F"), ("max", ml_dtypes.bfloat16), ("min", "i1"), ("land", "?"),
    ("bxor", "u2"), ("minloc", PAIR), ("sum", ">i4"), ("prod", "g"), ("sum", "D"), ("sum", "u8"), ("maxloc", PAIR),
]  # fmt: skip


@pytest.fixture(scope="module")
def executor() -> Iterator[Interpreted]:
    comm = MPI.COMM_WORLD.Dup()
    executor = Interpreted(comm)
    yield executor
    executor.free()
    comm.Free()


def variants(name: str) -> list[catalogue.Algorithm]:
    values = {"root": {0, SIZE - 1}, "segments": {1, 3}, "servers": {1, SIZE // 2, SIZE}, "local": {1, 2, SIZE}}
    plain = catalogue.get(name)
    changed = [catalogue.get(name, **{key: value}) for key in plain.parameters for value in sorted(values[key])]
    return [algorithm for algorithm in (plain, *changed) if algorithm.supports(SIZE)]


def inputs(count: int, dtype: Any) -> list[Array]:
    """What every rank brings, the same on all ranks."""
    source = np.random.default_rng(count)
    arrays = [np.empty(count, dtype) for _ in range(SIZE)]
    for array in arrays:
        for column in [array[name] for name in array.dtype.names] if array.dtype.names else [array]:
            column[:] = (source.standard_normal(count) * 10.0 ** source.integers(-2, 2, count)).astype(column.dtype)
    return arrays


class Call:
    """One rank's side of a collective: its chunks laid out over ``spread`` buffers, a plan, and the result."""

    def __init__(self, algorithm: catalogue.Algorithm, brought: Sequence[Array], spread: int = 1) -> None:
        contract, chunks = CONTRACTS[algorithm.collective], algorithm.chunks(SIZE)
        part = special(algorithm.collective, SIZE, algorithm.parameters)
        cuts: dict[int, tuple[int, int, int]] = {}
        for rank in reversed(range(SIZE)):
            own = list(contract.brings(rank, SIZE, chunks, part))
            spans = extents(brought[rank].size, len(own))
            cuts |= {chunk: (rank, *span) for chunk, span in zip(own, spans, strict=True)}
        brings = set(contract.brings(RANK, SIZE, chunks, part))
        self.gets = list(contract.gets(RANK, SIZE, chunks, part))
        self.places: dict[int, Span] = {}
        ends = [0] * spread
        for chunk in sorted(brings | set(self.gets) | set(touched(algorithm, RANK, SIZE))):
            _, lo, hi = cuts[chunk]
            buffer = chunk % spread
            self.places[chunk] = buffer, ends[buffer], ends[buffer] + hi - lo
            ends[buffer] += hi - lo
        self.dtype = brought[0].dtype
        self.buffers = [np.zeros(end, self.dtype) for end in ends]
        for chunk in brings:
            _, lo, hi = cuts[chunk]
            self.at(chunk)[:] = brought[RANK][lo:hi]
        self.plan = lower(algorithm, RANK, SIZE, self.places.__getitem__)

    def at(self, chunk: int) -> Array:
        buffer, lo, hi = self.places[chunk]
        return self.buffers[buffer][lo:hi]

    def result(self) -> Array:
        return np.concatenate([np.empty(0, self.dtype), *map(self.at, self.gets)], dtype=self.dtype)


def same(one: Array, other: Array) -> bool:
    """Whether all bits are the same, but for those that only pad (in pairs, and in the 80 bits of a long double)."""
    if one.dtype.names:
        return all(same(one[name], other[name]) for name in one.dtype.names)
    if one.dtype.char == "g":
        return np.array_equal(one, other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def agrees(
    executor: Interpreted, algorithm: catalogue.Algorithm, op: str, brought: Sequence[Array], spread: int = 1
) -> None:
    call = Call(algorithm, brought, spread)
    executor.run(call.plan, call.buffers, reduce.get(op))
    wanted = virtual.run(algorithm, brought, op)[RANK]
    assert same(call.result(), wanted), f"{algorithm.label} {op} {brought[0].dtype} {brought[0].size}"


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_as_the_virtual_executor(name: str, executor: Interpreted) -> None:
    counts = [0, 1, SIZE - 1, SIZE, SIZE + 1, 31, 211]
    for turn, algorithm in enumerate(variants(name)):
        for index, count in enumerate(counts if turn == 0 else counts[2::2]):
            op, dtype = OPERANDS[(index + turn * len(counts)) % len(OPERANDS)]
            agrees(executor, algorithm, op, inputs(count, dtype))


@pytest.mark.parametrize(("op", "dtype"), OPERANDS, ids=str)
def test_every_operation_and_dtype(op: str, dtype: Any, executor: Interpreted) -> None:
    for name in ("halving_doubling", "double_tree", "circulant"):
        agrees(executor, catalogue.get(name), op, inputs(97, dtype))


@pytest.mark.parametrize("name", NAMES)
def test_large_messages_and_chunks_in_several_buffers(name: str, executor: Interpreted) -> None:
    agrees(executor, catalogue.get(name), "sum", inputs(30_011, "f8"))
    agrees(executor, catalogue.get(name), "sum", inputs(3_011, "f4"), spread=3)


@pytest.mark.parametrize("name", ["ring", "linear", "circulant", "alltoall_bruck"])
def test_messages_of_several_blocks(name: str, executor: Interpreted, monkeypatch: pytest.MonkeyPatch) -> None:
    """What messages beyond a C int go through, with blocks of 1 KiB and 7 bytes in the place of 1 GiB."""
    for block in (1024, 7):
        monkeypatch.setattr(wire, "LARGEST_BLOCK", block)
        agrees(executor, catalogue.get(name), "sum", inputs(1_000, "f8"))


def ring(count: int, dtype: Any = "f8") -> tuple[Plan, Array]:
    call = Call(catalogue.get("ring"), inputs(count, dtype))
    return call.plan, call.buffers[0]


def test_a_second_call_builds_and_allocates_nothing(executor: Interpreted, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, buffer = ring(20_000 * SIZE)
    executor.run(plan, [buffer], reduce.get("sum"))
    monkeypatch.setattr(interpreted, "Wire", None)
    tracemalloc.start()
    try:
        executor.run(plan, [buffer[:]], reduce.get("sum"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000, f"{peak} bytes, with messages of {20_000 * 8}"


@pytest.mark.parametrize("name", [name for name in catalogue.names("allreduce") if not catalogue.get(name).commutative])
def test_an_operation_that_does_not_commute_keeps_rank_order(name: str, executor: Interpreted) -> None:
    algorithm = catalogue.get(name)

    def compose(left: Array, right: Array, out: Array) -> None:
        """Of pairs (a, b), which mean x -> a·x + b."""
        (a, b), (c, d) = left.reshape(-1, 2).T, right.reshape(-1, 2).T
        out[:] = np.stack([a * c, a * d + b], axis=1).ravel()

    pairs = algorithm.chunks(SIZE)  # so that each chunk is one whole pair
    maps = [np.tile(np.array([2 + rank, 3 - rank]), pairs) for rank in range(SIZE)]
    expected = maps[0].copy()
    for one in maps[1:]:
        compose(expected, one, expected)
    call = Call(algorithm, maps)
    executor.run(call.plan, call.buffers, compose)
    np.testing.assert_array_equal(call.result(), expected)


@pytest.mark.skipif(SIZE == 1, reason="one rank needs no scratch")
def test_when_scratch_moves_what_points_into_it_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Interpreted(MPI.COMM_WORLD.Dup())
    made: list[Plan] = []

    class Counted(wire.Wire):
        def __init__(self, comm: MPI.Intracomm, plan: Plan, *rest: Any) -> None:
            made.append(plan)
            super().__init__(comm, plan, *rest)

    monkeypatch.setattr(interpreted, "Wire", Counted)
    small, large = ring(10 * SIZE), ring(1_000 * SIZE)
    for plan, buffer in (small, small, large, small, large, small):
        executor.run(plan, [buffer], reduce.get("max"))
    assert made == [small[0], large[0], small[0]]
    executor.free()
    executor.comm.Free()


def test_scratch_is_shared_by_all_plans_and_grows(executor: Interpreted) -> None:
    plans = [ring(count) for count in (10, 1_000, 100, 5_000, 10)]
    for plan, buffer in plans + plans:
        before = buffer.copy()
        executor.run(plan, [buffer], reduce.get("max"))
        assert (buffer >= before).all()


def test_more_memory_than_it_remembers(executor: Interpreted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreted, "WIRES", 2)
    plans = [ring(count) for count in range(1, 7)]
    for _ in range(2):
        for plan, buffer in plans:
            buffer[:] = RANK
            executor.run(plan, [buffer], reduce.get("sum"))
            assert (buffer == SIZE * (SIZE - 1) / 2).all()


def test_it_keeps_no_array_of_its_user_alive(executor: Interpreted) -> None:
    plan, buffer = ring(100)
    executor.run(plan, [buffer], reduce.get("sum"))
    seen = weakref.ref(buffer)
    del buffer
    assert seen() is None


def test_one_plan_serves_every_dtype_and_address(executor: Interpreted) -> None:
    plan, _ = ring(50)
    for dtype in ("f4", "i8", "f4", "i2"):
        for _ in range(3):
            buffer = np.full(50, RANK + 1, dtype)
            executor.run(plan, [buffer], reduce.get("sum"))
            assert (buffer == SIZE * (SIZE + 1) // 2).all()


def test_calls_in_quick_succession_do_not_mix(executor: Interpreted) -> None:
    calls = [Call(catalogue.get(name), inputs(37, "i8")) for name in NAMES]
    for _ in range(3):
        for call, name in zip(calls, NAMES, strict=True):
            fresh = Call(catalogue.get(name), inputs(37, "i8"))
            for old, new in zip(call.buffers, fresh.buffers, strict=True):
                old[:] = new
            executor.run(call.plan, call.buffers, np.add)
    for call, name in zip(calls, NAMES, strict=True):
        assert same(call.result(), virtual.run(catalogue.get(name), inputs(37, "i8"))[RANK]), name


def test_nobody_leaves_a_barrier_before_the_last_has_come(executor: Interpreted) -> None:
    plan = lower(catalogue.get("barrier_dissemination"), RANK, SIZE, lambda chunk: (0, 0, 0))
    MPI.COMM_WORLD.Barrier()
    time.sleep(0.1 if RANK == SIZE - 1 else 0)
    came = time.monotonic()
    executor.run(plan, ())
    left = time.monotonic()
    assert left >= max(MPI.COMM_WORLD.allgather(came))


def test_a_timed_wait_gives_the_same_result_when_all_come(executor: Interpreted) -> None:
    executor.timeout = 30.0
    try:
        MPI.COMM_WORLD.Barrier()
        time.sleep(0.05 * RANK)
        for name in ("ring", "double_tree", "recursive_doubling"):
            agrees(executor, catalogue.get(name), "sum", inputs(5_000, "f8"))
    finally:
        executor.timeout = None


def test_overflow_is_silent_as_in_mpi(executor: Interpreted) -> None:
    plan, buffer = ring(SIZE, "f4")
    buffer[:] = 3e38
    executor.run(plan, [buffer], reduce.get("prod"))
    assert SIZE == 1 or np.isinf(buffer).all()


@pytest.mark.parametrize(
    ("buffers", "complaint"),
    [
        ([], "works on 1 buffers, got 0"),
        ([np.zeros(9)], "needs 10 elements in buffer 0, got 9"),
        ([np.zeros((2, 5))], "1-D contiguous buffers; buffer 0 is not"),
        ([np.zeros(20)[::2]], "1-D contiguous buffers; buffer 0 is not"),
        ([np.zeros(10), np.zeros(10, "f4")], "buffers of one dtype"),
        ([np.zeros(10, object)], "buffers of one dtype without objects"),
        ([np.array(1.0)], "1-D contiguous buffers; buffer 0 is not"),
        ([np.broadcast_to(np.zeros(10), (10,))], "receives into buffer 0, which is read-only"),
    ],
)
@pytest.mark.skipif(SIZE == 1, reason="one rank sends nothing, and so any buffer does")
def test_unsuitable_buffers_are_named(buffers: list[Array], complaint: str, executor: Interpreted) -> None:
    plan = lower(catalogue.get("ring"), RANK, SIZE, lambda chunk: (0, 0, 10))
    with pytest.raises(ValueError, match=complaint):
        executor.run(plan, buffers, np.add)


@pytest.mark.skipif(SIZE == 1, reason="one rank sends nothing, and so any buffer does")
def test_a_shorter_view_of_known_memory_is_not_taken_for_the_whole(executor: Interpreted) -> None:
    plan, buffer = ring(100 * SIZE)
    executor.run(plan, [buffer], reduce.get("sum"))
    with pytest.raises(ValueError, match="elements in buffer 0, got 50"):
        executor.run(plan, [buffer[:50]], reduce.get("sum"))


def test_a_plan_that_reduces_needs_an_operation(executor: Interpreted) -> None:
    plan, buffer = ring(10)
    if plan.folds:
        with pytest.raises(ValueError, match=f"ring on rank {RANK} reduces"):
            executor.run(plan, [buffer])


def test_after_a_failed_operation_the_communicator_is_spent() -> None:
    executor = Interpreted(MPI.COMM_WORLD.Dup())
    plan, buffer = ring(10)

    def fails(left: Array, right: Array, out: Array) -> None:
        raise ZeroDivisionError("in the operation")

    if not plan.folds:
        return
    with pytest.raises(ZeroDivisionError, match="in the operation"):
        executor.run(plan, [buffer], fails)
    with pytest.raises(CollectiveError, match=r"spent, because an earlier call on it failed \(in the operation\)"):
        executor.run(plan, [buffer], np.add)


@pytest.mark.parametrize("count", [0, 1, SIZE, 100_003])
@pytest.mark.parametrize("name", ["ring", "recursive_doubling", "circulant", "linear"])
def test_polite_ranks_get_the_same_bits(monkeypatch: pytest.MonkeyPatch, name: str, count: int) -> None:
    monkeypatch.setenv("CIRANDA_WAITING", "nap")
    comm = MPI.COMM_WORLD.Dup()
    algorithm = catalogue.get(name)
    cuts = extents(count, algorithm.chunks(SIZE))
    plan = lower(algorithm, RANK, SIZE, lambda chunk: (0, *cuts[chunk]))
    mine = np.arange(count, dtype=np.int64) * (RANK + 1)
    polite = Interpreted(comm)
    for _ in range(2):
        mine[:] = np.arange(count) * (RANK + 1)
        polite.run(plan, (mine,), reduce.get("sum"))
    assert (mine == np.arange(count) * (SIZE * (SIZE + 1) // 2)).all()
    polite.free()
    comm.Free()


def test_large_sends_start_before_receives_and_small_ones_after(executor: Interpreted) -> None:
    if SIZE < 2:
        pytest.skip("one rank sends nothing")
    algorithm = catalogue.get("recursive_doubling")
    for count, first in ((wire.LARGE + 1, "send"), (wire.LARGE, "receive")):
        plan = lower(algorithm, RANK, SIZE, lambda chunk, count=count: (0, 0, count))
        tied = wire.Wire(executor.comm, plan, (np.zeros(count, np.uint8),), np.zeros(plan.scratch, np.uint8))
        for step in tied.steps:
            receives = len(step.arrivals)
            assert sorted(map(id, step.starts)) == sorted(map(id, step.requests))
            if receives and len(step.requests) > receives:
                expected = step.requests[receives] if first == "send" else step.requests[0]
                assert step.starts[0] is expected
        tied.free()
