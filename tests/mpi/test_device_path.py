"""Executors for device memory over real MPI: the host path's bits, in whatever pieces, and never a moment too soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import catalogue
from collectives.executors import virtual
from collectives.executors.direct import Direct
from collectives.executors.faults import CollectiveError, CollectiveMismatch, CollectiveTimeout
from collectives.executors.interpreted import Interpreted
from collectives.executors.on_device import OnDevice
from collectives.executors.plan import Plan, lower
from collectives.executors.staged import Staged
from collectives.schedule import extents
from kernels import reduce
from tests.lazy_device import Lazy, got, on_stream, put

SIZE, RANK = MPI.COMM_WORLD.size, MPI.COMM_WORLD.rank
NAMES = [name for name in catalogue.names("allreduce") if catalogue.get(name).supports(SIZE)]
STREAM = 7
SEVERAL = pytest.mark.skipif(SIZE == 1, reason="one rank sends nothing")
pytestmark = pytest.mark.skipif(SIZE > 5, reason="sizes 1 to 5 have every shape, and more ranks than cores take long")
WAYS: dict[str, Any] = {"direct": Direct, "staged": Staged, "staged in pieces": lambda host: Staged(host, piece=48)}
if SIZE > 3:  # whole messages are pieces too, and time is short
    del WAYS["staged"]


@pytest.fixture(params=WAYS)
def executor(request: pytest.FixtureRequest) -> Iterator[OnDevice[Any]]:
    host = Interpreted(MPI.COMM_WORLD.Dup(), timeout=30)
    made = WAYS[request.param](host)
    yield made
    made.free()
    host.free()
    if not host.spoilt:
        host.comm.Free()


def planned(name: str, count: int) -> Plan:
    algorithm = catalogue.get(name)
    cuts = extents(count, algorithm.chunks(SIZE))
    return lower(algorithm, RANK, SIZE, lambda chunk: (0, *cuts[chunk]))


def inputs(count: int, dtype: str) -> list[np.ndarray]:
    source = np.random.default_rng(count)
    return [(source.standard_normal(count) * 100).astype(dtype) for _ in range(SIZE)]


def run(executor: OnDevice[Any], device: Lazy, name: str, count: int, *, dtype: str = "f4", op: str = "sum") -> bool:
    """Whether an allreduce on the device gives the bits of the virtual executor."""
    brought = inputs(count, dtype)
    array = put(device, brought[RANK], STREAM)
    executor.run(planned(name, count), [array], on_stream(reduce.get(op)))
    return got(array).tobytes() == virtual.run(catalogue.get(name), brought, op)[RANK].tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_bits_of_the_host_path(name: str, executor: OnDevice[Any]) -> None:
    device = Lazy()
    cases = [(31, "f4", "prod"), (0, "f4", "sum"), (1, "i8", "max"), (211, "f8", "sum")]
    for count, dtype, op in cases[: 1 if SIZE > 3 else None]:
        assert run(executor, device, name, count, dtype=dtype, op=op), (count, dtype, op)


def test_a_second_call_ties_nothing_and_finds_its_memory_anew(executor: OnDevice[Any]) -> None:
    device, plan = Lazy(), planned("ring", 50)
    array = put(device, np.full(50, RANK, "i4"), STREAM)
    for turn in range(3):
        executor.run(plan, [array], on_stream(reduce.get("max")))
        if turn == 0:
            executor._tie = None  # type: ignore[method-assign]
    assert (got(array) == SIZE - 1).all()


def test_calls_on_two_streams_share_scratch_memory_in_turn(executor: OnDevice[Any]) -> None:
    """The first call's folds are still queued, and read scratch memory, when the second call begins."""
    device = Lazy()
    arrays = [put(device, np.full(40, 10.0 * stream + RANK), stream) for stream in (7, 8, 9)]
    for array in arrays:
        executor.run(planned("recursive_doubling", 40), [array], on_stream(np.add))
    for array, stream in zip(reversed(arrays), (9, 8, 7), strict=True):
        assert (got(array) == 10.0 * stream * SIZE + SIZE * (SIZE - 1) / 2).all()


