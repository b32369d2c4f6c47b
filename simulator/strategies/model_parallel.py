"""Strategies that divide the model: layers cut across ranks, or stages one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from collectives import catalogue, pipeline
from simulator.engine import simulate
from simulator.networks import Network
from simulator.processes import Process, World
from simulator.strategies.job import Job, Prediction
from simulator.training import paces

__all__ = ["Pipeline", "TensorParallel"]

_ITEMSIZE = 4  # float32


@dataclass(frozen=True, slots=True)
class TensorParallel:
    """Each layer is cut across all ranks, which sum activations; computing goes on when a sum is there.

    ``sums``: bytes of each allreduce of one step, forward and backward. The layers' times are of a rank's share.
    Source: Shoeybi et al., "Megatron-LM" (2019), section 3.
    """

    sums: tuple[int, ...]
    algorithm: str = "ring"

    def predict(self, job: Job) -> Prediction:
        """What a step takes: all ranks are one worker."""
        size, algorithm = job.network.size, catalogue.parse(self.algorithm)
        runs = {
            nbytes: simulate(algorithm, size, nbytes, job.network, itemsize=_ITEMSIZE, contention=job.contention)
            for nbytes in set(self.sums)
        }
        compute = job.computing * float(paces(size, size, job.slow, None, job.seed).max()) + job.update
        seconds = compute + sum(runs[nbytes].seconds for nbytes in self.sums)
        sent = sum(runs[nbytes].bytes for nbytes in self.sums)
        return Prediction(seconds, seconds, compute, 1 / seconds if seconds else float("inf"), sent)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages of layers, ``micro`` micro-batches through them in the given order of ``collectives.pipeline``.

    ``activations``: bytes that a micro-batch sends over each cut between stages, as many backward; so there is one
    stage more than cuts. ``cuts``: by stage, where its layers begin and end; by default such that the slowest stage is
    as quick as can be. Ranks beyond the stages are further pipelines of other samples, rank r in stage r mod stages;
    each stage's gradients are summed over them at the end, by ``algorithm``. The layers' times are of all
    micro-batches. Sources: Huang et al., GPipe (2019); Narayanan et al. (2021), section 2.2.
    """

    micro: int
    activations: tuple[int, ...]
    order: str = "1f1b"
    cuts: tuple[tuple[int, int], ...] = ()
    algorithm: str = "ring"

    def predict(self, job: Job) -> Prediction:
        """What a step takes: each pipeline is one worker. Raises ValueError where stages do not divide the ranks."""
        stages, size = len(self.activations) + 1, job.network.size
        if size % stages:
            raise ValueError(f"{size} ranks make no pipelines of {stages} stages each: take a multiple of {stages}")
        if self.micro < 1:
            raise ValueError(f"there must be at least one micro-batch, got {self.micro}")
        costs = [layer.forward + layer.backward for layer in job.layers]
        cuts = self.cuts or pipeline.cut(costs, stages)
        if len(cuts) != stages:
            raise ValueError(f"{len(self.activations)} cuts carry activations, and there are {len(cuts)} stages")
        world = World(job.network, job.contention, job.seed)
        played = _Played(self, job, cuts, world)
        ends = played.ends()
        sums = [self._summing(job, stages, stage, cuts[stage]) for stage in range(stages)]
        seconds = max(end + sums[rank % stages][0] for rank, end in enumerate(ends)) + job.update
        compute = played.slowest + job.update
        mean = sum(played.computing) / size
        return Prediction(
            seconds, seconds, compute, size // stages / seconds if seconds else float("inf"),
            played.sent + sum(sent for _, sent in sums), 1 - mean / max(ends) if max(ends) else 0.0,
        )  # fmt: skip

    def _summing(self, job: Job, stages: int, stage: int, cut: tuple[int, int]) -> tuple[float, int]:
        """Seconds and bytes of summing a stage's gradients over all pipelines."""
        group = job.network.place[stage::stages]
        nbytes = sum(layer.nbytes for layer in job.layers[slice(*cut)])
        if len(group) == 1 or not nbytes:
            return 0.0, 0
        network: Network = replace(job.network, place=np.asarray(group))
        run = simulate(
            catalogue.parse(self.algorithm), len(group), nbytes, network, itemsize=_ITEMSIZE, contention=job.contention
        )
        return run.seconds, run.bytes


class _Played:
    """All pipelines in one world."""

    def __init__(self, plan: Pipeline, job: Job, cuts: Sequence[tuple[int, int]], world: World) -> None:
        self._plan, self._world, self._stages = plan, world, len(cuts)
        self.sent = 0
        pace = paces(world.network.size, world.network.size, job.slow, job.noise, job.seed).tolist()
        forward = [sum(layer.forward for layer in job.layers[slice(*cut)]) for cut in cuts]
        backward = [sum(layer.backward for layer in job.layers[slice(*cut)]) for cut in cuts]
        self._forward = [each * forward[rank % self._stages] / plan.micro for rank, each in enumerate(pace)]
        self._backward = [each * backward[rank % self._stages] / plan.micro for rank, each in enumerate(pace)]
        self.computing = [
            plan.micro * (ahead + back) for ahead, back in zip(self._forward, self._backward, strict=True)
        ]

    @property
    def slowest(self) -> float:
        """Computing seconds of the rank that has most of them."""
        return max(self.computing)

    def ends(self) -> list[float]:
        """When each rank has done its last pass."""
        ranks = range(self._world.network.size)
        done = [self._world.spawn(self._stage(rank), f"rank {rank}") for rank in ranks]
        self._world.run()
        return [signal.value or 0.0 for signal in done]

    def _stage(self, rank: int) -> Process[float]:
        stage, stages = rank % self._stages, self._stages
        order = pipeline.get(self._plan.order)
        for action in order(stage, stages, self._plan.micro):
            ahead = 1 if isinstance(action, pipeline.Forward) else -1
            if 0 <= stage - ahead < stages:
                yield self._world.get((rank, action))
            yield self._world.sleep((self._forward if ahead == 1 else self._backward)[rank])
            if 0 <= stage + ahead < stages:
                nbytes = self._plan.activations[min(stage, stage + ahead)]
                self.sent += nbytes
                self._world.send(rank, rank + ahead, nbytes, queue=(rank + ahead, action))
        return self._world.now
