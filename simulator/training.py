"""A data-parallel training step: every worker computes gradients on its own samples, and all sum them.

The backward pass goes from the last layer to the first. Gradients are gathered in buckets in that order; the sum of a
bucket starts on a rank when its last gradient is there and the rank is through with the bucket before, while the rank
computes on. What of the sums is left when computing ends is exposed. Source: Li et al., "PyTorch distributed:
experiences on accelerating data parallel training" (2020), section 3.2.3: buckets and overlap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from simulator.architectures import Architecture
from simulator.compute_times import ComputeTime
from simulator.conditions import Conditions
from simulator.networks import Network
from simulator.playing import Phase, play

__all__ = ["BUCKET", "FIRST_BUCKET", "Bucket", "Layer", "Step", "buckets", "layers", "paces", "scaling",
           "step"]  # fmt: skip

Floats = NDArray[np.float64]

BUCKET, FIRST_BUCKET = 25 << 20, 1 << 20
"""Bytes at which PyTorch closes a bucket, and its first bucket, by default."""

_NONE: Mapping[int, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Layer:
    """``nbytes`` bytes of gradients, and the seconds that the layer takes in each direction."""

    name: str
    nbytes: int
    forward: float
    backward: float

    def __post_init__(self) -> None:
        if self.nbytes < 0:
            raise ValueError(f"layer {self.name} cannot have {self.nbytes} bytes")
        if not all(math.isfinite(seconds) and seconds >= 0 for seconds in (self.forward, self.backward)):
            raise ValueError(
                f"layer {self.name}: times must be finite and at least 0 s, got {self.forward} and {self.backward}"
            )


@dataclass(frozen=True, slots=True)
class Bucket:
    """``layers`` from last to first, of ``nbytes`` bytes together. Seconds since the step began, of the last rank:

    ``ready``: its gradients are there; ``began``: and the bucket before is summed; ``done``: it is summed.
    """

    layers: tuple[str, ...]
    nbytes: int
    ready: float
    began: float
    done: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of ``workers`` workers. ``compute``: seconds of the slowest of them; ``alone``: of one that is as usual.

    ``seconds``: until the last rank has all sums and, ``update`` seconds later, new parameters. ``sent_bytes``: of all
    ranks together.
    """

    algorithm: Algorithm
    network: Network
    workers: int
    seconds: float
    compute: float
    alone: float
    buckets: tuple[Bucket, ...]
    sent_bytes: int

    @property
    def exposed(self) -> float:
        """Seconds that the step takes longer than its computing."""
        return self.seconds - self.compute

    @property
    def communication(self) -> float:
        """Seconds in which a bucket that was ready on all ranks was being summed."""
        return sum(bucket.done - bucket.began for bucket in self.buckets)

    @property
    def overlap(self) -> float:
        """Share of ``communication`` that went on beside computing; 1 where there is none."""
        return 1 - self.exposed / self.communication if self.communication else 1.0

    @property
    def efficiency(self) -> float:
        """Steps per second of a worker, beside those of a worker alone: 1 is perfect (weak) scaling."""
        return self.alone / self.seconds if self.seconds else 1.0


def layers(architecture: Architecture, forward: float, backward: float, itemsize: int = 4) -> tuple[Layer, ...]:
    """The groups of ``architecture``, which share the seconds of both passes as they share its operations.

    ``itemsize``: bytes of a gradient.
    """
    whole = architecture.operations
    return tuple(
        Layer(group.name, group.parameters * itemsize, forward * share, backward * share)
        for group, share in ((group, group.operations / whole) for group in architecture.groups)
    )


def buckets(layers: Sequence[Layer], nbytes: int = BUCKET, first: int = FIRST_BUCKET) -> tuple[tuple[int, ...], ...]:
    """Indices of ``layers`` by bucket, from the last layer to the first.

    A bucket is closed as soon as it has ``nbytes`` bytes or more (``first``: of the one that is ready first), so a
    layer is never cut. 0 bytes: a bucket for each layer.
    """
    if nbytes < 0 or first < 0:
        raise ValueError(f"a bucket cannot have {min(nbytes, first)} bytes")
    found: list[tuple[int, ...]] = []
    gathered: tuple[int, ...] = ()
    for index in reversed(range(len(layers))):
        gathered = (*gathered, index)
        if sum(layers[each].nbytes for each in gathered) >= (nbytes if found else min(first, nbytes)):
            found.append(gathered)
            gathered = ()
    return (*found, gathered) if gathered else tuple(found)


