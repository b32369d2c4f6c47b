"""How long a training step takes by each strategy of `ciranda train`, on a network that need not exist."""

from __future__ import annotations

from simulator.strategies.data_parallel import AllReduce, LocalSGD, Sharded
from simulator.strategies.job import Job, Prediction
from simulator.strategies.model_parallel import Pipeline, TensorParallel
from simulator.strategies.served import Served

__all__ = ["AllReduce", "Job", "LocalSGD", "Pipeline", "Prediction", "Served", "Sharded", "Strategy", "TensorParallel",
           "predict"]  # fmt: skip

Strategy = AllReduce | LocalSGD | Sharded | TensorParallel | Pipeline | Served


def predict(strategy: Strategy, job: Job) -> Prediction:
    """Seconds of a step, and its parts. Raises ValueError for what the strategy or the network cannot do.

    Cost: a few simulations of a collective, or of ``job.steps`` steps with a parameter server (see there).
    """
    return strategy.predict(job)
