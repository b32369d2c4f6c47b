"""What came of a simulated training with a parameter server: the figures that the real server's statistics have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.parameter_server.setup import Setup

__all__ = ["Outcome", "Server"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """What one server saw. ``busy``, ``receiving``, ``sending``: share of the time for its processor and its ports.

    ``waited``: mean seconds between a message's arrival and when it is begun; ``queue``: mean number of messages that
    wait or are handled (Little's law); ``longest``: the most that an arriving message found before it. ``lengths``:
    that number over time, float64 of shape (changes, 2): seconds, and messages from then on. ``received_bytes`` and
    ``sent_bytes`` crossed the wire, those of a worker at the same rank included.
    """

    rank: int
    busy: float
    receiving: float
    sending: float
    waited: float
    queue: float
    longest: int
    lengths: Floats
    received_bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of ``workers · steps`` steps. Arrays have an entry for each step that ended, in that order.

    A step ends when the parameters that it asked for are there, or its computing where it asked for none. ``seconds``:
    when the last of them ended. ``step_seconds``: since the worker's step before. ``worker``: whose step it was.
    ``lead``: how many clocks its worker was ahead at its end. ``staleness``, with ``pusher``, has an entry for each
    push of each part: updates that its server made between the worker's pull and this push. In lockstep all pushes of
    a clock are one update, so it is 0. ``late``: pushes of parts that came after their update and were dropped.
    ``updates``: how often each parameter was updated at least. ``sent_bytes`` by rank: bytes on the wire.
    """

    setup: Setup
    seconds: float
    worker: Ints
    step_seconds: Floats
    lead: Ints
    staleness: Ints
    pusher: Ints
    late: int
    updates: int
    sent_bytes: tuple[int, ...]
    servers: tuple[Server, ...]

    @property
    def throughput(self) -> float:
        """Steps per second of all workers together, the start included; infinite where steps take no time."""
        return len(self.worker) / self.seconds if self.seconds else math.inf

    @property
    def histogram(self) -> Mapping[int, int]:
        """How many pushes had which staleness."""
        found: Counter[int] = Counter(self.staleness.tolist())
        return dict(sorted(found.items()))

    def settled(self, skip: int) -> Floats:
        """``step_seconds`` without the first ``skip`` steps of each worker, in which queues fill."""
        seen: Counter[int] = Counter()
        later: list[bool] = []
        for worker in self.worker.tolist():
            seen[worker] += 1
            later.append(seen[worker] > skip)
        return self.step_seconds[np.array(later)]

    def percentile(self, percent: float) -> float:
        """Seconds that ``percent`` % of the steps do not exceed."""
        return float(np.percentile(self.step_seconds, percent))
