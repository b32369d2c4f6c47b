"""The parameter server as a strategy: the configuration of the real one, priced by its process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.sharding import Sharding
from simulator.compute_times import ComputeTime
from simulator.parameter_server import Handling, Setup, simulate
from simulator.strategies.job import Job, Prediction

__all__ = ["Served"]

_WARMUP = 2
"""Steps of each worker that do not count, as in measurements: connections and queues fill."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """Workers push to the servers of ``configuration`` and pull from them; see ``simulator.parameter_server.Setup``.

    The optimiser's step is the servers', so it is a matter of ``handling`` and not of the job's ``update``.
    """

    configuration: Configuration
    handling: Handling = Handling()  # noqa: RUF009 - a frozen value
    overlap: bool = True
    by_layer: bool = False
    sharding: Sharding | None = None

    def predict(self, job: Job) -> Prediction:
        """What a worker's step takes."""
        setup = Setup(
            self.configuration, job.layers, job.noise or ComputeTime(1.0), job.slow, (), self.handling, self.overlap,
            self.by_layer, self.sharding,
        )  # fmt: skip
        found = simulate(
            setup, job.network, steps=job.steps + _WARMUP, contention=job.contention, seed=job.seed, sharing=job.sharing
        )
        workers = self.configuration.workers
        seconds = found.settled(_WARMUP)
        lockstep = self.configuration.consistency.bound == 0
        computing = np.array([job.computing * job.slow.get(worker, 1.0) for worker in range(workers)])
        steps = len(found.worker) / workers
        return Prediction(
            float(seconds.mean()), float(np.median(seconds)),
            float(computing.max() if lockstep else computing[found.worker].mean()), found.throughput,
            sum(found.sent_bytes) / steps, outcome=found,
        )  # fmt: skip
