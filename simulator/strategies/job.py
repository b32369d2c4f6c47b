"""What every strategy is asked about, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from simulator.compute_times import ComputeTime
from simulator.networks import Network
from simulator.parameter_server import Outcome
from simulator.training import Layer

__all__ = ["Job", "Prediction"]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A model of ``layers`` trains on all ranks of ``network``; ``update``: seconds of an optimiser's step.

    ``slow``: by worker, how many times longer it computes; ``noise``: a further factor for each worker and step, of
    mean 1. ``steps``: how many steps are played where they differ, for noise or for asynchrony; ``seed`` is of both.
    ``sharing``: messages of a parameter server share ports and do not take turns, as TCP's connections do.
    Computing is on accelerators and takes no processor.
    """

    layers: tuple[Layer, ...]
    network: Network
    update: float = 0.0
    slow: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    noise: ComputeTime | None = None
    steps: int = 30
    seed: int = 0
    contention: bool = True
    sharing: bool = False

    @property
    def nbytes(self) -> int:
        """Of the whole model's gradients."""
        return sum(layer.nbytes for layer in self.layers)

    @property
    def computing(self) -> float:
        """Seconds of both passes through all layers."""
        return sum(layer.forward + layer.backward for layer in self.layers)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """A step of a worker takes ``seconds`` on average, ``median`` seconds in the middle.

    ``compute``: of them its computing and the optimiser's, of the slowest worker where all wait for each other.
    ``throughput``: steps per second of all workers together. ``sent_bytes``: by all ranks, for one step of all workers.
    ``bubble``: of a pipeline, share of the step in which stages do not compute. ``outcome``: of a parameter server, all
    that was seen.
    """

    seconds: float
    median: float
    compute: float
    throughput: float
    sent_bytes: float
    bubble: float = 0.0
    outcome: Outcome | None = None

    @property
    def exposed(self) -> float:
        """Seconds of a step in which messages, or others, are waited for."""
        return max(0.0, self.seconds - self.compute)
