"""What a simulated training with a parameter server is made of: arrangement, model, and what computing takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from types import MappingProxyType

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import Async, Elastic
from collectives.parameter_server.sharding import Part, Sharding
from simulator.compute_times import ComputeTime
from simulator.encodings import get as encoding
from simulator.parameter_server.handling import Handling
from simulator.training import Layer

__all__ = ["ITEMSIZE", "Setup", "Spell"]

ITEMSIZE = 4
"""Bytes of a parameter: float32."""


@dataclass(frozen=True, slots=True)
class Spell:
    """From second ``begin`` until ``end``, ``worker`` computes ``factor`` times as long."""

    worker: int
    factor: float
    begin: float = 0.0
    end: float = math.inf


@dataclass(frozen=True, eq=False)
class Setup:
    """Workers of ``configuration`` train a model of ``layers``, whose float32 parameters lie one after another.

    A worker computes on an accelerator (it takes no processor) for as long as its layers say, times a factor of its own
    for each step, drawn from ``noise``, times ``slow`` by worker, times its ``spells``. With ``overlap`` a part is
    pushed as soon as its gradients are there, else all are when computing ends. With ``by_layer`` a layer's forward
    pass waits for no parameters but its own, else all are awaited before the first. ``sharding``: by default that of
    the layers, as the real server plans it; give the real one where its tensors are finer. Raises ValueError for what
    cannot be.
    """

    configuration: Configuration
    layers: tuple[Layer, ...]
    noise: ComputeTime = ComputeTime(1.0)  # noqa: RUF009 - a frozen value
    slow: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    spells: tuple[Spell, ...] = ()
    handling: Handling = Handling()  # noqa: RUF009 - a frozen value
    overlap: bool = True
    by_layer: bool = False
    sharding: Sharding | None = None

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer.nbytes % ITEMSIZE:
                raise ValueError(f"layer {layer.name} has {layer.nbytes} bytes, which is no number of float32")
        if not sum(layer.nbytes for layer in self.layers):
            raise ValueError("a parameter server needs at least one parameter to keep, and the layers have none")
        if len({layer.name for layer in self.layers}) < len(self.layers):
            raise ValueError(f"layers need names of their own, got {', '.join(layer.name for layer in self.layers)}")
        self._check_parts()
        for worker, factor in (*self.slow.items(), *((spell.worker, spell.factor) for spell in self.spells)):
            if not 0 <= worker < self.configuration.workers:
                raise ValueError(
                    f"worker {worker} is slow, and there are workers 0 to {self.configuration.workers - 1}"
                )
            if not (math.isfinite(factor) and factor > 0):
                raise ValueError(f"worker {worker} takes {factor} times as long: that must be finite and above 0")

    def _check_parts(self) -> None:
        servers, count = self.configuration.servers, sum(layer.nbytes for layer in self.layers) // ITEMSIZE
        if self.sharding is None:
            return
        if self.sharding.count != count:
            raise ValueError(f"the sharding is of {self.sharding.count} parameters, and the layers have {count}")
        if any(part.server >= servers for part in self.sharding.parts):
            raise ValueError(f"the sharding names more than the {servers} servers that there are")

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the parameters, in ascending order."""
        tensors = {layer.name: layer.nbytes // ITEMSIZE for layer in self.layers}
        planned = self.sharding or Sharding.plan(
            tensors, self.configuration.servers, self.configuration.partition, ITEMSIZE
        )
        return planned.parts

    @cached_property
    def needed(self) -> tuple[tuple[Part, ...], ...]:
        """By layer, the parts in which any of its parameters lie."""
        bounds = pairwise(accumulate((layer.nbytes // ITEMSIZE for layer in self.layers), initial=0))
        return tuple(
            tuple(part for part in self.parts if lo < hi and part.lo < hi and lo < part.hi) for lo, hi in bounds
        )

    @cached_property
    def completed(self) -> tuple[tuple[Part, ...], ...]:
        """By layer, the parts whose last gradients come with it: backward goes from the last layer to the first."""
        first = {part.number: index for index in reversed(range(len(self.layers))) for part in self.needed[index]}
        return tuple(
            tuple(part for part in self.parts if first[part.number] == index) for index in range(len(self.layers))
        )

    @cached_property
    def pushed_bytes(self) -> tuple[int, ...]:
        """By part, bytes of its gradients on the wire, header included."""
        name = self.configuration.encoding
        wire = encoding(name).wire if name else _plain
        return tuple(self.handling.header + wire(part.count) for part in self.parts)

    @property
    def periods(self) -> tuple[int, int]:
        """Every how many steps a worker pushes, and every how many it pulls."""
        consistency = self.configuration.consistency
        if isinstance(consistency, Async):
            return consistency.push, consistency.fetch
        if isinstance(consistency, Elastic):
            return consistency.period, consistency.period
        return 1, 1

    def factor(self, worker: int, now: float) -> float:
        """How many times as long the worker computes at this moment."""
        spells = (one.factor for one in self.spells if one.worker == worker and one.begin <= now < one.end)
        return math.prod(spells, start=self.slow.get(worker, 1.0))


def _plain(count: int) -> int:
    return count * ITEMSIZE
