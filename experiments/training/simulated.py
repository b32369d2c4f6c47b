"""How long the simulator says that a step of a strategy takes, on the network of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectives import selection
from collectives.selection import Prices
from experiments.training import buckets, datasets, models
from experiments.training.comparison.predictions import layers
from experiments.training.gradients import progress
from experiments.training.handling import measured
from experiments.training.options import Options
from experiments.training.strategies.allreduce import AllReduce
from experiments.training.strategies.local_sgd import LocalSGD
from experiments.training.strategies.servers import Servers
from experiments.training.strategies.sharded import Sharded
from simulator import networks, strategies

if TYPE_CHECKING:
    from collectives.profile import Profile
    from experiments.training.strategy import Plan

__all__ = ["step_seconds"]


def step_seconds(options: Options, profile: Profile, ranks: int, computing: float) -> float | None:
    """The mean of a step in which each rank computes for so many seconds; None where none is simulated.

    Of models cut among ranks the messages are not known without their ranks. What a run leaves to choice is chosen
    here by the closed forms of ``profile``. Cost: reads the data; a few simulated steps.
    """
    data = datasets.get(options.dataset)
    model = models.get(options.model, data)
    parts = layers(model, data.inputs.shape[1:], computing)
    job = strategies.Job(parts, networks.from_profile(profile, ranks))
    gradients = model.initial(options.seed)
    prices = Prices(profile.alpha, profile.beta, profile.gamma, profile.measured)

    def chosen(collective: str, name: str, nbytes: int) -> str:
        return name or selection.choose(collective, ranks, nbytes, prices).label

    def strategy(plan: Plan) -> strategies.Strategy | None:
        if isinstance(plan, AllReduce):
            algorithm = chosen("allreduce", plan.algorithm, job.nbytes)
            ready = progress(model, data.inputs.shape[1:])
            price = selection.resolve(algorithm, "allreduce", ranks).cost(ranks)
            bucket = plan.bucket or buckets.suitable(
                model, gradients, ready, computing,
                lambda nbytes: price.seconds(nbytes, prices.alpha, prices.beta, prices.gamma),
            )  # fmt: skip
            whole = bucket if plan.overlap else job.nbytes
            return strategies.AllReduce(algorithm, whole, encoding=plan.compress or None)
        if isinstance(plan, LocalSGD):
            return strategies.LocalSGD(chosen("allreduce", plan.algorithm, job.nbytes), plan.period)
        if isinstance(plan, Sharded):
            return strategies.Sharded(
                plan.level, chosen("reduce_scatter", plan.reduce_scatter, job.nbytes),
                chosen("allgather", plan.allgather, job.nbytes),
            )  # fmt: skip
        if isinstance(plan, Servers):
            configuration = plan.configuration(ranks)
            return strategies.Served(configuration, measured(configuration, options.method()))
        return None

    found = strategy(options.plan())
    return None if found is None or ranks == 1 or options.deterministic else strategies.predict(found, job).seconds
