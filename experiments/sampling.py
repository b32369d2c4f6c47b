"""The rank's side of the benchmark: visit every cell, check its result, take samples, write them all down.

One sample is one call between two looks at the clock, after all ranks have lined up (``Job.line_up``). Nothing is
averaged over repeated calls, at no size: a small size carries the clock's own cost (``Job.timer_overhead``, which the
results state). Python's garbage collector is off while samples are taken.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TextIO

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives import Communicator
from experiments import contestants, payload, vectors
from experiments.errors import Failure
from experiments.grid import Case, Grid, Pace
from experiments.job import Job
from experiments.payload import Mistake
from experiments.records import NATIVE
from experiments.vectors import Vectors

__all__ = ["Count", "Sampler", "Samples", "Sink", "take"]

Vector = Any
"""A NumPy array or a DeviceArray."""

Times = NDArray[np.int64]
Samples = tuple[Times, Times, Times]
"""When a rank entered and left each call, in ns of its clock, and the ns of CPU time that it spent in it."""

Count = Callable[[Samples], int]
"""How many samples to take, by what the warm-up took; the same on all ranks."""

_SMALL = 1 << 16  # bytes below which a call is short enough for more warm-up
_WARMUPS = {True: 8, False: 2}
_STORY = np.dtype([("wrong", np.int64), ("index", np.int64), ("got", "S40"), ("wanted", "S40")])


@dataclass
class Sink:
    """Where rank 0 writes: ``samples`` gets a JSON line a sample, ``progress`` a line a visit.

    Both are flushed at every visit, so that a launch that dies leaves what it had.
    """

    samples: TextIO
    progress: TextIO | None = None
    stories: list[str] = field(default_factory=list[str])

    def announce(self, done: int, total: int, case: Case) -> None:
        """Say which cell comes now."""
        if self.progress is not None:
            self.progress.write(json.dumps({"done": done, "total": total, "case": str(case)}) + "\n")
            self.progress.flush()

    def write(self, lines: Iterator[dict[str, Any]]) -> None:
        """Append samples."""
        for line in lines:
            self.samples.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.samples.flush()


def take(job: Job, grid: Grid, pace: Pace, sink: Sink | None, place: Vectors = vectors.HOST) -> None:
    """Take the samples of one launch; collective over ``job.comm``. ``sink`` is rank 0's, None elsewhere.

    ``place``: where the vectors lie.

    A wrong result does not end it: it is written beside its samples, and told in ``sink.stories``. Raises Failure
    naming rank and cell when a call raises. A rank that waits in one cell for longer than ``pace.cell_limit`` writes
    where it is to stderr and ends with exit code 1.
    """
    sampler, started = Sampler(job, pace.launch, max(grid.sizes), place=place), time.perf_counter()
    ranks = job.comm.size
    visits = [
        (number, case) for number in range(pace.VISITS) for case in grid.order(ranks, pace.seed, pace.launch, number)
    ]
    try:
        for done, (number, case) in enumerate(visits):
            if number > 0 and sampler.agreed(time.perf_counter() - started > pace.time_limit):
                return
            if sink is not None:
                sink.announce(done, len(visits), case)
            faulthandler.dump_traceback_later(pace.cell_limit, exit=True)
            count = _share(sampler, pace, started, len(visits) - done)
            try:
                sampler.visit(case, _WARMUPS[case.nbytes < _SMALL], count, sink)
            except Exception as fault:
                what = f"{type(fault).__name__}: {fault}"
                raise Failure(f"rank {job.comm.rank} of {ranks}, measuring {case}: {what}") from fault
    finally:
        faulthandler.cancel_dump_traceback_later()


def _share(sampler: Sampler, pace: Pace, started: float, left: int) -> Count:
    """As many samples as this visit's share of the time allows, where ``left`` visits share what is left of it."""
    visit_started = time.perf_counter()

    def count(warm: Samples) -> int:
        now = time.perf_counter()
        share = (pace.time_limit - (visit_started - started)) / left - (now - visit_started)
        # From one entry to the next, so that the barrier's time counts too; the first calls are slower than the rest.
        each = float(np.median(np.diff(warm[0]))) * 1e-9
        return sampler.agreed(int(np.clip(share / max(each, 1e-9), pace.LEAST, pace.most)))

    return count


