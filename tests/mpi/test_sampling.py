"""The ranks' side of the benchmark: every sample is written, and no damaged result passes for a right one."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

from collectives import Communicator
from experiments import sampling, vectors
from experiments.errors import Failure
from experiments.grid import Case, Grid, Pace
from experiments.job import Job
from experiments.machine import oversubscribed
from kernels.cuda import presence
from kernels.cuda.device import using
from tests.ptx.device import Emulated

WORLD = MPI.COMM_WORLD
PACE = Pace(seed=3, launch=0, samples=4, time_limit=60.0, cell_limit=30.0)


@pytest.fixture(scope="module")
def job() -> Job:
    return Job.survey(WORLD)


def taken(job: Job, grid: Grid, pace: Pace = PACE) -> tuple[list[dict[str, Any]], list[str]]:
    """Lines and stories; nothing on ranks other than 0."""
    sink = sampling.Sink(io.StringIO(), io.StringIO()) if WORLD.rank == 0 else None
    sampling.take(job, grid, pace, sink)
    if sink is None:
        return [], []
    assert isinstance(sink.samples, io.StringIO)
    return [json.loads(line) for line in sink.samples.getvalue().splitlines()], sink.stories


def test_the_survey_is_right_for_one_machine(job: Job) -> None:
    assert (job.hosts, job.clock) == (1, "shared")
    # Open MPI binds each of two ranks to a core of its own, so one rank's mask does not tell.
    masks = WORLD.allgather(os.sched_getaffinity(0))
    assert job.oversubscribed == oversubscribed(WORLD.size, set().union(*masks))
    assert job.agreed_start == job.shared_clock
    assert 0 < job.timer_overhead < 1e-4
    assert job.describe()["ranks"] == WORLD.size


def test_no_rank_leaves_the_line_before_all_are_there(job: Job) -> None:
    late = WORLD.size - 1
    job.line_up()
    before = MPI.Wtime()
    if WORLD.rank == late:
        while MPI.Wtime() < before + 0.1:
            pass
    job.line_up()
    assert MPI.Wtime() - before >= 0.09


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "complex128"])
def test_right_results_pass(job: Job, dtype: str) -> None:
    grid = Grid.choose(["ring", "chain"], [16, 4096], [dtype], ["sum", "prod"], placements=[False, True])
    lines, stories = taken(job, grid)
    assert stories == []
    assert all(line["correct"] and line["wrong"] == 0 for line in lines)
    if WORLD.rank == 0:
        found = {(line["algorithm"], line["nbytes"], line["op"], line["in_place"]) for line in lines}
        assert len(found) == len(grid.cases(WORLD.size))
        assert sum(not line["warmup"] for line in lines) >= len(found) * Pace.VISITS * Pace.LEAST


def test_when_time_is_over_every_cell_still_gets_its_least(job: Job) -> None:
    lines, _ = taken(job, Grid.choose(["ring"], [8, 64], ["float32"], ["sum"]), replace(PACE, time_limit=0.0))
    if WORLD.rank == 0:
        kept = [(line["algorithm"], line["nbytes"]) for line in lines if not line["warmup"]]
        assert Counter(kept) == {(name, size): Pace.LEAST for name in ("ring", "native") for size in (8, 64)}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_slow_cell_has_no_warm_up_and_every_call_is_checked(
    job: Job, monkeypatch: pytest.MonkeyPatch, in_place: bool
) -> None:
    calls = [0]

    def spoil(comm: Communicator, result: np.ndarray) -> None:
        calls[0] += 1
        if calls[0] == 2:  # in the second of three samples
            _add_one(comm, result)

    monkeypatch.setattr(Communicator, "Allreduce", _damaged(spoil))
    sink = sampling.Sink(io.StringIO()) if WORLD.rank == 0 else None
    sampler = sampling.Sampler(job, 5, 400, first=9)
    sampler.visit_slow(Case("ring", 400, "float32", "sum", in_place), 3, sink)
    assert calls[0] == 3
    if sink is not None:
        assert isinstance(sink.samples, io.StringIO)
        lines = [json.loads(line) for line in sink.samples.getvalue().splitlines()]
        assert [(line["launch"], line["visit"], line["sample"], line["warmup"]) for line in lines] == [
            (5, 9, number, False) for number in range(3)
        ]
        assert {line["wrong"] for line in lines} == {1}
        assert len(sink.stories) == 1


def test_cpu_time_is_that_of_the_call(job: Job) -> None:
    lines, _ = taken(job, Grid.choose(["ring"], [1 << 20], ["float32"], ["sum"]))
    for line in lines:
        assert len(line["cpu_ns"]) == WORLD.size
        assert all(cpu >= 0 for cpu in line["cpu_ns"])
    if WORLD.rank == 0:
        # Adding a megabyte takes a processor; one rank copies it.
        assert sum(sum(line["cpu_ns"]) for line in lines) > 0


@pytest.mark.parametrize("op", ["sum", "band", "lxor", "max"])
def test_every_operation_passes_its_check(job: Job, op: str) -> None:
    lines, stories = taken(job, Grid.choose(["recursive_doubling"], [400], ["int32"], [op]))
    assert stories == []
    assert all(line["correct"] for line in lines)


def _damaged(damage: Callable[[Communicator, np.ndarray], object]) -> Callable[..., None]:
    whole = Communicator.Allreduce

    def allreduce(self: Communicator, sendbuf: Any, recvbuf: Any, op: MPI.Op, **more: Any) -> None:
        whole(self, sendbuf, recvbuf, op, **more)
        damage(self, recvbuf)

    return allreduce


def _add_one(comm: Communicator, result: np.ndarray) -> None:
    if comm.rank == comm.size - 1:
        result[7] += 1


def test_a_wrong_element_on_one_rank_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Communicator, "Allreduce", _damaged(_add_one))
    lines, stories = taken(job, Grid.choose(["ring"], [400], ["float32"], ["sum"]))
    if WORLD.rank == 0:
        assert len(stories) == 2 * Pace.VISITS  # before and after the samples of each visit
        assert all("ring at 400B, float32 sum" in story for story in stories)
        assert all(f"on rank {WORLD.size - 1} 1 elements are wrong, the first at index 7" in story for story in stories)
        assert {line["correct"] for line in lines if line["algorithm"] == "ring"} == {False}
        assert {line["correct"] for line in lines if line["algorithm"] == "native"} == {True}


@pytest.mark.skipif(WORLD.size == 1, reason="one rank cannot leave anything undone that shows")
def test_doing_nothing_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Communicator, "Allreduce", lambda *_, **__: None)
    for in_place in (False, True):
        grid = Grid.choose(["ring"], [4096], ["float32"], ["sum"], placements=[in_place])
        _, stories = taken(job, grid)
        assert bool(stories) == (WORLD.rank == 0)


def test_a_call_that_raises_names_rank_and_cell(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no route")

    monkeypatch.setattr(Communicator, "Allreduce", broken)
    where = rf"^rank {WORLD.rank} of {WORLD.size}, measuring ring at 8B, float32 sum: RuntimeError: no route$"
    with pytest.raises(Failure, match=where):
        # Only our own algorithm, so that all ranks fail at once and none waits for another.
        sampling.take(job, Grid(("ring",), (8,)), PACE, None)


@pytest.mark.skipif(WORLD.size > 2, reason="interpreted kernels take their time")
@pytest.mark.parametrize("direct", [True, False])
def test_vectors_on_a_device_are_measured_and_checked_like_others(
    job: Job, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRANDA_CUDA_AWARE", "yes" if direct else "no")
    comm = WORLD.Dup()
    with using(Emulated(delayed=True, watched=False)):
        place = vectors.of("cuda", comm)
        assert place.describe()["executor"] == ("direct" if direct else "staged")
        sink = sampling.Sink(io.StringIO()) if WORLD.rank == 0 else None
        grid = Grid(("ring", "native"), (64,), placements=(False, True))
        sampling.take(replace(job, comm=comm), grid, replace(PACE, samples=2, time_limit=1.0), sink, place)
        if sink is not None:
            lines = [json.loads(line) for line in sink.samples.getvalue().splitlines()]
            assert Counter(line["algorithm"] for line in lines if not line["warmup"]).keys() == {"ring", "native"}
            assert all(line["correct"] for line in lines)
            assert not sink.stories


@pytest.mark.skipif(WORLD.size > 2, reason="interpreted kernels take their time")
def test_a_wrong_result_on_a_device_is_told(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRANDA_CUDA_AWARE", "no")
    monkeypatch.setattr(Communicator, "Allreduce", lambda *arguments, **options: None)
    with using(Emulated(delayed=True, watched=False)):
        sampler = sampling.Sampler(job, 0, 64, place=vectors.of("cuda", WORLD))
        sink = sampling.Sink(io.StringIO()) if WORLD.rank == 0 else None
        sampler.visit(Case("ring", 64, "float32", "sum", False), 1, lambda warm: 1, sink)
        assert sink is None or "elements are wrong" in sink.stories[0]


def test_ranks_without_a_card_fail_together() -> None:
    if not presence.count():
        with pytest.raises(Failure, match="not every rank has a CUDA device"):
            vectors.of("cuda", WORLD)
