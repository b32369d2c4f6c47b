"""The rank's side of calibration: times of single messages, of exchanges, of posting messages, and of reducing.

Messages go through the executor that carries the collectives, so alpha holds what its Python costs. All ranks are at
work at once, as they are in a collective: with more ranks than cores the times hold the waiting for a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives.executors.interpreted import Interpreted
from collectives.executors.plan import lower
from experiments.job import Job
from experiments.traffic import Exchange, PingPong, partner
from kernels import reduce

__all__ = ["CALLS", "MESSAGE_SIZES", "REDUCTION_SIZES", "Probe"]

MESSAGE_SIZES = (8, 64, 512, 4096, 32768, 262144, 1 << 20, 1 << 22)
"""Bytes of a message."""

REDUCTION_SIZES = (1 << 14, 1 << 18, 1 << 22)
"""Bytes of a float32 vector that is added to another."""

CALLS = "the interpreted executor (persistent mpi4py requests)"

_BURST = 16  # messages posted one after another to learn what posting costs
_SAMPLE = 1e-3  # seconds that a sample of messages should last, to be long beside the clock and the line-up
_SLICE = 40e-3  # seconds that a sample of reductions lasts with too few cores: several turns of the scheduler
_PASSES, _FEWEST_PASSES = 4, 2
_MOST, _LEAST = 8, 3  # samples of a pass, so 6 to 32 in all


Sampler = Callable[[], float]
"""Takes one sample: seconds per message or reduction, the mean over the ranks that take part; on all ranks alike."""


@dataclass(slots=True)
class Probe:
    """Takes all samples within about ``time_limit`` seconds; collective over ``job.comm``."""

    job: Job
    time_limit: float

    def all(self) -> dict[str, list[list[float]]]:
        """Samples in seconds by pattern and, in the order of the tables above, by size.

        Patterns: ``pingpong``, ``exchange``, ``reduction`` and ``overhead`` (which has one size). They take turns, so
        that a slow moment of the machine does not hit one size alone.
        """
        executor = Interpreted(self.job.comm.Dup())
        messages = [np.zeros(2 * size, np.uint8) for size in MESSAGE_SIZES]
        patterns = {
            "pingpong": [self._messages(executor, PingPong, buffer) for buffer in messages],
            "exchange": [self._messages(executor, Exchange, buffer) for buffer in messages],
            "reduction": [self._reductions(size) for size in REDUCTION_SIZES],
            "overhead": [self._overhead()],
        }
        found: dict[str, list[list[float]]] = {name: [[] for _ in group] for name, group in patterns.items()}
        share = self.time_limit / _PASSES / sum(map(len, patterns.values()))
        began = time.perf_counter()
        for done in range(_PASSES):
            late = time.perf_counter() - began > self.time_limit
            if done >= _FEWEST_PASSES and self._agreed(2 if late else 1, most=2) == 2:
                break
            for name, samplers in patterns.items():
                for sampler, samples in zip(samplers, found[name], strict=True):
                    samples.extend(self._samples(sampler, share))
        return found

    def _messages(
        self, executor: Interpreted, pattern: type[PingPong | Exchange], buffer: NDArray[np.uint8]
    ) -> Sampler:
        size, comm = buffer.size // 2, self.job.comm

        def calls(count: int) -> Callable[[], object]:
            plan = lower(pattern(count), comm.rank, comm.size, lambda chunk: (0, chunk * size, (chunk + 1) * size))
            return lambda: executor.run(plan, (buffer,))

        pair = self._timing(calls(2), 2)
        count = 2 * self._agreed(_SAMPLE / 2 / min(pair() for _ in range(3)), most=10)
        return self._timing(calls(count), count)

    def _reductions(self, size: int) -> Sampler:
        left, right = (np.ones(size // 4, np.float32) for _ in range(2))
        add = reduce.get("sum")

        def calls(count: int) -> Callable[[], object]:
            def repeat() -> None:
                for _ in range(count):
                    add(left, right, right)

            return repeat

        few = self._timing(calls(3), 3)
        lasting = _SLICE if self.job.oversubscribed else _SAMPLE
        count = self._agreed(lasting / min(few() for _ in range(3)), most=10_000)
        return self._timing(calls(count), count)

    def _overhead(self) -> Sampler:
        """CPU seconds that one end spends on a small message: mean of posting a send and taking an arrived message.

        The o of LogP (Culler et al. 1993), by bursts of 8-byte messages, which MPI sends without waiting.
        """
        comm, other = self.job.comm.Dup(), partner(self.job.comm.rank, self.job.comm.size)
        boxes = np.zeros((_BURST, 8), np.uint8)
        first = comm.rank < comm.size // 2
        prepare = comm.Send_init if first else comm.Recv_init
        requests = [] if other is None else [prepare(box, other) for box in boxes]

        def finish() -> None:
            for request in requests:
                request.Start()
            for request in requests:
                request.Wait()

        def sample() -> float:
            mine = 0.0
            for side in (True, False):  # when the receivers' turn comes, the messages are there
                self.job.line_up()
                start = time.perf_counter_ns()
                if first is side:
                    finish()
                    mine = (time.perf_counter_ns() - start) * 1e-9
            return self._mean(mine / _BURST)

        return sample

    def _timing(self, call: Callable[[], object], count: int) -> Sampler:
        """Samples of a call that carries out ``count`` messages or reductions."""

        def sample() -> float:
            self.job.line_up()
            start = time.perf_counter_ns()
            call()
            return self._mean((time.perf_counter_ns() - start) * 1e-9 / count)

        return sample

    def _samples(self, sampler: Sampler, share: float) -> list[float]:
        """After a warm-up, as many samples as fit ``share`` seconds."""
        began = time.perf_counter()
        sampler()
        count = self._agreed(share / (time.perf_counter() - began), most=_MOST)
        return [sampler() for _ in range(max(_LEAST, count))]

    def _mean(self, value: float) -> float:
        takes_part = partner(self.job.comm.rank, self.job.comm.size) is not None
        total = np.array([value if takes_part else 0.0, float(takes_part)])
        self.job.comm.Allreduce(MPI.IN_PLACE, total, MPI.SUM)
        return float(total[0] / total[1])

    def _agreed(self, number: float, most: int) -> int:
        """Rank 0's whole number between 1 and ``most``."""
        agreed = np.array([np.clip(number, 1, most)]).astype(np.int64)
        self.job.comm.Bcast(agreed)
        return int(agreed[0])