class Sampler:
    """Takes the samples of one launch over ``job.comm``, and holds what visits share: buffers, communicator, clock.

    ``largest``: bytes of the longest vector. ``first``: the number of the first visit. ``place``: where vectors lie.
    """

    def __init__(self, job: Job, launch: int, largest: int, first: int = 0, place: Vectors = vectors.HOST) -> None:
        self.job, self.launch, self.largest, self.place = job, launch, largest, place
        self.comm = job.comm
        self.ours = Communicator(job.comm)
        self.started = time.perf_counter()
        self.visits = first
        self.taken: dict[Case, int] = {}
        self.buffers: dict[tuple[str, str], tuple[Vector, Vector]] = {}

    def visit(self, case: Case, warmups: int, count: Count, sink: Sink | None) -> None:
        """Call and check, warm up, take the samples and check again; collective."""
        send, result = self._vectors(case)
        call = self._call(case, send, result)
        before = self._checked_call(case, call, send, result)
        with _no_collector():
            warm = self._timed(call, warmups)
            if case.in_place:
                self.place.fill(result, 0)  # its own result is its next input, and must not grow beyond all bounds
            times = self._timed(call, count(warm))
        after = self._checked_call(case, None if not case.in_place else call, send, result)
        self._finish(case, [before, after], (warm, True), (times, False), sink=sink)

    def visit_slow(self, case: Case, samples: int, sink: Sink | None) -> None:
        """No warm-up: every call is a sample, on fresh input, and its result is checked; collective."""
        send, result = self._vectors(case)
        call = self._call(case, send, result)
        singles: list[Samples] = []
        found: list[tuple[int, Mistake] | None] = []
        for _ in range(samples):
            self.place.fill(result, send if case.in_place else 0)
            with _no_collector():
                singles.append(self._timed(call, 1))
            found.append(self._checked_call(case, None, send, result))
        enter, leave, cpu = (np.concatenate(parts) for parts in zip(*singles, strict=True))
        self._finish(case, found, ((enter, leave, cpu), False), sink=sink)

    def agreed(self, number: int) -> int:
        """Rank 0's number; collective."""
        decision = np.array([number], np.int64)
        self.comm.Bcast(decision)
        return int(decision[0])

    def _finish(
        self,
        case: Case,
        checks: Sequence[tuple[int, Mistake] | None],
        *batches: tuple[Samples, bool],
        sink: Sink | None,
    ) -> None:
        """Gather the samples, which are warm-up or not, and write them with what the checks found."""
        mistakes = [found for found in checks if found]
        gathered = [(self._gather(taken), is_warmup) for taken, is_warmup in batches]
        if sink is not None:
            wrong = sum(mistake.wrong for _, mistake in mistakes)
            sink.stories += [f"{case}, {self.comm.size} ranks: on rank {rank} {mistake}" for rank, mistake in mistakes]
            for taken, is_warmup in gathered:
                sink.write(self._lines(case, taken, warmup=is_warmup, wrong=wrong))
        self.visits += 1

    def _vectors(self, case: Case) -> tuple[Vector, Vector]:
        """Send and receive vectors: the fronts of two buffers that all sizes share, so that memory stays bounded."""
        key, itemsize = (case.dtype, case.op), payload.dtype(case.dtype).itemsize
        if key not in self.buffers:
            count = self.largest // itemsize
            own = payload.contribution(self.comm.rank, self.comm.size, count, case.dtype, case.op)
            self.buffers[key] = self.place.place(own), self.place.place(np.zeros_like(own))
        send, result = self.buffers[key]
        return send[: case.nbytes // itemsize], result[: case.nbytes // itemsize]

    def _call(self, case: Case, send: Vector, result: Vector) -> Callable[[], object]:
        source = MPI.IN_PLACE if case.in_place else send
        op: MPI.Op = getattr(MPI, case.op.upper())
        if case.algorithm == NATIVE:
            return self.place.timed(self.place.native(self.comm, source, result, op))
        one = contestants.parse(case.algorithm)
        call = partial(self.ours.Allreduce, source, result, op, algorithm=one.algorithm, compress=one.encoding)
        return self.place.timed(call)

    def _checked_call(
        self, case: Case, call: Callable[[], object] | None, send: Vector, result: Vector
    ) -> tuple[int, Mistake] | None:
        """Call once on fresh input (or look at what the last call left) and compare on every rank.

        Gives rank 0 the first rank that is wrong, with the wrong elements of all ranks together.
        """
        if call is not None:
            self.place.fill(result, send if case.in_place else 0)
            call()
        wanted = payload.expected(self.comm.size, send.size, case.dtype, case.op)
        off = 0.0 if case.algorithm == NATIVE else contestants.parse(case.algorithm).off(self.comm.size)
        found = payload.mistake(self.place.look(result), wanted, off)
        wrong = np.array([found.wrong if found else 0], np.int64)
        self.comm.Allreduce(MPI.IN_PLACE, wrong, MPI.SUM)
        return self._told(found, int(wrong[0])) if wrong[0] else None

    def _told(self, found: Mistake | None, wrong: int) -> tuple[int, Mistake]:
        mine = np.zeros(1, _STORY)
        if found:
            mine[0] = found.wrong, found.index, found.got, found.wanted
        table = np.zeros(self.comm.size, _STORY)
        self.comm.Gather(mine.view(np.uint8), table.view(np.uint8))
        rank = int(np.argmax(table["wrong"] > 0))
        _, index, got, wanted = table[rank]
        return rank, Mistake(wrong, int(index), got.decode(), wanted.decode())

    def _timed(self, call: Callable[[], object], count: int) -> Samples:
        """``count`` samples."""
        # The whole process, for an MPI library may have threads of its own at work.
        clock, processor, line_up = time.perf_counter_ns, time.process_time_ns, self.job.line_up
        enter, leave, cpu = [0] * count, [0] * count, [0] * count
        for index in range(count):
            line_up()
            before = processor()
            start = clock()
            call()
            stop = clock()
            cpu[index] = processor() - before
            enter[index], leave[index] = start, stop
        return np.array(enter, np.int64), np.array(leave, np.int64), np.array(cpu, np.int64)

    def _gather(self, taken: Samples) -> Samples:
        """All three as arrays of shape (ranks, samples) at rank 0."""
        table = np.empty((self.comm.size, 3, taken[0].size), np.int64)
        self.comm.Gather(np.stack(taken), table)
        return table[:, 0], table[:, 1], table[:, 2]

    def _lines(self, case: Case, taken: Samples, *, warmup: bool, wrong: int) -> Iterator[dict[str, Any]]:
        enter, leave, cpu = taken
        origin = enter.min(axis=0) if self.job.shared_clock else enter
        entered, left = enter - origin, leave - origin
        seconds = (left.max(axis=0) if self.job.shared_clock else (leave - enter).max(axis=0)) * 1e-9
        for index in range(enter.shape[1]):
            number = self.taken[case] = self.taken.get(case, -1) + 1
            yield {
                "launch": self.launch, "visit": self.visits, "algorithm": case.algorithm, "ranks": self.comm.size,
                "nbytes": case.nbytes, "dtype": case.dtype, "op": case.op, "in_place": case.in_place,
                "sample": number, "warmup": warmup, "seconds": round(float(seconds[index]), 9),
                "enter_ns": entered[:, index].tolist(), "exit_ns": left[:, index].tolist(),
                "cpu_ns": cpu[:, index].tolist(),
                "at": round(float(enter[0, index]) * 1e-9 - self.started, 6), "wrong": wrong, "correct": wrong == 0,
                "oversubscribed": self.job.oversubscribed, "clock": self.job.clock,
            }  # fmt: skip


@contextmanager
def _no_collector() -> Generator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
