"""One part of the parameters at a server: its numbers, the optimiser's state, the ledger, and the pushes that wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.consistency import Consistency, Elastic, Ledger, Pushed, Reception, Update
from collectives.parameter_server.messages import Message
from collectives.parameter_server.payloads import Floats
from collectives.parameter_server.sharding import Part
from kernels import reduce
from kernels.optimise import Optimiser

__all__ = ["Asked", "Push", "Shard"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """A gradient, the number of samples it is summed over, and the learning rate (None: the optimiser's own)."""

    gradient: Floats
    samples: int
    learning_rate: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request for parameters, with what became of the push that came with it.

    ``parameters`` are those to answer with where they are not the newest: the centre as it was before.
    """

    request: int
    reception: Reception = Reception.TAKEN
    staleness: int = 0
    parameters: Floats | None = None


@dataclass(slots=True, eq=False)
class Shard:
    """``layers``: the ranges of the part that the optimiser steps one by one.

    Memory: the part and its state; where workers wait for each other, also the pushes of a clock until its update.
    """

    part: Part
    parameters: Floats
    optimiser: Optimiser
    ledger: Ledger
    layers: tuple[tuple[int, int], ...]
    state: tuple[Floats, ...] = ()
    held: dict[int, dict[int, Push]] = field(default_factory=dict[int, dict[int, Push]])
    asked: dict[int, Asked] = field(default_factory=dict[int, Asked])
    steps: int = 0
    """How many steps the optimiser made."""
    _shown: Floats | None = None

    @classmethod
    def start(
        cls,
        part: Part,
        weights: Floats,
        optimiser: Optimiser,
        ledger: Ledger,
        layers: tuple[tuple[int, int], ...] | None = None,
    ) -> Shard:
        """The part as it is in the whole vector ``weights``."""
        own = weights[part.lo : part.hi].copy()
        return cls(part, own, optimiser, ledger, layers or ((0, part.count),), optimiser.state(own))

    @property
    def consistency(self) -> Consistency:
        """The rules that it goes by."""
        return self.ledger.consistency

    def push(self, message: Message, push: Push) -> tuple[Pushed, Floats | None]:
        """Take the push, and do the updates that are now due. Raises as ``Ledger.push`` does.

        Also returned: for elastic averaging, the centre as it was before.
        """
        pushed = self.ledger.push(message.worker, message.clock)
        if pushed.reception is not Reception.TAKEN:
            return pushed, None
        self.held.setdefault(message.clock, {})[message.worker] = push
        before = self.parameters.copy() if isinstance(self.consistency, Elastic) else None
        self.apply(pushed.updates)
        return pushed, before

    def shown(self) -> Floats:
        """The parameters as they are now, to be read: a copy that all who ask between two updates share."""
        if self._shown is None:
            self._shown = self.parameters.copy()
            self._shown.flags.writeable = False
        return self._shown

    def ask(self, worker: int, asked: Asked) -> None:
        """``worker`` wants the parameters, as soon as it may have them. KeyError for one that is not there."""
        self.ledger.pull(worker)
        self.asked[worker] = asked

    def join(self, worker: int, clock: int) -> tuple[Update, ...]:
        """``worker`` comes, or comes back, and counts on from ``clock`` if that is later; the updates now due."""
        self.ledger.join(worker)
        updates = self.ledger.skip(worker, clock)
        self.apply(updates)
        return updates

    def leave(self, worker: int) -> tuple[Update, ...]:
        """``worker`` goes; the updates for which only it was missing are done."""
        if worker not in self.ledger.clocks:
            return ()
        self.asked.pop(worker, None)
        updates = self.ledger.leave(worker)
        self.apply(updates)
        return updates

    def apply(self, updates: tuple[Update, ...]) -> None:
        """Do updates whose pushes are held."""
        for update in updates:
            pushes = self.held[update.clock]
            self._apply(update, [pushes.pop(worker) for worker in update.workers])
            if not pushes:
                del self.held[update.clock]

    def _apply(self, update: Update, pushes: list[Push]) -> None:
        self._shown = None
        if isinstance(self.consistency, Elastic):
            distance = pushes[0].gradient - self.parameters
            self.parameters += np.float32(self.consistency.rate) * distance
            return
        samples = sum(push.samples for push in pushes)
        alone = self.consistency.spare is None
        self._step(_summed(pushes), pushes[0].learning_rate, (update.weight if alone else 1.0) / samples)

    def _step(self, gradient: Floats, rate: float | None, scale: float) -> None:
        optimiser = self.optimiser if rate is None else replace(self.optimiser, learning_rate=rate)
        self.steps += 1
        for lo, hi in self.layers:
            state = tuple(array[lo:hi] for array in self.state)
            optimiser.step(self.parameters[lo:hi], gradient[lo:hi], state, self.steps, scale=scale)


def _summed(pushes: list[Push]) -> Floats:
    """The sum in the order given, in memory of its own if it is one of several."""
    if len(pushes) == 1:
        return pushes[0].gradient
    add = reduce.get("sum")
    total = np.empty_like(pushes[0].gradient)
    add(pushes[0].gradient, pushes[1].gradient, total)
    for push in pushes[2:]:
        add(total, push.gradient, total)
    return total
