"""What is predicted of a contestant before it trains: by the simulator, from a calibration, and by closed forms.

The closed form of a step is C + what the network needs, with nothing of it hidden behind computing. Allreduce costs
what its algorithm does, such as 2(p−1)/p·nβ of the ring. In lockstep, servers of their own need max(1, w/k)·nβ each
way, and servers beside the workers (w−1)/k·nβ each way. Without lockstep a step takes as long as alone, or as long as
the busiest port needs for everybody's bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from collectives import catalogue
from collectives.profile import Profile
from experiments.training.comparison.contestants import Contestant
from experiments.training.comparison.records import TrainingRecord
from experiments.training.comparison.workload import Workload
from experiments.training.model import Model
from simulator import networks, server_theory, strategies, theory
from simulator.parameter_server import Handling
from simulator.training import Layer

__all__ = ["layers", "predicted", "theory_seconds"]

_ALIKE, _DRAWN = 3, 10  # steps that are simulated: in lockstep one is like the other
_FORWARD = 1 / 3  # share of computing: backward multiplies by the weights once and by the inputs once


def predicted(
    contestants: Iterable[Contestant], model: Model, sample: tuple[int, ...], workload: Workload, profile: Profile, *,
    handling: Mapping[str, Handling],
) -> dict[Contestant, TrainingRecord]:  # fmt: skip
    """Records without a measured time. ``sample``: the shape of one.

    ``handling``: by consistency, what servers' messages take of processors. Messages take turns at the simulated ports,
    though TCP's share them: measured steps without lockstep are nearer to that (docs/training-comparison.md). Cost:
    the simulation of up to ten steps with servers, up to 0.5 s for each contestant.
    """
    found: dict[Contestant, TrainingRecord] = {}
    parts = layers(model, sample, workload.compute)
    nbytes = sum(layer.nbytes for layer in parts)
    for one in contestants:
        seconds = theory_seconds(one, nbytes, workload, profile)
        found[one] = replace(TrainingRecord.empty(one, nbytes, workload), theory_seconds=seconds)
        if one.ranks > 1:
            network, steps = networks.from_profile(profile, one.ranks), _ALIKE if one.synchronous else _DRAWN
            job = strategies.Job(parts, network, steps=steps)
            answer = strategies.predict(_strategy(one, workload, handling), job)
            found[one] = replace(
                found[one], simulated_seconds=answer.median, simulated_throughput=answer.throughput * workload.batch,
                simulated_exposed_seconds=max(0.0, answer.median - answer.compute),
                simulated_sent_bytes=answer.sent_bytes, simulated_staleness=_stale(answer),
            )  # fmt: skip
    return found


def layers(model: Model, sample: tuple[int, ...], compute: float) -> tuple[Layer, ...]:
    """The model's layers for the simulator: ``compute`` seconds of both passes, shared as their operations are."""
    sizes: list[tuple[str, int, int]] = []
    shape: tuple[int, ...] = (1, *sample)
    shapes = model.shapes()
    for layer in model.layers:
        shape, operations = layer.operations(shape)
        count = sum(math.prod(shapes[f"{layer.name}.{key}"]) for key in layer.shapes())
        sizes.append((layer.name, 4 * count, operations))
    whole = sum(operations for *_, operations in sizes) / compute if compute else math.inf
    return tuple(
        Layer(name, nbytes, _FORWARD * operations / whole, (1 - _FORWARD) * operations / whole)
        for name, nbytes, operations in sizes
    )


def _strategy(contestant: Contestant, workload: Workload, handling: Mapping[str, Handling]) -> strategies.Strategy:
    if not contestant.servers:
        return strategies.AllReduce(contestant.algorithm, workload.bucket)
    return strategies.Served(contestant.configuration(workload.partition), handling[contestant.consistency])


def _stale(answer: strategies.Prediction) -> float | None:
    """Mean number of updates by others that a push missed."""
    outcome = answer.outcome
    return float(outcome.staleness.mean()) if outcome is not None and outcome.staleness.size else None


def theory_seconds(contestant: Contestant, nbytes: int, workload: Workload, profile: Profile) -> float:
    """Seconds of a step with ``nbytes`` bytes of gradients, from α, β and γ of one pair at work alone."""
    alone, compute = profile.at(2), workload.compute
    costs = alone.alpha, alone.beta, alone.gamma
    if contestant.ranks == 1:
        return compute
    if not contestant.servers:
        return compute + theory.seconds(catalogue.parse(contestant.algorithm), contestant.ranks, nbytes, *costs)
    workers, servers = contestant.workers, contestant.servers
    if contestant.synchronous:
        beside = contestant.colocated
        return compute + server_theory.shared_seconds(workers, servers, nbytes, *costs, colocated=beside)
    slices = workload.slices(nbytes, servers)
    if not contestant.colocated:
        return workers / server_theory.asynchronous_bound([compute] * workers, servers, nbytes, *costs, slices)
    alpha, beta, gamma = costs
    away = (workers - 1) / workers * nbytes  # of n bytes 1/w stays on the host
    last = nbytes / (servers * slices)
    return max(compute + 2 * alpha + away * beta + last * (beta + gamma), 2 * away * beta)
