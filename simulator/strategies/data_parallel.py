"""Strategies in which every rank has its own samples and all sum their gradients, or average their parameters."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from collectives import catalogue
from simulator import encodings
from simulator.engine import simulate
from simulator.strategies.job import Job, Prediction
from simulator.training import Step, paces, step

__all__ = ["AllReduce", "LocalSGD", "Sharded"]

_ITEMSIZE = 4  # float32


@dataclass(frozen=True, slots=True)
class AllReduce:
    """Gradients are summed in buckets of ``bucket`` bytes while the backward pass goes on.

    ``accumulation``: passes over samples for each sum; the layers' times are of one pass. ``encoding``: how gradients
    travel, as ``kernels.compress`` names it. Source: Li et al. (2020), section 3.2.3.
    """

    algorithm: str = "ring"
    bucket: int = 25 << 20
    accumulation: int = 1
    encoding: str | None = None

    def __post_init__(self) -> None:
        _at_least_one(accumulation=self.accumulation)

    def predict(self, job: Job) -> Prediction:
        """What a step takes."""
        before = (self.accumulation - 1) * job.computing
        algorithm, network = catalogue.parse(self.algorithm), job.network
        if self.encoding:
            network = replace(network, model=replace(network.model, encoding=encodings.get(self.encoding)))

        def one(seed: int) -> Step:
            return step(
                job.layers, network, algorithm, bucket=self.bucket, first_bucket=self.bucket, itemsize=_ITEMSIZE,
                update=job.update, slow=job.slow, noise=job.noise, seed=seed, contention=job.contention,
            )  # fmt: skip

        found = [one(seed) for seed in _seeds(job)]
        longest = [before * _slowest(job, seed) for seed in _seeds(job)]
        return _together(
            found[0].workers,
            [extra + each.seconds for extra, each in zip(longest, found, strict=True)],
            [extra + each.compute for extra, each in zip(longest, found, strict=True)],
            found[0].sent_bytes,
        )


@dataclass(frozen=True, slots=True)
class LocalSGD:
    """Every rank trains alone, and every ``period`` steps all average their parameters; a step is the mean of those.

    Source: Stich, "Local SGD converges fast and communicates little" (2019).
    """

    algorithm: str = "ring"
    period: int = 8

    def __post_init__(self) -> None:
        _at_least_one(period=self.period)

    def predict(self, job: Job) -> Prediction:
        """What a step takes."""
        run = simulate(
            catalogue.parse(self.algorithm), job.network.size, job.nbytes, job.network, itemsize=_ITEMSIZE,
            contention=job.contention,
        )  # fmt: skip
        computing = [self._slowest(job, seed) * job.computing + job.update for seed in _seeds(job)]
        return _together(
            job.network.size,
            [each + run.seconds / self.period for each in computing],
            computing,
            run.bytes / self.period,
        )

    def _slowest(self, job: Job, seed: int) -> float:
        """The mean factor over a period of the rank that is slowest in it: noise evens out between averages."""
        size = job.network.size
        drawn = [paces(size, size, job.slow, job.noise, seed + 1000 * number) for number in range(self.period)]
        return float(max(sum(each) / self.period for each in zip(*drawn, strict=True)))


@dataclass(frozen=True, slots=True)
class Sharded:
    """ZeRO: each rank keeps 1/p of the optimiser's state (``level`` 1), of the gradients (2), of the parameters (3).

    Levels 1 and 2 cost the same time: gradients are reduce-scattered after the backward pass, each rank steps its
    share, and all gather the parameters. In level 3 a layer's parameters are gathered before its forward pass and again
    before its backward pass, and its gradients reduce-scattered after; nothing of that is hidden behind computing.
    Source: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models" (2020).
    """

    level: int = 1
    reduce_scatter: str = "reduce_scatter_ring"
    allgather: str = "allgather_ring"

    def __post_init__(self) -> None:
        if self.level not in (1, 2, 3):
            raise ValueError(f"sharding has levels 1 to 3, got {self.level}")

    def predict(self, job: Job) -> Prediction:
        """What a step takes."""
        gather, scatter = _priced(self.allgather, job), _priced(self.reduce_scatter, job)
        sizes = [layer.nbytes for layer in job.layers if layer.nbytes] if self.level == 3 else [job.nbytes]
        gathers = 2 if self.level == 3 else 1
        costs = [(gathers * a + c, gathers * b + d) for (a, b), (c, d) in ((gather(n), scatter(n)) for n in sizes)]
        messages, sent = (sum(column) for column in zip(*costs, strict=True))
        computing = [job.computing * _slowest(job, seed) + job.update / job.network.size for seed in _seeds(job)]
        return _together(job.network.size, [each + messages for each in computing], computing, sent)


def _priced(name: str, job: Job) -> Callable[[int], tuple[float, int]]:
    """Seconds and bytes on the wire of one collective alone, by its size."""
    algorithm = catalogue.parse(name)

    @cache
    def price(nbytes: int) -> tuple[float, int]:
        run = simulate(algorithm, job.network.size, nbytes, job.network, itemsize=_ITEMSIZE, contention=job.contention)
        return run.seconds, run.bytes

    return price


def _slowest(job: Job, seed: int) -> float:
    size = job.network.size
    return float(paces(size, size, job.slow, job.noise, seed).max())


def _seeds(job: Job) -> Iterator[int]:
    return iter(range(job.seed, job.seed + (job.steps if job.noise else 1)))


def _together(workers: int, seconds: Sequence[float], compute: Sequence[float], sent: float) -> Prediction:
    mean = statistics.fmean(seconds)
    return Prediction(
        mean, statistics.median(seconds), statistics.fmean(compute), workers / mean if mean else float("inf"),
        sent,
    )  # fmt: skip


def _at_least_one(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
