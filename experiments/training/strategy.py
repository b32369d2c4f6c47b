"""What a strategy is: how the ranks of a run make one model together, a step at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from experiments.training.flat import Array, Flat
from experiments.training.model import Scores
from experiments.training.pace import Pace

if TYPE_CHECKING:
    from collectives import Communicator
    from experiments.training.batches import Batches
    from experiments.training.dataset import Dataset
    from experiments.training.model import Model
    from kernels.optimise import Optimiser

__all__ = ["Plan", "Snapshot", "Step", "Strategy", "Task"]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What all strategies are given, alike on all ranks of ``comm`` but for ``pace``.

    ``deterministic``: the same bits on any number of ranks. ``balance``: settle anew who computes how much every so
    many steps, by measured speed; 0: equal shares. ``limit``: seconds that a rank waits for the others at most.
    """

    comm: Communicator
    model: Model
    data: Dataset
    batches: Batches
    optimiser: Optimiser
    seed: int = 0
    deterministic: bool = False
    balance: int = 0
    pace: Pace = Pace()  # noqa: RUF009 - a frozen value
    limit: float = 60.0

    @property
    def scale(self) -> float:
        """What makes of gradients that are summed over a global batch their mean over its predictions."""
        return 1 / (self.batches.batch * math.prod(self.data.targets.shape[1:]))


class Plan(Protocol):
    """A strategy as a frozen value: its parameters, as ``strategies.get`` reads them from text."""

    def start(self, task: Task) -> Strategy:
        """Begin on all ranks of ``task.comm``. Collective. UsageFault on all of them for what cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What one step was like on this rank. ``scores``: of its own samples, by the weights before the step.

    Seconds: ``computing``; ``exposed``: waiting for others and for messages. ``sent``: bytes that left this rank.
    ``staleness``: updates by others that its pushes missed, for each push whose answer it saw in this step.
    """

    scores: Scores
    computing: float
    exposed: float
    sent: int = 0
    staleness: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that a run needs to go on as if it had never ended. ``shared`` is alike on all ranks, ``own`` is not.

    Arrays by name; what is written to them later does not matter.
    """

    shared: Mapping[str, Array]
    own: Mapping[str, Array] = field(default_factory=dict[str, Array])


class Strategy(Protocol):
    """One on each rank. Steps are counted from 1; ``step`` is called for each number, in ascending order."""

    @property
    def workers(self) -> Communicator | None:
        """The ranks that do steps, rank 0 of the run first; None on one that does none, such as a server.

        There ``close`` is called at once and lasts until the workers are done.
        """
        ...

    @property
    def lockstep(self) -> bool:
        """Whether all workers end a step before any of them ends the next, so that they may meet between two."""
        ...

    @property
    def weights(self) -> Flat:
        """The model as this rank has it now; where ranks hold shares of it, collective: the whole is gathered."""
        ...

    def step(self, number: int, learning_rate: float) -> Step:
        """Do this rank's part of a step. Where ranks do not wait for each other, numbers are this rank's own."""
        ...

    def snapshot(self) -> Snapshot:
        """What a checkpoint keeps, between two steps. Collective. UsageFault where there is no such thing."""
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there. Collective. ValueError for what does not fit."""
        ...

    def close(self) -> None:
        """Leave the others in peace: wait for what is under way, free what was made. Collective."""
        ...