def step(
    layers: Sequence[Layer],
    network: Network,
    algorithm: Algorithm,
    *,
    bucket: int = BUCKET,
    first_bucket: int = FIRST_BUCKET,
    itemsize: int = 4,
    update: float = 0.0,
    slow: Mapping[int, float] = _NONE,
    noise: ComputeTime | None = None,
    seed: int = 0,
    contention: bool = True,
    conditions: Conditions | None = None,
) -> Step:
    """Simulate one step on all ranks of ``network``; an allreduce, or a push and pull with servers of their own.

    ``slow``: by worker, how many times longer it computes; ``noise``: a further factor for each worker, of mean 1.
    ``update``: seconds of the optimiser after the last sum. Computing is on accelerators and takes no processor.
    Raises ValueError for layers, sizes or an algorithm that cannot be.
    """
    if not layers:
        raise ValueError("a training step needs at least one layer")
    if algorithm.collective not in ("allreduce", "push_pull"):
        raise ValueError(f"{algorithm.label} is no allreduce: it cannot sum gradients")
    if not algorithm.supports(network.size):
        raise ValueError(f"{algorithm.label} does not work for {network.size} ranks")
    if not (math.isfinite(update) and update >= 0):
        raise ValueError(f"the update must take a finite time of at least 0 s, got {update}")
    workers = network.size - (algorithm.parameters["servers"] if algorithm.collective == "push_pull" else 0)
    pace = paces(network.size, workers, slow, noise, seed)
    order = buckets(layers, bucket, first_bucket)
    forward = sum(layer.forward for layer in layers)
    backward = np.cumsum([sum(layers[index].backward for index in indices) for indices in order])
    sizes = [sum(layers[index].nbytes for index in indices) for indices in order]
    ready = forward + backward
    # Who computed must wake up first: that is before the first sum, and not before the step, which it would hide in.
    late = [network.model.start, *[0.0] * (len(order) - 1)]
    awake = replace(network, model=replace(network.model, start=0.0))
    phases = [
        Phase(algorithm, nbytes, itemsize, pace * moment + start)
        for nbytes, moment, start in zip(sizes, ready.tolist(), late, strict=True)
    ]
    played = play(phases, awake, contention=contention, conditions=conditions)
    done: Floats = played.completion.max(axis=1)
    ends = np.maximum(done, ready * pace.max())
    began = np.maximum(ready * pace.max(), np.concatenate([[0.0], ends[:-1]]))
    return Step(
        algorithm,
        network,
        workers,
        seconds=float(ends[-1]) + update,
        compute=float(ready[-1] * pace.max()) + update,
        alone=float(ready[-1]) + update,
        buckets=tuple(
            Bucket(tuple(layers[index].name for index in indices), size, *moments)
            for indices, size, *moments in zip(
                order, sizes, (ready * pace.max()).tolist(), began.tolist(), ends.tolist(), strict=True
            )
        ),
        sent_bytes=played.bytes,
    )


def scaling(
    layers: Sequence[Layer],
    network: Callable[[int], Network],
    ranks: Iterable[int],
    algorithm: Algorithm,
    *,
    bucket: int = BUCKET,
    itemsize: int = 4,
    contention: bool = True,
) -> tuple[Step, ...]:
    """The same step on ``network(p)`` for each p of ``ranks`` that the algorithm supports: see ``Step.efficiency``."""
    return tuple(
        step(layers, network(size), algorithm, bucket=bucket, itemsize=itemsize, contention=contention)
        for size in ranks
        if algorithm.supports(size)
    )


def paces(size: int, workers: int, slow: Mapping[int, float], noise: ComputeTime | None, seed: int) -> Floats:
    """How many times the usual time each rank computes, float64 of shape (size,); ranks after the workers do not."""
    if seed < 0:
        raise ValueError(f"a seed must not be negative, got {seed}")
    pace = np.zeros(size)
    pace[:workers] = 1.0
    for worker, factor in slow.items():
        if not 0 <= worker < workers:
            raise ValueError(f"worker {worker} is slow, and there are workers 0 to {workers - 1}")
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"worker {worker} takes {factor} times as long: that must be finite and above 0")
        pace[worker] = factor
    if noise is not None:
        pace[:workers] *= [next(noise.draw(seed, worker)) for worker in range(workers)]
    return pace
