"""What a message of the parameter server takes of a processor, measured in one process, without any network.

Calibration knows what a message costs the MPI library; what Python does around it, it does not. Here one server and its
workers hand each other real messages of two sizes: making a push ready, reading it and putting it in the ledger, the
update, the answer, and taking parameters in. A straight line through both gives seconds a message and seconds a byte.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from collectives.parameter_server.client import Client
from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.gathering import Terms
from collectives.parameter_server.messages import HEADER, Bytes, Envelope, packed, parsed
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from kernels.optimise import Optimiser
from simulator.encodings import Work
from simulator.parameter_server import Handling

__all__ = ["measured"]

T = TypeVar("T")

_SMALL, _ITEMSIZE = 256, 4  # elements; bytes of each
_KINDS = ("push", "fold", "update", "answer", "take")


def measured(configuration: Configuration, optimiser: Optimiser, *, clocks: int = 30) -> Handling:
    """What handling costs with this consistency, encoding, number of workers and optimiser.

    Medians over ``clocks`` clocks, the first of which do not count. Cost: some tens of milliseconds for parts of 1 MiB.
    """
    few, many = _SMALL, max(2 * _SMALL, configuration.partition // _ITEMSIZE)
    small, large = (_Pair(configuration, optimiser, count).medians(clocks) for count in (few, many))
    works = {kind: _line(small[kind], large[kind], few * _ITEMSIZE, many * _ITEMSIZE) for kind in _KINDS}
    return Handling(**works, header=HEADER.size)


def _line(low: float, high: float, few: int, many: int) -> Work:
    per_byte = max(0.0, (high - low) / (many - few))
    return Work(max(0.0, low - per_byte * few), per_byte)


@dataclass(slots=True)
class _Times:
    """Seconds of each piece of work, by kind."""

    seen: dict[str, list[float]] = field(default_factory=lambda: {kind: list[float]() for kind in _KINDS})

    def of(self, kind: str, call: Callable[[], T]) -> T:
        """What ``call`` returns; it is work of that kind."""
        began = time.perf_counter()
        found = call()
        self.seen[kind].append(time.perf_counter() - began)
        return found

    def median(self, kind: str) -> float:
        """Of what came after the first third, in which caches fill and code is compiled; 0 of nothing."""
        return statistics.median(seen[len(seen) // 3 :]) if (seen := self.seen[kind]) else 0.0


class _Pair:
    """A server with one part of ``count`` elements, and its workers."""

    def __init__(self, configuration: Configuration, optimiser: Optimiser, count: int) -> None:
        alone = replace(configuration, servers=1, colocated=False, replicas=1, partition=count * _ITEMSIZE)
        sharding = Sharding.plan({"part": count}, 1, alone.partition, whole=True)
        self._server = Server(alone, sharding, 0, np.zeros(count, np.float32), optimiser)
        self._posted: list[Envelope] = []
        self._workers = [
            Client(alone, sharding, worker, self._post, lambda ticket, timeout: None) for worker in range(alone.workers)
        ]
        self._gradient = {"part": np.random.default_rng(count).standard_normal(count).astype(np.float32)}
        self._into = {"part": np.zeros(count, np.float32)}
        self._rank = alone.rank_of(0)

    def medians(self, clocks: int) -> dict[str, float]:
        """Seconds of each kind of work on this part."""
        times = _Times()
        for _ in range(clocks):
            for worker, client in enumerate(self._workers):
                self._answered(self._pushed(client, times), worker, times)
        return {kind: times.median(kind) for kind in _KINDS}

    def _post(self, envelope: Envelope, _: float) -> None:
        self._posted.append(envelope)

    def _pushed(self, client: Client, times: _Times) -> Bytes:
        def push() -> Bytes:
            client.push(None, self._gradient, Terms(1, None), into=self._into)
            return packed(self._posted.pop().message, 0)

        return times.of("push", push)

    def _answered(self, push: Bytes, worker: int, times: _Times) -> None:
        began = time.perf_counter()
        message = parsed(push, 0, f"rank {worker}")
        read = time.perf_counter()
        updates = self._server.statistics.updates
        answers = self._server.handle(message, worker)
        ended = time.perf_counter()
        late = self._server.statistics.updates > updates
        times.seen["fold"].append((read if late else ended) - began)
        if late:
            times.seen["update"].append(ended - read)
        for answer in answers:
            buffer = times.of("answer", lambda answer=answer: packed(answer.message, 0))
            times.of("take", lambda buffer=buffer, answer=answer: self._taken(buffer, answer.rank))

    def _taken(self, buffer: Bytes, worker: int) -> None:
        self._workers[worker].handle(parsed(buffer, 0, "the server"), self._rank)