def test_scratch_memory_that_grows_or_moves_to_another_device_is_done_with_before(executor: OnDevice[Any]) -> None:
    one, other = Lazy(), Lazy()
    arrays = [
        put(device, np.full(count, stream + RANK), stream)
        for device, count, stream in ((one, 10, 7), (one, 90, 8), (other, 20, 7), (one, 30, 9))
    ]
    for array in arrays:
        executor.run(planned("recursive_doubling", array.size), [array], on_stream(np.add))
    for array in arrays:
        assert (got(array) == SIZE * array.stream + SIZE * (SIZE - 1) // 2).all()


def test_what_the_caller_has_queued_is_done_before_anything_leaves(executor: OnDevice[Any]) -> None:
    device = Lazy()
    array = put(device, np.zeros(30), STREAM)
    ones = put(device, np.ones(30), STREAM)
    device.copy(array, ones, STREAM)
    executor.run(planned("ring", 30), [array], on_stream(np.add))
    device.copy(ones, array, STREAM)  # and what comes after, after
    assert (got(ones) == SIZE).all()


# --- mutations: what is left out must be noticed ----------------------------------------------------------------------


class Deaf(Lazy):
    """Forgets to wait: for a stream, where it is asked to before a message, or between two streams."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self._way = way
        self._listening = False

    def synchronize(self, stream: int) -> None:
        if self._way != "synchronize" or self._listening:
            super().synchronize(stream)

    def wait(self, stream: int, event: Any) -> None:
        if self._way != "wait":
            super().wait(stream, event)

    def listen(self) -> None:
        self._listening = True


@SEVERAL
@pytest.mark.parametrize(("way", "removed"), [("direct", "synchronize"), ("staged in pieces", "wait")])
def test_a_wait_that_is_removed_gives_another_result(way: str, removed: str) -> None:
    host = Interpreted(MPI.COMM_WORLD.Dup(), timeout=30)
    device, executor = Deaf(removed), WAYS[way](host)
    brought = inputs(60, "f4")
    array = put(device, np.zeros(60, "f4"), STREAM)
    device.copy(array, put(device, brought[RANK], STREAM), STREAM)
    executor.run(planned("recursive_doubling", 60), [array], on_stream(np.add))
    device.listen()
    right = got(array).tobytes() == virtual.run(catalogue.get("recursive_doubling"), brought, "sum")[RANK].tobytes()
    assert not MPI.COMM_WORLD.allreduce(right, MPI.LAND)
    executor.free()
    host.free()
    host.comm.Free()


@SEVERAL
def test_record_then_synchronise_then_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """With addresses that MPI takes: nothing starts while the stream has work queued."""
    device, host = Lazy(), Interpreted(MPI.COMM_WORLD.Dup())
    exchange = host.exchange

    def noted(*arguments: Any) -> None:
        device.log.append("messages")
        exchange(*arguments)

    monkeypatch.setattr(host, "exchange", noted)
    array = put(device, np.ones(8 * SIZE), STREAM)
    Direct(host).run(planned("ring", 8 * SIZE), [array], on_stream(np.add))
    queued = f"on {STREAM}"
    for index, entry in enumerate(device.log):
        if entry == "messages":
            before = [one for one in device.log[:index] if one.endswith(queued) or one == f"synchronize {STREAM}"]
            assert before[-1] == f"synchronize {STREAM}"
    rounds = planned("ring", 8 * SIZE).steps
    assert device.log.count("messages") == len(rounds)
    # rounds that only pass on what has arrived queue nothing, so nothing is waited for
    assert device.log.count(f"synchronize {STREAM}") == 1 + sum(
        any(receive.stage is not None for receive in step.receives) for step in rounds[:-1]
    )
    assert device.log[-1] == f"record {STREAM}"


# --- faults -----------------------------------------------------------------------------------------------------------


@SEVERAL
def test_a_rank_that_does_not_come_is_named(executor: OnDevice[Any]) -> None:
    executor._host.timeout = 0.3
    device = Lazy()
    array = put(device, np.ones(40), STREAM)
    if RANK != 0:
        with pytest.raises(CollectiveTimeout) as caught:
            executor.run(planned("ring", 40), [array], on_stream(np.add))
        assert (caught.value.rank, caught.value.algorithm) == (RANK, "ring")
        assert f"from rank {(RANK - 1) % SIZE}" in "".join(caught.value.pending)
        with pytest.raises(CollectiveError, match="spent"):
            executor._host.run(planned("ring", 40), [np.ones(40)], np.add)
    MPI.COMM_WORLD.Barrier()
    time.sleep(0.05)


@SEVERAL
def test_a_small_message_of_another_size_is_a_mismatch(executor: OnDevice[Any]) -> None:
    device, root = Lazy(), catalogue.get("broadcast_linear")
    count = 8 if RANK == 0 else 4
    plan = lower(root, RANK, SIZE, lambda chunk: (0, 0, count))
    array = put(device, np.ones(8), STREAM)
    if RANK == 0:
        executor.run(plan, [array])
    else:
        with pytest.raises(CollectiveMismatch, match="another size"):
            executor.run(plan, [array])
    MPI.COMM_WORLD.Barrier()


def test_unsuitable_buffers_are_named(executor: OnDevice[Any]) -> None:
    device, plan = Lazy(), planned("ring", 10)
    good = put(device, np.ones(10), STREAM)
    with pytest.raises(ValueError, match="works on 1 buffers, got 0"):
        executor.run(plan, [], np.add)
    with pytest.raises(ValueError, match="one device, stream and dtype"):
        executor.run(plan, [good, good.on(8)], np.add)
    if plan.lengths:
        with pytest.raises(ValueError, match="needs 10 elements in buffer 0, got 9"):
            executor.run(plan, [good[:9]], np.add)
